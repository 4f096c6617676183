//! `services register`.

use crate::{catalog_options::CatalogOptions, context::Context, definition_file};
use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Arguments of `services register`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Address of the service; that of the node when not given
    #[arg(long)]
    address: Option<String>,
    /// Id of the service; its name when not given
    #[arg(long)]
    id: Option<String>,
    /// Metadata of the service; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// Name of the service
    #[arg(long)]
    name: Option<String>,
    /// Port of the service
    #[arg(long)]
    port: Option<u16>,
    /// Tag of the service; may be repeated
    #[arg(long)]
    tag: Vec<String>,
    /// Files with definitions as HCL or JSON; `-` for standard input
    files: Vec<PathBuf>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let services = match (&arguments.name, arguments.files.as_slice()) {
        (None, []) => {
            cx.complain("Service registration requires at least one argument or flags.");
            return Ok(1);
        }
        (Some(_), [_, ..]) => {
            cx.complain("Service registration requires arguments or flags, not both.");
            return Ok(1);
        }
        (Some(name), []) => vec![described(arguments, name)?],
        (None, files) => definitions(files)?,
    };
    let http = arguments.options.http(cx)?;
    for service in services {
        let name = service["Name"].as_str().unwrap_or_default().to_owned();
        let path = "/v1/agent/service/register";
        let registered = http.put_value(path, &[], &service).await;
        registered.with_context(|| format!("Error registering service {name:?}"))?;
        cx.print(&format!("Registered service: {name}"))?;
    }
    Ok(0)
}

/// The service that the flags describe.
fn described(arguments: &Arguments, name: &str) -> anyhow::Result<Value> {
    let mut meta = Map::new();
    for pair in &arguments.meta {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("`-meta` is `{pair}`; it must be KEY=VALUE"))?;
        meta.insert(key.to_owned(), value.into());
    }
    Ok(json!({
        "ID": arguments.id.clone().unwrap_or_default(),
        "Name": name,
        "Address": arguments.address.clone().unwrap_or_default(),
        "Port": arguments.port.unwrap_or(0),
        "Tags": arguments.tag,
        "Meta": meta,
    }))
}

/// The services that files define, as the API takes them.
pub(super) fn definitions(files: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let tree = definition_file::read(&name)?;
        let services = services(&tree);
        if services.is_empty() {
            bail!("`{name}` defines no service: it has neither `service` nor `services`");
        }
        all.extend(services);
    }
    Ok(all)
}

/// Those of a file: one, a list, or both. The API matches names of keys in any case.
fn services(tree: &Value) -> Vec<Value> {
    let of = |key: &str| match tree.get(key) {
        Some(Value::Array(list)) => list.clone(),
        Some(one @ Value::Object(_)) => vec![one.clone()],
        _ => Vec::new(),
    };
    let all = ["service", "Service", "services", "Services"];
    let found = all.into_iter().flat_map(of);
    found.map(with_name).collect()
}

/// A definition whose name and id have the keys that the API answers with.
fn with_name(service: Value) -> Value {
    let Value::Object(map) = service else {
        return service;
    };
    let renamed = map.into_iter().map(|(key, value)| {
        let key = match key.as_str() {
            "name" => "Name".to_owned(),
            "id" => "ID".to_owned(),
            _ => key,
        };
        (key, value)
    });
    Value::Object(renamed.collect())
}

/// The id of a definition, which is its name unless one is given.
pub(super) fn id(service: &Value) -> &str {
    let text = |key: &str| service[key].as_str().filter(|text| !text.is_empty());
    text("ID").or_else(|| text("Name")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_define_one_service_or_several() {
        let one = json!({"service": {"name": "web", "port": 80}});
        assert_eq!(services(&one), [json!({"Name": "web", "port": 80})]);
        let several = json!({"services": [{"Name": "a"}, {"name": "b", "id": "b1"}]});
        let several = services(&several);
        let ids: Vec<&str> = several.iter().map(id).collect();
        assert_eq!(ids, ["a", "b1"]);
        assert!(services(&json!({"check": {}})).is_empty());
    }
}

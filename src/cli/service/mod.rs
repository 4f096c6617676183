//! `service …`: services that jobs keep to themselves; a file per command.

mod delete;
mod info;
mod list;

use super::{context::Context, render::columns};

/// Look at services with the provider `nomad`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Take an instance of a service away
    Delete(delete::Arguments),
    /// Show the instances of a service
    Info(info::Arguments),
    /// List services
    List(list::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Delete(arguments) => delete::run(cx, &arguments).await,
        Command::Info(arguments) => info::run(cx, &arguments).await,
        Command::List(arguments) => list::run(cx, &arguments).await,
    }
}

/// The services of a namespace.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Names {
    namespace: String,
    services: Vec<Name>,
}

/// A service and the tags of all its instances.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Name {
    service_name: String,
    tags: Vec<String>,
}

/// Services by their names, with their namespaces where all were asked for.
fn table(found: &[Names], all_namespaces: bool) -> String {
    let mut lines = vec![columns::chosen([
        (true, "Service Name".into()),
        (all_namespaces, "Namespace".into()),
        (true, "Tags".into()),
    ])];
    for names in found {
        for service in &names.services {
            lines.push(columns::chosen([
                (true, service.service_name.clone()),
                (all_namespaces, names.namespace.clone()),
                (true, tags(&service.tags)),
            ]));
        }
    }
    columns::list(&lines)
}

fn tags(tags: &[String]) -> String {
    format!("[{}]", tags.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::decode;

    #[test]
    fn services_are_listed_with_their_tags() {
        let found: Vec<Names> = decode(
            "",
            serde_json::json!([{"Namespace": "default", "Services": [
                {"ServiceName": "cache", "Tags": []},
                {"ServiceName": "db", "Tags": ["a", "b"]},
            ]}]),
        )
        .unwrap();
        assert_eq!(
            table(&found, false),
            "Service Name  Tags\ncache         []\ndb            [a,b]"
        );
        assert_eq!(
            table(&found, true),
            "Service Name  Namespace  Tags\ncache         default    []\ndb            default    [a,b]"
        );
    }
}

//! `service info`.

use super::{Names, table, tags};
use crate::{
    context::Context,
    http::{decode, segment},
    render::columns,
    structured::Structured,
};
use anyhow::{Context as _, bail};

/// Characters of an id unless the user wants all.
const ID_SHORT: usize = 8;

/// Arguments of `service info`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Name of the service or its beginning
    name: String,
    /// What instances must satisfy
    #[arg(long)]
    filter: Option<String>,
    /// Instances on a page
    #[arg(long)]
    per_page: Option<u32>,
    /// Token of the page to print
    #[arg(long)]
    page_token: Option<String>,
    /// Show everything that is known of each instance
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

/// An instance.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Registration {
    #[serde(rename = "ID")]
    id: String,
    service_name: String,
    namespace: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    datacenter: String,
    #[serde(rename = "JobID")]
    job_id: String,
    #[serde(rename = "AllocID")]
    alloc_id: String,
    tags: Vec<String>,
    address: String,
    port: u16,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let listing = "Error listing service registrations";
    let (namespace, name) = found(cx, &arguments.name).await?;
    let http = cx.http.in_namespace(&namespace);
    let per_page = arguments.per_page.map(|size| size.to_string());
    let query: Vec<(&str, &str)> = [
        ("filter", &arguments.filter),
        ("per_page", &per_page),
        ("next_token", &arguments.page_token),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value.as_deref()?)))
    .collect();
    let path = format!("/v1/service/{}", segment(&name));
    let (rows, next) = http.get_page(&path, &query).await.context(listing)?;
    if rows.as_array().is_some_and(Vec::is_empty) {
        cx.print("No service registrations found")?;
        return Ok(0);
    }
    if let Some(text) = arguments.structured.text(&rows)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let mut instances: Vec<Registration> = decode(&path, rows)?;
    instances.sort_by(|a, b| a.job_id.cmp(&b.job_id));
    if arguments.verbose {
        for instance in &instances {
            cx.print(&format!("{}\n", whole(instance)))?;
        }
    } else {
        cx.print(&list(&instances))?;
    }
    if let Some(next) = next {
        cx.complain(&format!("Next page token: {next}"));
    }
    Ok(0)
}

/// Namespace and name of the service that is called so or begins so.
async fn found(cx: &Context, name: &str) -> anyhow::Result<(String, String)> {
    let names: Vec<Names> = cx
        .http
        .get("/v1/services", &[("prefix", name)])
        .await
        .context("Error listing service registrations")?;
    let all: Vec<(&str, &str)> = names
        .iter()
        .flat_map(|space| {
            let services = space.services.iter();
            services.map(|service| (space.namespace.as_str(), service.service_name.as_str()))
        })
        .collect();
    let exact: Vec<_> = all.iter().filter(|(_, found)| *found == name).collect();
    let (namespace, name) = match (exact.as_slice(), all.as_slice()) {
        ([only], _) => **only,
        (_, [only]) => *only,
        (_, []) => bail!(
            "Error listing service registrations: No service registrations with prefix {name:?} found"
        ),
        _ => {
            let all_namespaces = cx.namespace.as_deref() == Some("*");
            bail!(
                "Prefix matched multiple services\n\n{}",
                table(&names, all_namespaces)
            )
        }
    };
    Ok((namespace.to_owned(), name.to_owned()))
}

fn list(instances: &[Registration]) -> String {
    let short = |id: &str| id.chars().take(ID_SHORT).collect::<String>();
    let rows = instances.iter().map(|one| {
        [
            one.job_id.clone(),
            address(one),
            tags(&one.tags),
            short(&one.node_id),
            short(&one.alloc_id),
        ]
    });
    columns::table(
        ["Job ID", "Address", "Tags", "Node ID", "Alloc ID"],
        rows.collect(),
    )
}

fn address(one: &Registration) -> String {
    let Registration { address, port, .. } = one;
    match port {
        0 => address.clone(),
        _ if address.contains(':') => format!("[{address}]:{port}"),
        _ => format!("{address}:{port}"),
    }
}

fn whole(one: &Registration) -> String {
    columns::key_values(&[
        ("ID", one.id.clone()),
        ("Service Name", one.service_name.clone()),
        ("Namespace", one.namespace.clone()),
        ("Job ID", one.job_id.clone()),
        ("Alloc ID", one.alloc_id.clone()),
        ("Node ID", one.node_id.clone()),
        ("Datacenter", one.datacenter.clone()),
        ("Address", address(one)),
        ("Tags", tags(&one.tags)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_listed_with_their_addresses() {
        let one: Registration = decode(
            "",
            serde_json::json!({"JobID": "web", "Address": "fd00::1", "Port": 80, "Tags": ["a"],
                "NodeID": "7ab3c2ff-0000-4000-8000-000000000001",
                "AllocID": "51c8e77d-0000-4000-8000-000000000001"}),
        )
        .unwrap();
        let bare = Registration {
            address: "10.0.0.1".into(),
            port: 0,
            ..one.clone()
        };
        assert_eq!(
            list(&[one, bare]),
            "Job ID  Address       Tags  Node ID   Alloc ID
web     [fd00::1]:80  [a]   7ab3c2ff  51c8e77d
web     10.0.0.1      [a]   7ab3c2ff  51c8e77d"
        );
    }
}

//! `catalog services`.

use super::{node_meta, picked};
use crate::{catalog_options::CatalogOptions, context::Context, http::segment};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Arguments of `catalog services`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Only services on this node, by name or id
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only services on nodes with this metadata; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = node_meta)]
    node_meta: Vec<String>,
    /// Print tags too
    #[arg(long)]
    tags: bool,
}

/// A node's instances, as far as names and tags go.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct OfNode {
    services: BTreeMap<String, Instance>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Instance {
    service: String,
    tags: Vec<String>,
}

type Tags = BTreeMap<String, BTreeSet<String>>;

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let more = picked(None, &arguments.node_meta, None);
    let query = arguments.options.read(&more);
    let services: Tags = match &arguments.node {
        Some(node) => {
            let path = format!("/v1/catalog/node/{}", segment(node));
            let found: Option<OfNode> = http.get(&path, &query).await?;
            named(found.unwrap_or_default())
        }
        None => http.get("/v1/catalog/services", &query).await?,
    };
    if services.is_empty() {
        cx.complain("No services match the given query - try expanding your search.");
        return Ok(0);
    }
    cx.print(&list(&services, arguments.tags))?;
    Ok(0)
}

fn named(node: OfNode) -> Tags {
    let mut services = Tags::new();
    for instance in node.services.into_values() {
        let tags = services.entry(instance.service).or_default();
        tags.extend(instance.tags);
    }
    services
}

/// Names, with tags in a column of a fixed distance.
fn list(services: &Tags, with_tags: bool) -> String {
    /// Between the longest name and its tags.
    const GAP: usize = 6;
    let width = services.keys().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0) + GAP;
    let line = |(name, tags): (&String, &BTreeSet<String>)| {
        if !with_tags {
            return name.clone();
        }
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        format!("{name:<width$}{}", tags.join(","))
    };
    let lines: Vec<String> = services.iter().map(line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_listed_with_and_without_tags() {
        let tags = ["v1", "a"].map(str::to_owned).into();
        let services: Tags = [
            ("consul".to_owned(), BTreeSet::new()),
            ("web".to_owned(), tags),
        ]
        .into();
        assert_eq!(list(&services, false), "consul\nweb");
        assert_eq!(list(&services, true), "consul      \nweb         a,v1");
    }
}

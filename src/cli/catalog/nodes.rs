//! `catalog nodes`.

use super::{node_meta, picked};
use crate::{
    catalog_options::CatalogOptions, context::Context, http::segment, render::columns::sparse,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Arguments of `catalog nodes`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Print whole ids, tagged addresses and metadata
    #[arg(long)]
    detailed: bool,
    /// Only rows that satisfy the expression
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Order by the distance from this node
    #[arg(long, value_name = "NODE")]
    near: Option<String>,
    /// Only nodes with this metadata; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = node_meta)]
    node_meta: Vec<String>,
    /// Only nodes that run this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
}

/// A node, or an instance with the facts of its node.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    datacenter: String,
    tagged_addresses: BTreeMap<String, String>,
    #[serde(alias = "NodeMeta")]
    meta: BTreeMap<String, String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let (near, filter) = (arguments.near.as_ref(), arguments.filter.as_ref());
    let more = picked(near, &arguments.node_meta, filter);
    let query = arguments.options.read(&more);
    let mut rows: Vec<Row> = match &arguments.service {
        Some(name) => {
            let path = format!("/v1/catalog/service/{}", segment(name));
            http.get(&path, &query).await?
        }
        None => http.get("/v1/catalog/nodes", &query).await?,
    };
    // A node may run several instances.
    let mut seen = BTreeSet::new();
    rows.retain(|row| seen.insert(row.node.clone()));
    if rows.is_empty() {
        cx.complain("No nodes match the given query - try expanding your search.");
        return Ok(0);
    }
    cx.print(&table(&rows, arguments.detailed))?;
    Ok(0)
}

fn table(rows: &[Row], is_detailed: bool) -> String {
    let mut header = vec!["Node", "ID", "Address", "DC"];
    if is_detailed {
        header.extend(["TaggedAddresses", "Meta"]);
    }
    let mut lines = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for row in rows {
        let short = row.id.split('-').next().unwrap_or_default();
        let id = if is_detailed { row.id.as_str() } else { short };
        let cells = [row.node.as_str(), id, &row.address, &row.datacenter];
        let mut line: Vec<String> = cells.map(str::to_owned).into();
        if is_detailed {
            line.extend([pairs(&row.tagged_addresses), pairs(&row.meta)]);
        }
        lines.push(line);
    }
    sparse(&lines)
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    let pairs = map.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_listed_short_or_whole() {
        let rows = [Row {
            id: "e6a24ea3-6a33-2a82-05ac-e682ab50849c".to_owned(),
            node: "node-a".to_owned(),
            address: "127.0.0.1".to_owned(),
            datacenter: "dc1".to_owned(),
            tagged_addresses: [("lan".to_owned(), "127.0.0.1".to_owned())].into(),
            meta: [("rack".to_owned(), "r1".to_owned())].into(),
        }];
        assert_eq!(
            table(&rows, false),
            "Node    ID        Address    DC\n\
             node-a  e6a24ea3  127.0.0.1  dc1"
        );
        assert!(table(&rows, true).ends_with("dc1  lan=127.0.0.1    rack=r1"));
    }
}

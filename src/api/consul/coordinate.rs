//! Where machines stand in the network: all at the origin, as no distances are measured.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mesh::model::{CheckKey, Node, SERF_HEALTH};
use mesh::view::{Table, View};
use mesh::wire::Coordinate;
use serde::Serialize;
use serde_json::{Value, json};

use super::catalog::missing_node;
use super::query::{Query, answer, json as answer_json};
use super::{Catalog, read};
use crate::error::Error;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/coordinate/datacenters", read(datacenters))
        .route("/v1/coordinate/nodes", read(nodes))
        .route("/v1/coordinate/node/", read(missing_node))
        .route("/v1/coordinate/node/{*name}", read(node))
}

/// A machine and where it stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: String,
    segment: &'static str,
    coord: Coordinate,
}

fn entry(name: &str) -> Entry {
    Entry {
        node: name.to_owned(),
        segment: "",
        coord: Coordinate::default(),
    }
}

/// Only a node with an agent has a place.
fn has_agent(snapshot: &View, node: &Node) -> bool {
    let key = CheckKey {
        node: node.name.clone(),
        id: SERF_HEALTH.into(),
    };
    snapshot.check(&key).is_some()
}

async fn datacenters(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let servers = catalog.cluster().servers;
    let snapshot = catalog.snapshot();
    let of = |datacenter: String| {
        let nodes = servers
            .iter()
            .filter_map(|server| snapshot.node(&server.name));
        let places: Vec<Entry> = nodes
            .filter(|node| node.datacenter == datacenter)
            .map(|node| entry(&format!("{}.{datacenter}", node.name)))
            .collect();
        // Only one with servers has a place, and that of the agent.
        let is_shown = !places.is_empty() || datacenter == catalog.agent().datacenter;
        let map = || json!({ "Datacenter": datacenter, "AreaID": "wan", "Coordinates": places });
        is_shown.then(map)
    };
    let maps: Vec<Value> = catalog.datacenters().into_iter().filter_map(of).collect();
    answer_json(&query, &maps)
}

async fn nodes(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let view = |snapshot: &View| -> Vec<Entry> {
        let nodes = snapshot.nodes().filter(|node| query.is_there(node));
        let nodes = nodes.filter(|node| has_agent(snapshot, node));
        nodes.map(|node| entry(&node.name)).collect()
    };
    let index = |snapshot: &View| snapshot.table_index(Table::Nodes);
    answer(catalog, &query, index, view).await
}

async fn node(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let find = |snapshot: &View| -> Option<Entry> {
        let node = snapshot.node(&name).filter(|node| query.is_there(node))?;
        has_agent(snapshot, node).then(|| entry(&name))
    };
    let is_known = find(&catalog.snapshot()).is_some();
    let index = |snapshot: &View| snapshot.table_index(Table::Nodes);
    let list = |snapshot: &View| -> Vec<Entry> { find(snapshot).into_iter().collect() };
    let found = answer(catalog, &query, index, list).await?;
    if is_known {
        return Ok(found);
    }
    let headers = found.headers().clone();
    let mut missing = StatusCode::NOT_FOUND.into_response();
    for name in [
        "x-consul-index",
        "x-consul-knownleader",
        "x-consul-lastcontact",
    ] {
        if let Some(value) = headers.get(name) {
            missing.headers_mut().insert(name, value.clone());
        }
    }
    Ok(missing)
}

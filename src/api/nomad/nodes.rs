//! Nodes.

use axum::{
    extract::{Path, State},
    response::Response,
};
use jobs::{model::Node, state::Table, wire};
use std::sync::Arc;

use super::allocations::{newest, whole};
use crate::{
    api::{Api, body::Raw, error::Error, query::Query},
    server::{Snapshot, log::watch::Topic},
};

/// `GET /v1/nodes`
pub(super) async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let options = wire::NodeStubOptions {
        resources: query.flag("resources")?,
        os: query.flag("os")?,
    };
    let index_of = |snapshot: &Snapshot| snapshot.jobs.table_index(Table::Nodes);
    let view = |snapshot: &Snapshot| {
        let rows = snapshot.jobs.nodes(&query.prefix);
        let page = query.page(rows, |node: &&Arc<Node>| node.id.clone())?;
        Ok(page.map(|node| {
            let stub = wire::NodeListStub::new(node, options);
            wire::Complete(stub, &wire::shapes::NODE_STUB)
        }))
    };
    api.read_page(&query, [Topic::Jobs(Table::Nodes)], index_of, view)
        .await
}

/// `GET /v1/node/:id`
pub(super) async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| {
        let jobs = &snapshot.jobs;
        jobs.node(&id)
            .map_or_else(|| jobs.table_index(Table::Nodes), |node| node.modify_index)
    };
    let view = |snapshot: &Snapshot| {
        let node = snapshot.jobs.node(&id).ok_or_else(no_node)?;
        Ok(wire::Complete(wire::Node::new(node), &wire::shapes::NODE))
    };
    api.read(&query, [Topic::Node(id.clone())], index_of, view)
        .await
}

fn no_node() -> Error {
    Error::not_found("node not found")
}

/// `GET /v1/node/:id/allocations`
pub(super) async fn allocations(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| newest(snapshot, snapshot.jobs.allocs_of_node(&id));
    let view = |snapshot: &Snapshot| {
        let rows = snapshot.jobs.allocs_of_node(&id).cloned();
        Ok(rows.map(whole).collect::<Vec<_>>())
    };
    api.read(&query, [Topic::Node(id.clone())], index_of, view)
        .await
}

/// `PUT /v1/node/:id/eligibility`
pub(super) async fn set_eligibility(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let fields: serde_json::Map<String, serde_json::Value> = body.json()?;
    if !fields.contains_key("Eligibility") {
        return Err(Error::bad_request("Eligibility must be specified"));
    }
    let request: wire::NodeEligibilityRequest = body.json()?;
    if !request.node_id.is_empty() && request.node_id != id {
        return Err(Error::bad_request("Node ID does not match"));
    }
    let written = api
        .server()
        .set_eligibility(&id, request.eligibility)
        .await?;
    let snapshot = api.server().snapshot();
    // The evaluations ride along in the same entry.
    let eval_ids: Vec<String> = snapshot
        .jobs
        .evals("")
        .filter(|eval| eval.create_index == written.index && eval.node_id == id)
        .map(|eval| eval.id.clone())
        .collect();
    updated(&query, written.index, eval_ids)
}

/// `PUT /v1/node/:id/evaluate`
pub(super) async fn evaluate(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let (index, eval_ids) = api.server().evaluate_node(&id).await?;
    updated(&query, index, eval_ids)
}

fn updated(query: &Query, index: u64, eval_ids: Vec<String>) -> Result<Response, Error> {
    let response = wire::NodeUpdateResponse {
        node_modify_index: index,
        eval_create_index: if eval_ids.is_empty() { 0 } else { index },
        eval_ids,
        index,
    };
    query.written(index, &response)
}

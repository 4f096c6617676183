//! Nodes.

mod pool;

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use jobs::{
    control::operator::DrainWish,
    model::{EvalId, Node, NodeId, NodeKind},
    state::Table,
    wire,
};
use std::sync::Arc;

use super::{
    alloc::{self, Owner, whole},
    query::Query,
    write,
};
use crate::{Api, body::Raw, error::Error, nomad::row_id::RowId};
use server::{Snapshot, log::watch::Topic};

/// The endpoints of nodes.
pub(super) fn router() -> Router<Api> {
    let router = Router::new();
    #[cfg(feature = "next")]
    let router = router.route("/v1/node/{id}/note", write(set_note));
    router
        .route("/v1/nodes", get(list))
        .route("/v1/node/{id}", get(read))
        .route("/v1/node/{id}/allocations", get(allocations))
        .route("/v1/node/{id}/drain", write(drain))
        .route("/v1/node/{id}/eligibility", write(set_eligibility))
        .route("/v1/node/{id}/evaluate", write(evaluate))
        .route("/v1/node/{id}/purge", write(purge))
        .merge(pool::router())
}

/// What of a node a list shows.
fn options(query: &Query) -> Result<wire::NodeStubOptions, Error> {
    Ok(wire::NodeStubOptions {
        resources: query.flag("resources")?,
        os: query.flag("os")?,
    })
}

/// A node in a list.
fn stub(node: &Node, options: wire::NodeStubOptions) -> wire::Complete<wire::NodeListStub> {
    let stub = wire::NodeListStub::new(node, options);
    wire::Complete(stub, &wire::shapes::NODE_STUB)
}

/// `GET /v1/nodes`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let options = options(&query)?;
    let index_of = |snapshot: &Snapshot| snapshot.jobs.table_index(Table::Nodes);
    let view = |snapshot: &Snapshot| {
        let rows = snapshot.jobs.nodes(&query.prefix);
        let page = query.page(rows, |node: &&Arc<Node>| node.id)?;
        Ok(page.map(|node| stub(node, options)))
    };
    api.read_page(&query, [Topic::Jobs(Table::Nodes)], index_of, view)
        .await
}

/// `GET /v1/node/:id`
async fn read(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<NodeKind>>,
    query: Query,
) -> Result<Response, Error> {
    let find = |snapshot: &Snapshot| {
        let node = snapshot.jobs.node(id)?;
        Some((node.modify_index, node.clone()))
    };
    let show =
        |_: &Snapshot, node: Arc<Node>| wire::Complete(wire::Node::new(&node), &wire::shapes::NODE);
    let of = (Topic::Node(id), Table::Nodes);
    api.read_row(&query, of, find, show, "node not found").await
}

/// `GET /v1/node/:id/allocations`
async fn allocations(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<NodeKind>>,
    query: Query,
) -> Result<Response, Error> {
    let show = |alloc: &Arc<_>| whole(Arc::clone(alloc));
    alloc::of(&api, &query, Owner::Node(id), show).await
}

/// `PUT /v1/node/:id/eligibility`
async fn set_eligibility(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<NodeKind>>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let fields: serde_json::Map<String, serde_json::Value> = body.json()?;
    if !fields.contains_key("Eligibility") {
        return Err(Error::bad_request("Eligibility must be specified"));
    }
    let request: wire::NodeEligibilityRequest = body.json()?;
    if !request.node_id.is_empty() && RowId::from(request.node_id.as_str()) != RowId(id) {
        return Err(Error::bad_request("Node ID does not match"));
    }
    let written = api
        .server()
        .set_eligibility(id, request.eligibility)
        .await?;
    updated(&query, written.index, caused(&api, id, written.index))
}

/// `PUT /v1/node/:id/note`, in a build for tests: the body is the note, a JSON string.
#[cfg(feature = "next")]
async fn set_note(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<NodeKind>>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let index = api.server().set_node_note(id, body.json()?).await?;
    updated(&query, index, Vec::new())
}

/// The evaluations that rode along with a change of a node.
fn caused(api: &Api, id: NodeId, index: u64) -> Vec<EvalId> {
    let snapshot = api.server().snapshot();
    let evals = snapshot.jobs.evals("");
    evals
        .filter(|eval| eval.create_index == index && eval.node_id == Some(id))
        .map(|eval| eval.id)
        .collect()
}

/// `PUT /v1/node/:id/drain`
async fn drain(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<NodeKind>>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: wire::NodeDrainRequest = body.json()?;
    if !request.node_id.is_empty() && RowId::from(request.node_id.as_str()) != RowId(id) {
        return Err(Error::bad_request("Node ID does not match"));
    }
    let wish = DrainWish {
        drain: (request.drain_spec).map(|spec| (spec.deadline, spec.ignore_system_jobs)),
        mark_eligible: request.mark_eligible,
        meta: request.meta.unwrap_or_default(),
    };
    let index = api.server().drain_node(id, wish).await?;
    updated(&query, index, caused(&api, id, index))
}

/// `PUT /v1/node/:id/purge`
async fn purge(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<NodeKind>>,
    query: Query,
) -> Result<Response, Error> {
    let index = api.server().purge_node(id).await?;
    updated(&query, index, caused(&api, id, index))
}

/// `PUT /v1/node/:id/evaluate`
async fn evaluate(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<NodeKind>>,
    query: Query,
) -> Result<Response, Error> {
    let (index, eval_ids) = api.server().evaluate_node(id).await?;
    updated(&query, index, eval_ids)
}

fn updated(query: &Query, index: u64, eval_ids: Vec<EvalId>) -> Result<Response, Error> {
    let response = wire::NodeUpdateResponse {
        node_modify_index: index,
        eval_create_index: if eval_ids.is_empty() { 0 } else { index },
        eval_ids,
        index,
    };
    query.written(index, &response)
}

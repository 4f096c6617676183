//! Allocations, as the servers know them.

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use jobs::{
    model::{AllocKind, Allocation, DeploymentId, EvalId, NodeId},
    state::Table,
    wire,
};
use serde::Serialize;
use std::sync::Arc;

use super::{query::Query, write};
use crate::{Api, error::Error, nomad::row_id::RowId, read::page::Page};
use server::{Snapshot, log::watch::Topic};

/// The endpoints of allocations.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/allocations", get(list))
        .route("/v1/allocation/{id}", get(read))
        .route("/v1/allocation/{id}/stop", write(stop))
}

/// The list entry of an allocation.
pub(super) fn stub(
    alloc: &Arc<Allocation>,
    options: wire::StubOptions,
) -> wire::Complete<wire::AllocationListStub> {
    let stub = wire::AllocationListStub::new(alloc, options);
    wire::Complete(stub, &wire::shapes::ALLOCATION_STUB)
}

/// An allocation with its job.
pub(super) fn whole(alloc: Arc<Allocation>) -> wire::Complete<wire::Allocation> {
    wire::Complete(wire::Allocation::new(alloc), &wire::shapes::ALLOCATION)
}

/// The row whose allocations are asked for.
#[derive(Debug)]
pub(super) enum Owner {
    /// The evaluation with this id.
    Eval(EvalId),
    /// The deployment with this id.
    Deployment(DeploymentId),
    /// The node with this id.
    Node(NodeId),
}

impl Owner {
    fn topic(&self) -> Topic {
        match self {
            Self::Eval(id) => Topic::Eval(*id),
            Self::Deployment(id) => Topic::Deployment(*id),
            Self::Node(id) => Topic::Node(*id),
        }
    }

    fn allocs<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> Box<dyn Iterator<Item = &'a Arc<Allocation>> + 'a> {
        match self {
            Self::Eval(id) => Box::new(snapshot.jobs.allocs_of_eval(*id)),
            Self::Deployment(id) => Box::new(snapshot.jobs.allocs_of_deployment(*id)),
            Self::Node(id) => Box::new(snapshot.jobs.allocs_of_node(*id)),
        }
    }
}

/// Answers with the allocations of an evaluation, a deployment or a node.
pub(super) async fn of<T: Serialize>(
    api: &Api,
    query: &Query,
    owner: Owner,
    show: impl Fn(&Arc<Allocation>) -> T,
) -> Result<Response, Error> {
    // The index of the table while there are none, so that the first one wakes.
    let index_of = |snapshot: &Snapshot| {
        let newest = owner.allocs(snapshot).map(|alloc| alloc.modify_index).max();
        newest.unwrap_or_else(|| snapshot.jobs.table_index(Table::Allocs))
    };
    let view = |snapshot: &Snapshot| Ok(owner.allocs(snapshot).map(&show).collect::<Vec<T>>());
    api.read(query, [owner.topic()], index_of, view).await
}

/// `GET /v1/allocations`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let options = wire::StubOptions {
        resources: query.flag("resources")?,
        task_states: query.switch("task_states", true)?,
    };
    let index_of = |snapshot: &Snapshot| snapshot.jobs.table_index(Table::Allocs);
    let view =
        |snapshot: &Snapshot| -> Result<Page<wire::Complete<wire::AllocationListStub>>, Error> {
            let rows = snapshot.jobs.allocs(&query.prefix);
            let rows = rows.filter(|alloc| query.wants(&alloc.namespace));
            let page = query.page(rows, |alloc: &&Arc<Allocation>| {
                (alloc.create_index, alloc.id)
            })?;
            Ok(page.map(|alloc| stub(alloc, options)))
        };
    api.read_page(&query, [Topic::Jobs(Table::Allocs)], index_of, view)
        .await
}

/// `GET /v1/allocation/:id`
async fn read(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<AllocKind>>,
    query: Query,
) -> Result<Response, Error> {
    let find = |snapshot: &Snapshot| {
        let alloc = snapshot.jobs.alloc(id)?;
        Some((alloc.modify_index, alloc.clone()))
    };
    let show = |_: &Snapshot, alloc| whole(alloc);
    let of = (Topic::Alloc(id), Table::Allocs);
    api.read_row(&query, of, find, show, "alloc not found")
        .await
}

/// `PUT /v1/allocation/:id/stop`
async fn stop(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<AllocKind>>,
    query: Query,
) -> Result<Response, Error> {
    let no_shutdown_delay = query.flag("no_shutdown_delay")?;
    let written = api.server().stop_alloc(id, no_shutdown_delay).await?;
    let response = wire::AllocStopResponse {
        eval_id: written.eval_id.unwrap_or_default(),
        index: written.index,
    };
    query.written(written.index, &response)
}

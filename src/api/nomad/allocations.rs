//! Allocations, as the servers know them.

use axum::{
    extract::{Path, State},
    response::Response,
};
use jobs::{
    model::{Allocation, Index},
    state::Table,
    wire,
};
use std::sync::Arc;

use crate::{
    api::{Api, error::Error, page::Page, query::Query},
    server::{Snapshot, log::watch::Topic},
};

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

/// Index of a list of allocations; that of the table when it is empty, so that the first one wakes.
pub(super) fn newest<'a>(
    snapshot: &Snapshot,
    rows: impl Iterator<Item = &'a Arc<Allocation>>,
) -> Index {
    rows.map(|alloc| alloc.modify_index)
        .max()
        .unwrap_or_else(|| snapshot.jobs.table_index(Table::Allocs))
}

/// `GET /v1/allocations`
pub(super) async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
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
                (alloc.create_index, alloc.id.clone())
            })?;
            Ok(page.map(|alloc| stub(alloc, options)))
        };
    api.read_page(&query, [Topic::Jobs(Table::Allocs)], index_of, view)
        .await
}

/// `GET /v1/allocation/:id`
pub(super) async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| newest(snapshot, snapshot.jobs.alloc(&id).into_iter());
    let view = |snapshot: &Snapshot| {
        let alloc = snapshot.jobs.alloc(&id).cloned();
        alloc
            .map(whole)
            .ok_or_else(|| Error::not_found("alloc not found"))
    };
    api.read(&query, [Topic::Alloc(id.clone())], index_of, view)
        .await
}

/// `PUT /v1/allocation/:id/stop`
pub(super) async fn stop(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let no_shutdown_delay = query.flag("no_shutdown_delay")?;
    let written = api.server().stop_alloc(&id, no_shutdown_delay).await?;
    let response = wire::AllocStopResponse {
        eval_id: written.eval_id,
        index: written.index,
    };
    query.written(written.index, &response)
}

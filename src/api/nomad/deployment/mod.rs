//! Deployments: reading them.

mod operate;

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use jobs::{
    model::{Deployment, DeploymentKind},
    state::Table,
    wire,
};
use std::sync::Arc;

use super::{
    alloc::{self, Owner, stub},
    query::Query,
    write,
};
use crate::{Api, error::Error, nomad::row_id::RowId};
use server::{Snapshot, log::watch::Topic};

/// The endpoints of deployments.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/deployments", get(list))
        .route("/v1/deployment/{id}", get(read))
        .route("/v1/deployment/allocations/{id}", get(allocations))
        .route("/v1/deployment/fail/{id}", write(operate::fail))
        .route("/v1/deployment/pause/{id}", write(operate::pause))
        .route("/v1/deployment/promote/{id}", write(operate::promote))
        .route(
            "/v1/deployment/allocation-health/{id}",
            write(operate::health),
        )
}

/// `GET /v1/deployments`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| snapshot.jobs.table_index(Table::Deployments);
    let view = |snapshot: &Snapshot| {
        let rows = snapshot.jobs.deployments(&query.prefix);
        let rows = rows.filter(|deployment| query.wants(&deployment.namespace));
        let page = query.page(rows, |deployment: &&Arc<Deployment>| {
            (deployment.create_index, deployment.id)
        })?;
        Ok(page.map(Arc::clone))
    };
    api.read_page(&query, [Topic::Jobs(Table::Deployments)], index_of, view)
        .await
}

/// `GET /v1/deployment/:id`
async fn read(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<DeploymentKind>>,
    query: Query,
) -> Result<Response, Error> {
    let find = |snapshot: &Snapshot| {
        let deployment = snapshot.jobs.deployment(id)?;
        Some((deployment.modify_index, deployment.clone()))
    };
    let show = |_: &Snapshot, deployment| deployment;
    let of = (Topic::Deployment(id), Table::Deployments);
    let missing = "deployment not found";
    api.read_row(&query, of, find, show, missing).await
}

/// `GET /v1/deployment/allocations/:id`
async fn allocations(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<DeploymentKind>>,
    query: Query,
) -> Result<Response, Error> {
    let show = |alloc: &_| stub(alloc, wire::StubOptions::default());
    alloc::of(&api, &query, Owner::Deployment(id), show).await
}

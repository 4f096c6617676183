//! What an operator does to a deployment.

use axum::{
    extract::{Path, State},
    response::Response,
};
use jobs::{
    model::{AllocId, DeploymentId, DeploymentKind},
    wire,
};

use crate::{Api, body::Raw, error::Error, nomad::query::Query, nomad::row_id::RowId};
use server::Written;

fn must_match(in_body: &str, id: DeploymentId) -> Result<(), Error> {
    if RowId::from(in_body) == RowId(id) {
        Ok(())
    } else {
        Err(Error::bad_request("Deployment ID does not match"))
    }
}

fn updated(query: &Query, written: Written) -> Result<Response, Error> {
    let has_eval = written.eval_id.is_some();
    let response = wire::DeploymentUpdateResponse {
        eval_id: written.eval_id,
        eval_create_index: if has_eval { written.index } else { 0 },
        deployment_modify_index: written.index,
        reverted_job_version: written.reverted_version,
        index: written.index,
    };
    query.written(written.index, &response)
}

fn ids(texts: &[String]) -> Vec<AllocId> {
    texts
        .iter()
        .map(|text| RowId::from(text.as_str()).0)
        .collect()
}

/// `PUT /v1/deployment/fail/:id`
pub(super) async fn fail(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<DeploymentKind>>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    if let Some(request) = body.optional_json::<wire::DeploymentFailRequest>()?
        && !request.deployment_id.is_empty()
    {
        must_match(&request.deployment_id, id)?;
    }
    let written = api.server().fail_deployment(id).await?;
    updated(&query, written)
}

/// `PUT /v1/deployment/pause/:id`
pub(super) async fn pause(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<DeploymentKind>>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: wire::DeploymentPauseRequest = body.json()?;
    must_match(&request.deployment_id, id)?;
    let written = api.server().pause_deployment(id, request.pause).await?;
    updated(&query, written)
}

/// `PUT /v1/deployment/promote/:id`
pub(super) async fn promote(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<DeploymentKind>>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: wire::DeploymentPromoteRequest = body.json()?;
    must_match(&request.deployment_id, id)?;
    if request.all != request.groups.is_empty() {
        let message = if request.all {
            "All and Groups exclude each other"
        } else {
            "either All or Groups must be given"
        };
        return Err(Error::bad_request(message));
    }
    let written = api.server().promote_deployment(id, &request.groups).await?;
    updated(&query, written)
}

/// `PUT /v1/deployment/allocation-health/:id`
pub(super) async fn health(
    State(api): State<Api>,
    Path(RowId(id)): Path<RowId<DeploymentKind>>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: wire::DeploymentHealthRequest = body.json()?;
    must_match(&request.deployment_id, id)?;
    let (healthy, unhealthy) = (
        request.healthy_allocation_ids,
        request.unhealthy_allocation_ids,
    );
    if healthy.is_empty() && unhealthy.is_empty() {
        return Err(Error::bad_request(
            "must specify at least one healthy/unhealthy allocation ID",
        ));
    }
    let written = api
        .server()
        .set_alloc_health(id, ids(&healthy), ids(&unhealthy))
        .await?;
    updated(&query, written)
}

//! Launching jobs that never run themselves.

use axum::{
    http::header,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jobs::{control::launch::Dispatch, model::JobKey, wire};

use super::no_job;
use crate::{
    Api,
    body::Raw,
    error::Error,
    nomad::{operator::scheduler::may_register, query::Query},
};

/// `PUT /v1/job/:id/dispatch`
pub(super) async fn dispatch(
    api: &Api,
    query: &Query,
    key: JobKey,
    body: &Raw,
) -> Result<Response, Error> {
    may_register(api)?;
    let request: wire::JobDispatchRequest = body.optional_json()?.unwrap_or_default();
    if !request.job_id.is_empty() && request.job_id != key.id {
        return Err(Error::bad_request("Job ID does not match"));
    }
    let payload = request.payload.unwrap_or_default();
    let bytes = BASE64_STANDARD
        .decode(&payload)
        .map_err(|error| Error::bad_request(format!("Payload is no Base64: {error}")))?;
    let request = Dispatch {
        payload,
        payload_bytes: bytes.len(),
        meta: request.meta.unwrap_or_default(),
        id_prefix: request.id_prefix_template,
        priority: Some(request.priority).filter(|priority| *priority != 0),
        idempotency_token: query
            .get("idempotency_token")
            .unwrap_or_default()
            .to_owned(),
    };
    let launched = api.server().dispatch_job(&key, request).await?;
    let has_eval = launched.eval_id.is_some();
    let response = wire::JobDispatchResponse {
        dispatched_job_id: launched.child,
        eval_id: launched.eval_id,
        eval_create_index: if has_eval { launched.create_index } else { 0 },
        job_create_index: launched.create_index,
        index: launched.index,
    };
    query.written(launched.index, &response)
}

/// `PUT /v1/job/:id/periodic/force`
pub(super) async fn force(api: &Api, query: &Query, key: &JobKey) -> Result<Response, Error> {
    may_register(api)?;
    let written = api.server().launch_now(key).await?;
    let has_eval = written.eval_id.is_some();
    let response = wire::PeriodicForceResponse {
        eval_id: written.eval_id,
        eval_create_index: if has_eval { written.index } else { 0 },
        index: written.index,
    };
    query.written(written.index, &response)
}

/// `GET /v1/job/:id/dispatch/payload`: what a launch gave, as it is.
pub(super) fn payload(api: &Api, key: &JobKey) -> Result<Response, Error> {
    let snapshot = api.server().snapshot();
    let job = snapshot.jobs.job(key).ok_or_else(no_job)?;
    let bytes = BASE64_STANDARD
        .decode(&job.payload)
        .map_err(|_| Error::internal("the payload of the job cannot be read"))?;
    let content_type = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((content_type, bytes).into_response())
}

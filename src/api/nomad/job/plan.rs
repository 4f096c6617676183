//! What a registration would do.

use axum::response::Response;
use jobs::{
    model::{Job, JobKey},
    spec, wire,
};
use std::sync::Arc;

use super::check::{Checked, Place, check};
use crate::{
    api::{Api, body::Raw, error::Error, nomad::query::Query},
    server::Snapshot,
};

/// A job to preview, its warnings, and how it differs from the current one if that was asked for.
struct Asked {
    job: Job,
    warnings: String,
    diff: Option<wire::JobDiff>,
}

/// `PUT /v1/job/:id/plan`
pub(super) async fn plan(
    api: &Api,
    query: &Query,
    key: JobKey,
    body: Raw,
) -> Result<Response, Error> {
    let snapshot = api.server().snapshot();
    let (with, of, bytes) = (api.clone(), query.clone(), body.len());
    let current = Arc::clone(&snapshot);
    let work = move || prepare(&with, &of, &key, &body, &current);
    let Asked {
        job,
        warnings,
        diff,
    } = api.heavy().run_sized(bytes, work).await??;
    let preview = api.server().preview(job).await?;
    let diff = diff.map(|mut diff| {
        spec::annotate(&mut diff, &preview.annotations);
        diff
    });
    let response = wire::JobPlanResponse {
        job_modify_index: preview.job_modify_index,
        created_evals: preview.created_evals.into_iter().map(Arc::new).collect(),
        diff,
        annotations: preview.annotations,
        failed_tg_allocs: preview.failed_tg_allocs,
        next_periodic_launch: jobs::model::Timestamp::default(),
        warnings,
        index: snapshot.index,
    };
    let index = snapshot.index;
    query.written(index, &wire::Complete(response, &wire::shapes::JOB_PLAN))
}

fn prepare(
    api: &Api,
    query: &Query,
    key: &JobKey,
    body: &Raw,
    snapshot: &Snapshot,
) -> Result<Asked, Error> {
    let request: wire::JobPlanRequest = body.json_of(&wire::shapes::JOB_PLAN_REQUEST)?;
    let job = request
        .job
        .ok_or_else(|| Error::bad_request("Job must be specified"))?;
    match job.id.as_deref() {
        None | Some("") => return Err(Error::bad_request("Job must have a valid ID")),
        Some(id) if id != key.id => return Err(Error::bad_request("Job ID does not match")),
        Some(_) => {}
    }
    let place = Place {
        region: request.region,
        namespace: request.namespace,
    };
    let Checked { job, warnings } = check(api, query, *job, place)?;
    let current = snapshot.jobs.job(&job.key());
    let diff = request
        .diff
        .then(|| spec::diff(current.map(|job| &**job), Some(&job)));
    Ok(Asked {
        job,
        warnings,
        diff,
    })
}

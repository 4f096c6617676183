//! Registering jobs and evaluating them again.

use axum::{extract::State, response::Response};
use jobs::{
    control::operator::Registration,
    model::{Job, JobId, JobKey},
    wire,
};

use super::check::{Checked, Place, check};
use crate::{
    Api,
    body::Raw,
    error::Error,
    nomad::{operator::scheduler::may_register, query::Query},
};
use server::Written;

/// Bounds of an evaluation's priority.
const PRIORITIES: std::ops::RangeInclusive<i32> = 1..=100;

/// `PUT /v1/jobs`
pub(super) async fn register(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    write(&api, &query, body, None).await
}

/// `PUT /v1/job/:id`
pub(super) async fn register_at(
    api: &Api,
    query: &Query,
    key: &JobKey,
    body: Raw,
) -> Result<Response, Error> {
    write(api, query, body, Some(key.id.clone())).await
}

async fn write(api: &Api, query: &Query, body: Raw, id: Option<JobId>) -> Result<Response, Error> {
    may_register(api)?;
    let (with, of, bytes) = (api.clone(), query.clone(), body.len());
    let work = move || prepare(&with, &of, &body, id.as_deref());
    let (registration, warnings) = api.heavy().run_sized(bytes, work).await??;
    let key = registration.job.key();
    let written = api.server().register_job(registration).await?;
    registered(api, query, &key, written, warnings)
}

/// The registration that a body asks for, of the job `id` if one is named, and its warnings.
fn prepare(
    api: &Api,
    query: &Query,
    body: &Raw,
    id: Option<&str>,
) -> Result<(Registration, String), Error> {
    let request: wire::JobRegisterRequest = body.json_of(&wire::shapes::JOB_REGISTER_REQUEST)?;
    let posted = request.job.as_ref().and_then(|job| job.id.as_deref());
    if id.is_some() && posted != id {
        return Err(Error::bad_request("Job ID does not match name"));
    }
    let job = request
        .job
        .ok_or_else(|| Error::bad_request("Job must be specified"))?;
    if job.id.as_ref().is_none_or(String::is_empty) {
        return Err(Error::bad_request("Job ID must be specified"));
    }
    let place = Place {
        region: request.region,
        namespace: request.namespace,
    };
    let Checked { mut job, warnings } = check(api, query, *job, place)?;
    if request.preserve_resources {
        preserve_resources(api, &mut job);
    }
    let registration = Registration {
        job,
        submission: request.submission,
        enforce_index: request.enforce_index.then_some(request.job_modify_index),
        eval_priority: priority(request.eval_priority)?,
        preserve_counts: request.preserve_counts,
    };
    Ok((registration, warnings))
}

/// The answer to a write that left an evaluation behind.
pub(super) fn registered(
    api: &Api,
    query: &Query,
    key: &JobKey,
    written: Written,
    warnings: String,
) -> Result<Response, Error> {
    // A write that left the job as it was says which version that is.
    let job_modify_index = written.job_modify_index.or_else(|| {
        let snapshot = api.server().snapshot();
        snapshot.jobs.job(key).map(|job| job.job_modify_index)
    });
    let has_eval = written.eval_id.is_some();
    let response = wire::JobRegisterResponse {
        eval_id: written.eval_id,
        eval_create_index: if has_eval { written.index } else { 0 },
        job_modify_index: job_modify_index.unwrap_or(written.index),
        warnings,
        index: written.index,
        last_contact: 0,
        known_leader: api.knows_leader(),
    };
    query.written(written.index, &response)
}

/// The tasks of groups that exist keep what they ask for now.
fn preserve_resources(api: &Api, job: &mut Job) {
    let snapshot = api.server().snapshot();
    let Some(current) = snapshot.jobs.job(&job.key()) else {
        return;
    };
    for group in &mut job.task_groups {
        let Some(earlier) = current.task_group(&group.name) else {
            continue;
        };
        for task in &mut group.tasks {
            if let Some(earlier) = earlier.tasks.iter().find(|row| row.name == task.name) {
                task.resources = earlier.resources.clone();
            }
        }
    }
}

/// The priority of an evaluation; none for 0.
pub(super) fn priority(value: i32) -> Result<Option<i32>, Error> {
    match value {
        0 => Ok(None),
        value if PRIORITIES.contains(&value) => Ok(Some(value)),
        _ => Err(Error::bad_request(
            "eval priority must be between 1 and 100 inclusively",
        )),
    }
}

/// `PUT /v1/job/:id/evaluate`
pub(super) async fn evaluate(
    api: &Api,
    query: &Query,
    key: JobKey,
    body: &Raw,
) -> Result<Response, Error> {
    let request: wire::JobEvaluateRequest = body.optional_json()?.unwrap_or_default();
    if !request.job_id.is_empty() && request.job_id != key.id {
        return Err(Error::bad_request("JobID not same as job name"));
    }
    let force = request.eval_options.force_reschedule;
    let written = api.server().evaluate_job(&key, force).await?;
    registered(api, query, &key, written, String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_have_bounds() {
        assert_eq!(priority(0), Ok(None));
        assert_eq!(priority(100), Ok(Some(100)));
        assert!(priority(101).is_err());
        assert!(priority(-1).is_err());
    }
}

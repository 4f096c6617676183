//! Writing jobs: register, validate, parse, evaluate, deregister.

use axum::{extract::State, response::Response};
use jobs::{
    model::{DEFAULT_NAMESPACE, Job, JobKey},
    spec::{self, Defaults, Variables},
    wire,
};

use crate::{
    api::{Api, body::Raw, error::Error, query::Query},
    server::Registration,
};

/// The region that a job names when it means that of the agent.
const ANY_REGION: &str = "global";
/// Bounds of an evaluation's priority.
const PRIORITIES: std::ops::RangeInclusive<i32> = 1..=100;

/// A posted job that obeys every rule.
#[derive(Debug)]
pub(super) struct Checked {
    /// Canonical.
    pub(super) job: Job,
    /// What is doubtful about it, as one text; empty for nothing.
    pub(super) warnings: String,
}

/// `PUT /v1/jobs`
pub(super) async fn register(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request = body.json_of(&wire::shapes::JOB_REGISTER_REQUEST)?;
    write(&api, &query, request).await
}

/// `PUT /v1/job/:id`
pub(super) async fn register_at(
    api: &Api,
    query: &Query,
    key: &JobKey,
    body: &Raw,
) -> Result<Response, Error> {
    let request: wire::JobRegisterRequest = body.json_of(&wire::shapes::JOB_REGISTER_REQUEST)?;
    let id = request.job.as_ref().and_then(|job| job.id.as_deref());
    if id != Some(&key.id) {
        return Err(Error::bad_request("Job ID does not match name"));
    }
    write(api, query, request).await
}

async fn write(
    api: &Api,
    query: &Query,
    request: wire::JobRegisterRequest,
) -> Result<Response, Error> {
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
    let key = job.key();
    let registration = Registration {
        job,
        submission: request.submission,
        enforce_index: request.enforce_index.then_some(request.job_modify_index),
        eval_priority: priority(request.eval_priority)?,
        preserve_counts: request.preserve_counts,
    };
    let written = api.server().register_job(registration).await?;
    registered(api, query, &key, written, warnings)
}

/// The answer to a write that left an evaluation behind.
pub(super) fn registered(
    api: &Api,
    query: &Query,
    key: &JobKey,
    written: crate::server::Written,
    warnings: String,
) -> Result<Response, Error> {
    // A write that left the job as it was says which version that is.
    let job_modify_index = written.job_modify_index.or_else(|| {
        let snapshot = api.server().snapshot();
        snapshot.jobs.job(key).map(|job| job.job_modify_index)
    });
    let has_eval = !written.eval_id.is_empty();
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

/// Region and namespace that the body of a request names besides its job.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Region.
    pub(super) region: Option<String>,
    /// Namespace.
    pub(super) namespace: Option<String>,
}

/// Puts the job where it belongs, fills in its defaults and checks it.
pub(super) fn check(
    api: &Api,
    query: &Query,
    job: wire::Job,
    place: Place,
) -> Result<Checked, Error> {
    let validation = validation(api, query, job, place)?;
    match validation.job {
        Some(job) if validation.errors.is_empty() => Ok(Checked {
            job,
            warnings: list_warnings(&validation.warnings),
        }),
        _ => Err(Error::internal(spec::list_errors(&validation.errors))),
    }
}

/// The query string wins over the body, that over the job.
fn validation(
    api: &Api,
    query: &Query,
    mut job: wire::Job,
    place: Place,
) -> Result<spec::Validation, Error> {
    let named = |text: Option<String>| text.filter(|text| !text.is_empty());
    let region = named(query.get("region").map(str::to_owned))
        .or_else(|| named(place.region))
        .or_else(|| named(job.region.take()))
        .filter(|region| region != ANY_REGION);
    if region.is_some_and(|region| region != api.facts().region) {
        return Err(Error::internal("No path to region"));
    }
    let namespace = named(query.named_namespace().map(str::to_owned))
        .or_else(|| named(place.namespace))
        .or_else(|| named(job.namespace.take()))
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    if namespace != DEFAULT_NAMESPACE {
        let message = format!(
            "nonexistent namespace {namespace:?}: this version has the namespace \"default\" only"
        );
        return Err(Error::internal(message));
    }
    job.region = Some(api.facts().region.clone());
    job.namespace = Some(namespace.clone());
    let defaults = Defaults {
        region: api.facts().region.clone(),
        namespace,
        ..Defaults::default()
    };
    Ok(spec::canonicalize_and_validate(job, &defaults))
}

/// Warnings as one text, in the published form.
fn list_warnings(warnings: &[String]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let noun = if warnings.len() == 1 {
        "warning"
    } else {
        "warnings"
    };
    let mut text = format!("{} {noun}:\n", warnings.len());
    for warning in warnings {
        text.push_str("\n* ");
        text.push_str(warning.trim());
    }
    text
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
fn priority(value: i32) -> Result<Option<i32>, Error> {
    match value {
        0 => Ok(None),
        value if PRIORITIES.contains(&value) => Ok(Some(value)),
        _ => Err(Error::bad_request(
            "eval priority must be between 1 and 100 inclusively",
        )),
    }
}

/// `PUT /v1/validate/job`
pub(super) async fn validate(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: wire::JobValidateRequest = body.json_of(&wire::shapes::JOB_VALIDATE_REQUEST)?;
    let job = request
        .job
        .ok_or_else(|| Error::bad_request("Job must be specified"))?;
    let validation = validation(&api, &query, *job, Place::default())?;
    let error = if validation.errors.is_empty() {
        String::new()
    } else {
        spec::list_errors(&validation.errors)
    };
    query.json(&wire::JobValidateResponse {
        driver_config_validated: true,
        error,
        validation_errors: validation.errors,
        warnings: list_warnings(&validation.warnings),
    })
}

/// `PUT /v1/jobs/parse`
pub(super) async fn parse(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: wire::JobsParseRequest = body.json()?;
    if request.job_hcl.is_empty() {
        return Err(Error::bad_request("Job spec is empty"));
    }
    let canonicalize = request.canonicalize;
    // A hostile file can take long to evaluate; that must not hold up other requests.
    let parsed = tokio::task::spawn_blocking(move || parse_text(&request))
        .await
        .map_err(|_| Error::internal("the job file could not be read"))?;
    let job = parsed
        .map_err(|text| Error::bad_request(format!("Failed to parse job: {}", text.trim_end())))?;
    if canonicalize {
        let Checked { job, .. } = check(&api, &query, job, Place::default())?;
        return query.json(&job);
    }
    query.json(&job)
}

/// The functions that read files are not there: they would read those of the server.
fn parse_text(request: &wire::JobsParseRequest) -> Result<wire::Job, String> {
    let mut variables = Variables::default();
    if !request.variables.is_empty() {
        variables.files.push(spec::VariableFile {
            name: "input.vars".to_owned(),
            text: request.variables.clone(),
        });
    }
    spec::parse(&request.job_hcl, "input.hcl", &variables, None).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
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

/// `DELETE /v1/job/:id`
pub(super) async fn deregister(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let purge = query.flag("purge")?;
    let eval_priority = query.number("eval_priority", "eval_priority is no number")?;
    if query.flag("no_shutdown_delay")? {
        return Err(Error::absent("stopping a job without its shutdown delay"));
    }
    let priority = priority(eval_priority.unwrap_or(0))?;
    let written = api.server().deregister_job(&key, purge, priority).await?;
    let has_eval = !written.eval_id.is_empty();
    let response = wire::JobDeregisterResponse {
        eval_id: written.eval_id,
        eval_create_index: if has_eval { written.index } else { 0 },
        job_modify_index: written.job_modify_index.unwrap_or(written.index),
        index: written.index,
        last_contact: 0,
        known_leader: api.knows_leader(),
    };
    query.written(written.index, &response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_counted_and_listed() {
        assert_eq!(list_warnings(&[]), "");
        assert_eq!(list_warnings(&["a".into()]), "1 warning:\n\n* a");
        assert_eq!(
            list_warnings(&["a".into(), " b\n".into()]),
            "2 warnings:\n\n* a\n* b"
        );
    }

    #[test]
    fn priorities_have_bounds() {
        assert_eq!(priority(0), Ok(None));
        assert_eq!(priority(100), Ok(Some(100)));
        assert!(priority(101).is_err());
        assert!(priority(-1).is_err());
    }
}

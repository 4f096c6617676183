//! What a registration would do.

use axum::response::Response;
use jiff::tz::TimeZone;
use jobs::{
    control::rollout,
    model::{Job, JobKey, TaskGroup, Timestamp},
    spec, wire,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::check::{Checked, Place, check};
use crate::{Api, body::Raw, error::Error, nomad::query::Query};
use server::Snapshot;
use sys::clock;

/// How long requests are counted to know how many come.
const MINUTE: Duration = Duration::from_secs(60);

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
    let next_periodic_launch = next_launch(&job, clock::now());
    let rollouts = rollouts(api, &job);
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
        next_periodic_launch,
        warnings,
        rollouts,
        index: snapshot.index,
    };
    let index = snapshot.index;
    query.written(index, &wire::Complete(response, &wire::shapes::JOB_PLAN))
}

/// How long the steps of canaries take at the rate of the last minute, by group.
fn rollouts(api: &Api, job: &Job) -> Vec<String> {
    let of_group = |group: &TaskGroup| {
        let update = group.update.as_ref()?;
        let policy = group.rollout_policy();
        if update.canary == 0 || !policy.is_governed() {
            return None;
        }
        let of_tasks = group.tasks.iter().flat_map(|task| &task.services);
        let names: BTreeSet<&str> = group
            .services
            .iter()
            .chain(of_tasks)
            .map(|service| service.name.as_str())
            .collect();
        let rows = names
            .iter()
            .flat_map(|name| api.server().recent_traffic(MINUTE, Some(name)));
        let requests: u64 = rows.map(|row| row.counts.attempts()).sum();
        let estimate = rollout::estimate(&policy, requests as f64)?;
        Some(format!("Canaries of group {:?}: {estimate}", group.name))
    };
    job.task_groups.iter().filter_map(of_group).collect()
}

/// When a job would be launched next, in its own time zone.
fn next_launch(job: &Job, now: Timestamp) -> String {
    let launch = job.periodic.as_ref().and_then(|periodic| {
        let zone = periodic.time_zone.as_deref().unwrap_or_default();
        let zone = clock::zone(zone).unwrap_or(TimeZone::UTC);
        let at = periodic.next(now, &zone)?;
        let at = jiff::Timestamp::from_nanosecond(at.as_nanos().into()).ok()?;
        Some((at, zone))
    });
    match launch {
        Some((at, zone)) if zone == TimeZone::UTC => at.to_string(),
        Some((at, zone)) => at.display_with_offset(zone.to_offset(at)).to_string(),
        None => wire::JobPlanResponse::NEVER.to_owned(),
    }
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

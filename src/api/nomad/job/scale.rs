//! Counts of a job's groups.

use axum::response::Response;
use jobs::{control::operator::Scaling, model::JobKey, state::Table, wire};
use std::collections::BTreeMap;

use super::{no_job, register::registered};
use crate::{
    Api,
    body::Raw,
    error::Error,
    nomad::{operator::scheduler::may_register, query::Query},
};
use server::{Snapshot, log::watch::Topic};

/// `GET /v1/job/:id/scale`
pub(super) async fn status(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| {
        let jobs = &snapshot.jobs;
        let Some(job) = jobs.job(&key) else {
            return jobs.table_index(Table::Jobs);
        };
        let allocs = jobs.allocs_of_job(&key).map(|alloc| alloc.modify_index);
        let events = job
            .task_groups
            .iter()
            .filter_map(|group| jobs.scaling_events(&key, &group.name).first())
            .map(|event| event.create_index);
        allocs.chain(events).fold(job.modify_index, u64::max)
    };
    let view = |snapshot: &Snapshot| {
        let jobs = &snapshot.jobs;
        let job = jobs.job(&key).ok_or_else(no_job)?;
        let events: BTreeMap<_, _> = job
            .task_groups
            .iter()
            .map(|group| {
                let events = jobs.scaling_events(&key, &group.name);
                (group.name.clone(), events.to_vec())
            })
            .collect();
        let allocs = jobs.allocs_of_job(&key).map(|alloc| &**alloc);
        Ok(wire::JobScaleStatus::new(job, allocs, &events))
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
}

/// `PUT /v1/job/:id/scale`
pub(super) async fn scale(
    api: &Api,
    query: &Query,
    key: JobKey,
    body: &Raw,
) -> Result<Response, Error> {
    may_register(api)?;
    let request: wire::ScalingRequest = body.json()?;
    let target = |name: &str| {
        request
            .target
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    };
    let job = target(wire::ScalingRequest::TARGET_JOB);
    if !job.is_empty() && job != key.id {
        return Err(Error::bad_request("job ID in payload did not match URL"));
    }
    if request.error && request.count.is_some() {
        return Err(Error::bad_request(
            "scaling action should not contain count if error is true",
        ));
    }
    let group = target(wire::ScalingRequest::TARGET_GROUP);
    if group.is_empty() {
        return Err(Error::bad_request(
            "missing task group name for scaling action",
        ));
    }
    let scaling = Scaling {
        group: group.into(),
        count: request.count,
        message: request.message.clone(),
        error: request.error,
        meta: request.meta.clone(),
        enforce_index: Some(request.job_modify_index).filter(|index| *index > 0),
    };
    let written = api.server().scale_job(&key, scaling).await?;
    registered(api, query, &key, written, String::new())
}

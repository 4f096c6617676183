//! How the servers schedule.

use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use jobs::{
    model::{Index, Job, SchedulerConfig},
    state::{Rejected, Table},
};
use serde::Serialize;

use crate::{Api, body::Raw, error::Error, nomad::query::Query};
use server::{Snapshot, log::watch::Topic, state};

/// The endpoints of the scheduler.
pub(super) fn router() -> Router<Api> {
    Router::new().route(
        "/v1/operator/scheduler/configuration",
        get(read).put(update).post(update),
    )
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    scheduler_config: SchedulerConfig,
    index: Index,
    last_contact: u64,
    known_leader: bool,
}

/// `GET /v1/operator/scheduler/configuration`
async fn read(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| snapshot.jobs.scheduler_config().modify_index;
    let known_leader = api.knows_leader();
    let view = |snapshot: &Snapshot| {
        Ok(Configuration {
            scheduler_config: *snapshot.jobs.scheduler_config(),
            index: index_of(snapshot),
            last_contact: 0,
            known_leader,
        })
    };
    let topics = [Topic::Jobs(Table::SchedulerConfig)];
    api.read(&query, topics, index_of, view).await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Updated {
    updated: bool,
    index: Index,
}

/// `PUT /v1/operator/scheduler/configuration`, with `cas` only while the configuration has that
/// index.
async fn update(State(api): State<Api>, query: Query, body: Raw) -> Result<Response, Error> {
    let config: SchedulerConfig = body.json()?;
    if config.node_limit_for_feasibility_checks != 0 {
        return Err(Error::bad_request(
            "NodeLimitForFeasibilityChecks must be 0: every node is looked at here",
        ));
    }
    let expected = query.number("cas", "Error parsing cas value: not a number")?;
    let written = api.server().set_scheduler_config(config, expected).await;
    let (updated, index) = match written {
        Ok(index) => (true, index),
        Err(server::Error::Rejected(state::Rejected::Jobs(Rejected::SchedulerConfigChanged {
            found,
            ..
        }))) => (false, found),
        Err(error) => return Err(error.into()),
    };
    query.written(index, &Updated { updated, index })
}

/// Refuses a registration or a change of counts where operators want none.
///
/// # Errors
/// 403 with the published text.
pub(in crate::nomad) fn may_register(api: &Api) -> Result<(), Error> {
    if !api
        .server()
        .snapshot()
        .jobs
        .scheduler_config()
        .reject_job_registration
    {
        return Ok(());
    }
    Err(Error::new(
        StatusCode::FORBIDDEN,
        "Job registration, dispatch, and scale are disabled by the scheduler configuration",
    ))
}

/// A warning for each task that asks for more memory than is reserved for it, where none is given.
pub(in crate::nomad) fn memory_warnings(api: &Api, job: &Job) -> Vec<String> {
    let snapshot = api.server().snapshot();
    if snapshot
        .jobs
        .scheduler_config()
        .memory_oversubscription_enabled
    {
        return Vec::new();
    }
    let tasks = job
        .task_groups
        .iter()
        .flat_map(|group| group.tasks.iter().map(move |task| (&group.name, task)));
    tasks
        .filter(|(_, task)| task.resources.memory_max_mb > 0)
        .map(|(group, task)| {
            format!(
                "Memory oversubscription is not enabled; Task \"{group}.{}\" memory_max value will be ignored. Update the Scheduler Configuration to allow oversubscription.",
                task.name
            )
        })
        .collect()
}

//! Commands that a job names for its tasks.

use axum::{
    extract::{FromRequestParts as _, ws::WebSocketUpgrade},
    http::request::Parts,
    response::Response,
};
use jobs::model::{Action, AllocId, JobKey};
use serde::Serialize;

use super::no_job;
use crate::{
    Api,
    error::Error,
    nomad::{client::execute, query::Query},
};
use server::{Snapshot, log::watch::Topic};

/// An action with its place in the job.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Placed {
    #[serde(flatten)]
    action: Action,
    task_name: String,
    task_group_name: String,
}

/// `GET /v1/job/:id/actions`
pub(super) async fn list(api: &Api, query: &Query, key: JobKey) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| snapshot.jobs.job(&key).map_or(0, |job| job.modify_index);
    let view = |snapshot: &Snapshot| {
        let job = snapshot.jobs.job(&key).ok_or_else(no_job)?;
        let mut found = Vec::new();
        for group in &job.task_groups {
            for task in &group.tasks {
                found.extend(task.actions.iter().map(|action| Placed {
                    action: action.clone(),
                    task_name: task.name.to_string(),
                    task_group_name: group.name.to_string(),
                }));
            }
        }
        Ok(found)
    };
    api.read(query, [Topic::Job(key.clone())], index_of, view)
        .await
}

/// `GET /v1/job/:id/action`: runs an action inside a task of an allocation, as `alloc exec` runs a
/// command.
pub(super) async fn run(
    api: &Api,
    query: &Query,
    key: &JobKey,
    mut parts: Parts,
) -> Result<Response, Error> {
    let id = query.get("allocID").unwrap_or_default();
    let task = query.get("task").unwrap_or_default();
    let action = query.get("action").unwrap_or_default();
    let command = command(api, key, id, task, action)?;
    let socket = WebSocketUpgrade::from_request_parts(&mut parts, api)
        .await
        .map_err(|refusal| Error::bad_request(refusal.to_string()))?;
    execute::begin(api, query, id.to_owned(), task, command, socket)
}

/// What an action of a task runs.
fn command(
    api: &Api,
    key: &JobKey,
    alloc_id: &str,
    task: &str,
    action: &str,
) -> Result<Vec<String>, Error> {
    let snapshot = api.server().snapshot();
    let alloc = AllocId::parse(alloc_id).and_then(|id| snapshot.jobs.alloc(id));
    let alloc = alloc
        .filter(|alloc| alloc.job_key() == *key)
        .ok_or_else(|| Error::not_found(format!("Unknown allocation {alloc_id:?} of the job")))?;
    let task_of = alloc.group().and_then(|group| group.task(task));
    let task_of =
        task_of.ok_or_else(|| Error::not_found(format!("the group has no task {task:?}")))?;
    let mut actions = task_of.actions.iter();
    let found = actions
        .find(|found| found.name == action)
        .ok_or_else(|| Error::not_found(format!("task {task:?} has no action {action:?}")))?;
    let arguments = found.args.iter().flatten();
    let words = std::iter::once(&found.command).chain(arguments);
    Ok(words.cloned().collect())
}

//! Restarting tasks and sending them signals.

use axum::{
    extract::{Path, State},
    response::Response,
};
use client::Tasks;
use jobs::wire::{AllocRestartRequest, AllocSignalRequest};
use serde_json::json;

use super::of_alloc;
use crate::{Api, body::Raw, error::Error, nomad::query::Query};

/// An answer without news; clients refuse an empty body here.
fn done(api: &Api, query: &Query) -> Result<Response, Error> {
    let index = api.server().snapshot().index;
    query.written(
        index,
        &json!({ "Index": index, "LastContact": 0, "KnownLeader": api.knows_leader() }),
    )
}

fn named(task: &str) -> Option<&str> {
    Some(task).filter(|task| !task.is_empty())
}

/// `PUT /v1/client/allocation/:id/restart`
pub(super) async fn restart(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: AllocRestartRequest = body.optional_json()?.unwrap_or_default();
    let tasks = match (request.task_name, request.all_tasks) {
        (name, true) if !name.is_empty() => {
            let text = "task name cannot be set when restarting all tasks";
            return Err(Error::bad_request(text));
        }
        (_, true) => Tasks::All,
        (name, false) if name.is_empty() => Tasks::Running,
        (name, false) => Tasks::Named(name),
    };
    let client = of_alloc(&api, &id)?;
    client.restart(&id, tasks).await?;
    done(&api, &query)
}

/// `PUT /v1/client/allocation/:id/signal`
pub(super) async fn signal(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: AllocSignalRequest = body.json()?;
    if request.signal.is_empty() {
        return Err(Error::bad_request("Signal must be specified"));
    }
    let client = of_alloc(&api, &id)?;
    client
        .signal(&id, named(&request.task), &request.signal)
        .await?;
    done(&api, &query)
}

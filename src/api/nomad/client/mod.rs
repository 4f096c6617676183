//! What only the machine that runs an allocation knows: its files, logs, usage and checks.
//!
//! Answered for allocations of this agent's own node; requests about others are carried to theirs.

mod actions;
mod collection;
pub(super) mod execute;
mod files;
mod labels;
pub(crate) mod streams;
mod usage;

use axum::{
    Router,
    handler::Handler,
    http::StatusCode,
    routing::{MethodRouter, get},
};

use super::{query::Query, write};
use jobs::model::{AllocId, NodeId};

use crate::{Api, error::Error};

/// The endpoints of this agent's own node.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/client/fs/ls/{id}", get(files::list))
        .route("/v1/client/fs/stat/{id}", get(files::stat))
        .route("/v1/client/fs/cat/{id}", get(files::cat))
        .route("/v1/client/fs/readat/{id}", get(files::read_at))
        .route("/v1/client/fs/stream/{id}", get(streams::stream))
        .route("/v1/client/fs/logs/{id}", get(streams::logs))
        .route("/v1/client/allocation/{id}/stats", get(usage::alloc))
        .route("/v1/client/allocation/{id}/checks", get(usage::checks))
        .route("/v1/allocation/{id}/checks", get(usage::checks))
        .route(
            "/v1/client/allocation/{id}/restart",
            write(actions::restart),
        )
        .route("/v1/client/allocation/{id}/signal", write(actions::signal))
        .route("/v1/client/allocation/{id}/exec", get(execute::execute))
        .route("/v1/client/allocation/{id}/gc", any_of(collection::alloc))
        .route("/v1/client/gc", any_of(collection::all))
        .route("/v1/client/allocation/{id}/snapshot", get(files::snapshot))
        .route("/v1/client/stats", get(usage::host))
        .route(
            "/v1/client/metadata",
            get(labels::read).put(labels::change).post(labels::change),
        )
}

/// Published clients read what they want done.
fn any_of<H, T>(handler: H) -> MethodRouter<Api>
where
    H: Handler<T, Api>,
    T: 'static,
{
    write(handler.clone()).get(handler)
}

/// The client that has an allocation.
fn of_alloc<'a>(api: &'a Api, id: &str) -> Result<&'a client::Handle, Error> {
    if let Some(client) = api.client()
        && client.knows(id)
    {
        return Ok(client);
    }
    let snapshot = api.server().snapshot();
    let known = AllocId::parse(id).and_then(|id| snapshot.jobs.alloc(id));
    let alloc = known.ok_or_else(|| unknown(id))?;
    match api.client() {
        Some(client) if client.node().id == alloc.node_id => Ok(client),
        _ => Err(Error::not_found("No path to node")),
    }
}

/// The client of the node that the query names, or this agent's own.
fn of_node<'a>(api: &'a Api, query: &Query) -> Result<&'a client::Handle, Error> {
    match (api.client(), query.get("node_id")) {
        (Some(client), None) => Ok(client),
        (Some(client), Some(id)) if NodeId::parse(id) == Some(client.node().id) => Ok(client),
        (None, None) => Err(Error::bad_request("No local Node and node_id not provided")),
        (_, Some(id)) if !knows_node(api, id) => {
            Err(Error::not_found(format!("Unknown node {id:?}")))
        }
        (_, Some(_)) => Err(Error::not_found("No path to node")),
    }
}

fn knows_node(api: &Api, id: &str) -> bool {
    let snapshot = api.server().snapshot();
    NodeId::parse(id).is_some_and(|id| snapshot.jobs.node(id).is_some())
}

fn unknown(alloc: &str) -> Error {
    Error::not_found(format!("Unknown allocation {alloc:?}"))
}

impl From<client::Error> for Error {
    fn from(error: client::Error) -> Self {
        use client::Error as E;
        let status = match &error {
            E::UnknownAlloc { alloc } => return unknown(alloc),
            E::NotStarted { .. } | E::NoFile { .. } | E::NotOver { .. } => StatusCode::NOT_FOUND,
            E::SecretPath { .. } | E::Linked { .. } | E::NoCommands => StatusCode::FORBIDDEN,
            E::StillRuns => StatusCode::CONFLICT,
            E::UnknownTask { .. }
            | E::UnknownSignal { .. }
            | E::NoSignals { .. }
            | E::Escapes { .. }
            | E::BadPath { .. }
            | E::BadOffset { .. }
            | E::TooManyLabels { .. }
            | E::WrongKind { .. } => StatusCode::BAD_REQUEST,
            E::NotRunning | E::Over | E::Stopping | E::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;

    #[test]
    fn paths_that_must_not_be_read_are_refused() {
        let path = || "../../etc/passwd".to_owned();
        for (error, status) in [
            (client::Error::Escapes { path: path() }, 400),
            (client::Error::SecretPath { path: path() }, 403),
            (client::Error::NoFile { path: path() }, 404),
            (client::Error::UnknownAlloc { alloc: "a".into() }, 404),
            (client::Error::Linked { path: path() }, 403),
            (client::Error::StillRuns, 409),
            (client::Error::BadPath { reason: "is bad" }, 400),
            (client::Error::BadOffset { offset: u64::MAX }, 400),
        ] {
            let answer = Error::from(error).into_response();
            assert_eq!(answer.status().as_u16(), status);
        }
    }
}

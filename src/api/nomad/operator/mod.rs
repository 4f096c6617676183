//! Where the log stands, how servers and scheduling are set, and tidying up.

mod autopilot;
mod keyring;
pub(super) mod scheduler;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{delete, get},
};
use jobs::wire;
use serde_json::json;

use super::{query::Query, write};
use crate::{Api, error::Error};

/// Version of the log's protocol, as clients of the API number it.
const RAFT_PROTOCOL: &str = "3";

/// The endpoints of operators.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/operator/raft/configuration", get(raft))
        .route("/v1/operator/raft/peer", delete(remove_peer))
        .route("/v1/operator/raft/transfer-leadership", write(transfer))
        .route("/v1/operator/license", get(async || StatusCode::NO_CONTENT))
        .merge(autopilot::router())
        .merge(keyring::router())
        .merge(scheduler::router())
        .route("/v1/system/gc", write(collect_garbage))
        // Counts of jobs are part of the state, and never off.
        .route(
            "/v1/system/reconcile/summaries",
            write(async || StatusCode::OK),
        )
}

/// Id and name of a server: clients hand the id back.
fn named(api: &Api, voter: &server::Voter) -> (String, String) {
    match voter.name.as_str() {
        "" => (voter.address.clone(), "(unknown)".to_owned()),
        name => (name.to_owned(), format!("{name}.{}", api.facts().region)),
    }
}

/// `GET /v1/operator/raft/configuration`
async fn raft(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let server = |voter: server::Voter| {
        let (id, node) = named(&api, &voter);
        wire::RaftServer {
            id,
            node,
            address: voter.address,
            leader: voter.is_leader,
            voter: voter.votes,
            raft_protocol: RAFT_PROTOCOL.to_owned(),
        }
    };
    let voters = api.server().voters();
    query.json(&wire::RaftConfiguration {
        servers: voters.into_iter().map(server).collect(),
        index: 0,
    })
}

/// The server that a query names by `id` or `address`.
fn asked(query: &Query) -> Option<&str> {
    query.get("id").or_else(|| query.get("address"))
}

/// `DELETE /v1/operator/raft/peer`
async fn remove_peer(State(api): State<Api>, query: Query) -> Result<(), Error> {
    let Some(peer) = asked(&query) else {
        return Err(Error::bad_request(
            "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        ));
    };
    Ok(api.server().remove_server(peer).await?)
}

/// `PUT /v1/operator/raft/transfer-leadership`
async fn transfer(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let Some(peer) = asked(&query) else {
        return Err(Error::bad_request(
            "must specify id or address of the server to transfer leadership to",
        ));
    };
    let from = api.server().leader().unwrap_or_default();
    api.server().transfer_leadership(Some(peer)).await?;
    let to = api.server().leader().unwrap_or_default();
    query.json(&json!({
        "From": { "Address": from },
        "To": { "Address": to },
        "Noop": from == to,
        "Err": null,
    }))
}

/// `PUT /v1/system/gc`
async fn collect_garbage(State(api): State<Api>) -> Result<(), Error> {
    api.server().collect_garbage().await?;
    Ok(())
}

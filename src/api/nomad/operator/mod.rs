//! Where the log stands, how scheduling is set, and tidying up.

mod keyring;
pub(super) mod scheduler;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{delete, get},
};
use jobs::wire;
use serde_json::json;

use super::{query::Query, write};
use crate::{Api, error::Error, health::Health};

/// Version of the log's protocol, as clients of the API number it.
const RAFT_PROTOCOL: &str = "3";

/// The endpoints of operators.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/operator/raft/configuration", get(raft))
        .route("/v1/operator/raft/peer", delete(remove_peer))
        .route("/v1/operator/raft/transfer-leadership", write(transfer))
        .route(
            "/v1/operator/autopilot/configuration",
            get(autopilot_configuration),
        )
        .route("/v1/operator/autopilot/health", get(autopilot))
        .route("/v1/operator/license", get(async || StatusCode::NO_CONTENT))
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

/// `GET /v1/operator/autopilot/configuration`: fixed in this version. A server that fails stays in
/// the group until an operator says that it left.
async fn autopilot_configuration(query: Query) -> Result<Response, Error> {
    query.json(&json!({
        "CleanupDeadServers": false,
        "LastContactThreshold": "200ms",
        "MaxTrailingLogs": 250,
        "MinQuorum": 0,
        "ServerStabilizationTime": "10s",
        "EnableRedundancyZones": false,
        "DisableUpgradeMigration": false,
        "EnableCustomUpgrades": false,
        "CreateIndex": 1,
        "ModifyIndex": 1,
    }))
}

/// `GET /v1/operator/autopilot/health`
async fn autopilot(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let metrics = api.server().raft_metrics();
    let voters = api.server().voters();
    let health = Health::new(api.server());
    let healthy = health.is_healthy(&voters);
    let id = |voter: &server::Voter| named(&api, voter).0;
    let leader = voters.iter().find(|voter| voter.is_leader).map(id);
    let server = |voter: &server::Voter| {
        let (id, name) = named(&api, voter);
        json!({
            "ID": id,
            "Name": name,
            "Address": voter.address,
            "SerfStatus": health.status(voter),
            "Version": wire::API_VERSION,
            "Leader": voter.is_leader,
            "LastContact": health.last_contact(voter),
            "LastTerm": metrics.term,
            "LastIndex": voter.matched.unwrap_or(metrics.last_log_index),
            "Healthy": health.of(voter),
            "Voter": voter.votes,
            "StableSince": null,
        })
    };
    let report = json!({
        "Healthy": healthy,
        "FailureTolerance": health.tolerance(&voters),
        "Leader": leader,
        "Voters": voters.iter().map(id).collect::<Vec<_>>(),
        "Servers": voters.iter().map(server).collect::<Vec<_>>(),
    });
    let body = query.json(&report)?;
    if healthy {
        Ok(body)
    } else {
        Ok((StatusCode::TOO_MANY_REQUESTS, body).into_response())
    }
}

/// `PUT /v1/system/gc`
async fn collect_garbage(State(api): State<Api>) -> Result<(), Error> {
    api.server().collect_garbage().await?;
    Ok(())
}

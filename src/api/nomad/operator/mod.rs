//! Where the log stands, how scheduling is set, and tidying up.

mod keyring;
pub(super) mod scheduler;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
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

/// `GET /v1/operator/raft/configuration`
async fn raft(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let facts = api.facts();
    let server = |voter: server::Voter| {
        let is_self = voter.address == facts.rpc_address;
        wire::RaftServer {
            id: if is_self {
                facts.name.clone()
            } else {
                voter.address.clone()
            },
            node: if is_self {
                format!("{}.{}", facts.name, facts.region)
            } else {
                "(unknown)".to_owned()
            },
            address: voter.address,
            leader: voter.is_leader,
            voter: true,
            raft_protocol: RAFT_PROTOCOL.to_owned(),
        }
    };
    let voters = api.server().voters();
    query.json(&wire::RaftConfiguration {
        servers: voters.into_iter().map(server).collect(),
        index: 0,
    })
}

/// `GET /v1/operator/autopilot/configuration`: what holds of one server, which nothing ever takes
/// out of the group; fixed in this version.
async fn autopilot_configuration(query: Query) -> Result<Response, Error> {
    query.json(&json!({
        "CleanupDeadServers": true,
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
    let facts = api.facts();
    let metrics = api.server().raft_metrics();
    let healthy = metrics.is_leader;
    let voters = api.server().voters();
    let leader = voters.iter().find(|voter| voter.is_leader);
    let ids: Vec<&String> = voters.iter().map(|_| &facts.name).collect();
    let report = json!({
        "Healthy": healthy,
        // One voter has no spare.
        "FailureTolerance": 0,
        "Leader": leader.map(|_| &facts.name),
        "Voters": ids,
        "Servers": [{
            "ID": facts.name,
            "Name": format!("{}.{}", facts.name, facts.region),
            "Address": facts.rpc_address,
            "SerfStatus": "alive",
            "Version": wire::API_VERSION,
            "Leader": metrics.is_leader,
            "LastContact": "0s",
            "LastTerm": metrics.term,
            "LastIndex": metrics.last_log_index,
            "Healthy": healthy,
            "Voter": true,
            "StableSince": null,
        }],
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

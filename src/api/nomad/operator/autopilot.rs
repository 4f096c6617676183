//! How the servers look after their group, and how they are.

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use jobs::{state::Rejected, wire};
use serde_json::{Value, json};

use super::{super::query::Query, named};
use crate::{
    Api,
    autopilot::{self, OF_JOBS, Unknown},
    body::Raw,
    error::Error,
    health,
};
use server::{ServerHealth, state};

/// The endpoints of autopilot.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route(
            "/v1/operator/autopilot/configuration",
            get(configuration).put(configure),
        )
        .route("/v1/operator/autopilot/health", get(servers))
}

/// `GET /v1/operator/autopilot/configuration`
async fn configuration(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let snapshot = api.server().snapshot();
    query.json(&autopilot::shown(
        snapshot.jobs.autopilot_config(),
        &OF_JOBS,
    ))
}

/// `PUT /v1/operator/autopilot/configuration`, with `cas` only while the configuration has that
/// index.
async fn configure(State(api): State<Api>, query: Query, body: Raw) -> Result<Response, Error> {
    let config = autopilot::read(body.bytes(), Unknown::Ignored)?;
    let expected = query.number("cas", "Error parsing cas value: not a number")?;
    match api.server().set_autopilot_config(config, expected).await {
        Ok(index) => query.written(index, &true),
        Err(server::Error::Rejected(state::Rejected::Jobs(Rejected::AutopilotConfigChanged {
            found,
            ..
        }))) => query.written(found, &false),
        Err(error) => Err(error.into()),
    }
}

/// `GET /v1/operator/autopilot/health`
async fn servers(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let metrics = api.server().raft_metrics();
    let group = api.server().health();
    let id = |one: &ServerHealth| named(&api, &one.server).0;
    let leader = group.servers.iter().find(|one| one.server.is_leader);
    let voters = group.servers.iter().filter(|one| one.server.votes);
    let row = |one: &ServerHealth| {
        let (id, name) = named(&api, &one.server);
        let (term, index) = health::last_entry(one, &metrics);
        json!({
            "ID": id,
            "Name": name,
            "Address": one.server.address,
            "SerfStatus": health::name(one.status),
            "Version": wire::API_VERSION,
            "Leader": one.server.is_leader,
            "LastContact": health::last_contact(one),
            "LastTerm": term,
            "LastIndex": index,
            "Healthy": one.is_healthy,
            "Voter": one.server.votes,
            "StableSince": one.stable_since.to_string(),
        })
    };
    let rows: Vec<Value> = group.servers.iter().map(row).collect();
    let body = query.json(&json!({
        "Healthy": group.is_healthy(),
        "FailureTolerance": group.tolerance(),
        "Leader": leader.map(id),
        "Voters": voters.map(id).collect::<Vec<_>>(),
        "Servers": rows,
    }))?;
    if group.is_healthy() {
        return Ok(body);
    }
    Ok((StatusCode::TOO_MANY_REQUESTS, body).into_response())
}

//! How the servers look after their group, and how they are.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jobs::state::Rejected;
use mesh::wire::API_VERSION;
use serde_json::{Map, Value, json};

use super::super::query::{Query, json as answer};
use super::super::{Catalog, only, read};
use super::named;
use crate::autopilot::{self, OF_CATALOG, Unknown};
use crate::body::Raw;
use crate::error::Error;
use crate::health;
use server::{Metrics, ServerHealth, state};

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route(
            "/v1/operator/autopilot/configuration",
            only(get(configuration).put(configure), "OPTIONS,GET,PUT"),
        )
        .route("/v1/operator/autopilot/health", read(servers))
        .route("/v1/operator/autopilot/state", read(group))
}

async fn configuration(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let snapshot = catalog.server().snapshot();
    let config = snapshot.jobs.autopilot_config();
    answer(&query, &autopilot::shown(config, &OF_CATALOG))
}

async fn configure(
    State(catalog): State<Catalog>,
    query: Query,
    raw: Raw,
) -> Result<Response, Error> {
    let config = autopilot::read(raw.bytes(), Unknown::Refused)?;
    let expected = expected(&query)?;
    match catalog
        .server()
        .set_autopilot_config(config, expected)
        .await
    {
        Ok(_) => answer(&query, &true),
        Err(server::Error::Rejected(state::Rejected::Jobs(Rejected::AutopilotConfigChanged {
            ..
        }))) => answer(&query, &false),
        Err(error) => Err(error.into()),
    }
}

/// The index that the settings must have.
fn expected(query: &Query) -> Result<Option<u64>, Error> {
    let Some(text) = query.parameters.value("cas") else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let reason = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        Error::bad_request(format!("Error parsing cas value: {reason}"))
    })
}

/// What both reports say of a server.
fn row(catalog: &Catalog, metrics: &Metrics, one: &ServerHealth) -> Map<String, Value> {
    let (id, name) = named(catalog, &one.server);
    let (term, index) = health::last_entry(one, metrics);
    let shown = [
        ("ID", json!(id)),
        ("Name", json!(name)),
        ("Address", json!(one.server.address)),
        ("Version", json!(API_VERSION)),
        ("LastContact", json!(health::last_contact(one))),
        ("LastTerm", json!(term)),
        ("LastIndex", json!(index)),
        ("Healthy", json!(one.is_healthy)),
        ("StableSince", json!(one.stable_since.to_string())),
    ];
    let shown = shown.into_iter();
    shown.map(|(key, value)| (key.to_owned(), value)).collect()
}

fn with<const N: usize>(row: Map<String, Value>, more: [(&str, Value); N]) -> Value {
    let more = more.into_iter().map(|(key, value)| (key.to_owned(), value));
    Value::Object(row.into_iter().chain(more).collect())
}

async fn servers(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let group = catalog.server().health();
    let metrics = catalog.server().raft_metrics();
    let server = |one: &ServerHealth| {
        let more = [
            ("SerfStatus", json!(health::name(one.status))),
            ("Leader", json!(one.server.is_leader)),
            ("Voter", json!(one.server.votes)),
        ];
        with(row(&catalog, &metrics, one), more)
    };
    let report = json!({
        "Healthy": group.is_healthy(),
        "FailureTolerance": group.tolerance(),
        "Servers": group.servers.iter().map(server).collect::<Vec<_>>(),
    });
    let body = answer(&query, &report)?;
    Ok(if group.is_healthy() {
        body
    } else {
        (StatusCode::TOO_MANY_REQUESTS, body).into_response()
    })
}

async fn group(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let group = catalog.server().health();
    let metrics = catalog.server().raft_metrics();
    let id = |one: &ServerHealth| named(&catalog, &one.server).0;
    let server = |one: &ServerHealth| {
        let status = match (one.server.is_leader, one.server.votes) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "non-voter",
        };
        let more = [
            ("NodeStatus", json!(health::name(one.status))),
            ("ReadReplica", json!(false)),
            ("Status", json!(status)),
            ("Meta", json!({})),
            ("NodeType", json!("voter")),
        ];
        (id(one), with(row(&catalog, &metrics, one), more))
    };
    let leader = group.servers.iter().find(|one| one.server.is_leader);
    let voters = group.servers.iter().filter(|one| one.server.votes);
    answer(
        &query,
        &json!({
            "Healthy": group.is_healthy(),
            "FailureTolerance": group.tolerance(),
            "OptimisticFailureTolerance": group.optimistic_tolerance(),
            "Servers": group.servers.iter().map(server).collect::<Map<_, _>>(),
            "Leader": leader.map(id).unwrap_or_default(),
            "Voters": voters.map(id).collect::<Vec<_>>(),
        }),
    )
}

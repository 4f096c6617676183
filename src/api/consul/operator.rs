//! What operators look at: the servers of the log, and how they are.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use jobs::spec::list_errors;
use mesh::{gossip::KeyChange, wire::API_VERSION};
use serde_json::{Map, Value, json};

use super::query::{Query, json as answer};
use super::{Catalog, only, read};
use crate::body::Raw;
use crate::error::Error;
use crate::gossip_keys::{Keys, Named};
use crate::health::Health;
use server::Voter;

/// Version of the log's protocol, as clients of the API number it.
const RAFT_PROTOCOL: &str = "3";
/// Index of the settings of how servers are looked after, which never change.
const SETTINGS_INDEX: u64 = 1;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/operator/raft/configuration", read(raft))
        .route(
            "/v1/operator/autopilot/configuration",
            only(get(configuration).put(set_configuration), "OPTIONS,GET,PUT"),
        )
        .route("/v1/operator/autopilot/health", read(health))
        .route("/v1/operator/autopilot/state", read(state))
        .route(
            "/v1/operator/raft/peer",
            only(delete(remove_peer), "OPTIONS,DELETE"),
        )
        .route(
            "/v1/operator/raft/transfer-leader",
            only(post(transfer), "OPTIONS,POST"),
        )
        .route(
            "/v1/operator/keyring",
            only(
                get(keys).post(install).put(use_key).delete(remove_key),
                "OPTIONS,GET,POST,PUT,DELETE",
            ),
        )
        .route("/v1/operator/utilization", read(utilization))
}

async fn remove_peer(State(catalog): State<Catalog>, query: Query) -> Result<(), Error> {
    let asked = ["id", "address"]
        .iter()
        .find_map(|key| query.parameters.get(key).map(|value| (*key, value)));
    let Some((key, value)) = asked else {
        return Err(Error::bad_request(
            "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        ));
    };
    let Some(voter) = found(&catalog, (key, value)) else {
        return Err(Error::internal(format!(
            "{key} {value:?} was not found in the Raft configuration"
        )));
    };
    Ok(catalog.server().remove_server(&voter.address).await?)
}

/// The voter of that id or address.
fn found(catalog: &Catalog, (key, value): (&str, &str)) -> Option<Voter> {
    let mut voters = catalog.server().voters().into_iter();
    voters.find(|voter| match key {
        "id" => named(catalog, voter).0 == value,
        _ => voter.address == value,
    })
}

async fn transfer(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let to = match query.parameters.get("id") {
        Some(id) => match found(&catalog, ("id", id)) {
            Some(voter) => Some(voter.address),
            None => return Err(Error::internal("cannot find peer")),
        },
        None => None,
    };
    catalog.server().transfer_leadership(to.as_deref()).await?;
    answer(&query, &json!({ "Success": true }))
}

/// The keys that seal what servers tell each other.
async fn keys(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let found = changed(&catalog, KeyChange::List).await?;
    let pool = |is_wide: bool| {
        json!({
            "WAN": is_wide,
            "Datacenter": catalog.agent().datacenter,
            "Segment": "",
            "Messages": {},
            "Keys": found.keys,
            "PrimaryKeys": found.primary,
            "NumNodes": found.servers,
        })
    };
    // Servers have one keyring, whomever they tell something.
    let pools = match query.parameters.has("local-only") {
        true => vec![pool(false)],
        false => vec![pool(true), pool(false)],
    };
    answer(&query, &pools)
}

async fn install(State(catalog): State<Catalog>, _query: Query, raw: Raw) -> Result<(), Error> {
    change(&catalog, KeyChange::Install, &raw).await
}

async fn use_key(State(catalog): State<Catalog>, _query: Query, raw: Raw) -> Result<(), Error> {
    change(&catalog, KeyChange::Use, &raw).await
}

async fn remove_key(State(catalog): State<Catalog>, _query: Query, raw: Raw) -> Result<(), Error> {
    change(&catalog, KeyChange::Remove, &raw).await
}

async fn change(catalog: &Catalog, of: fn(String) -> KeyChange, raw: &Raw) -> Result<(), Error> {
    let named: Named = serde_json::from_slice(raw.bytes())
        .map_err(|error| Error::bad_request(format!("Request decode failed: {error}")))?;
    changed(catalog, of(named.key)).await.map(drop)
}

async fn changed(catalog: &Catalog, change: KeyChange) -> Result<Keys, Error> {
    let found = Keys::gather(catalog.server().change_keys(change).await);
    if found.keys.is_empty() {
        let node = &catalog.agent().node_name;
        let problem = format!("{node}: Keyring is empty (encryption not enabled)");
        return Err(Error::internal(list_errors(&[problem])));
    }
    match found.refusal() {
        Some(refusal) => Err(Error::internal(list_errors(&[refusal]))),
        None => Ok(found),
    }
}

async fn utilization(State(_): State<Catalog>, query: Query) -> Error {
    drop(query);
    Error::not_found("operator utilization requires Consul Enterprise")
}

/// Id and name of a voter: those of its node, those of its log where it has none.
fn named(catalog: &Catalog, voter: &Voter) -> (String, String) {
    let snapshot = catalog.snapshot();
    let id = match snapshot.node(&voter.name) {
        Some(node) if !node.id.is_empty() => node.id.to_string(),
        _ => format!("{:x}", voter.id),
    };
    let name = match voter.name.as_str() {
        "" => "(unknown)".to_owned(),
        name => name.to_owned(),
    };
    (id, name)
}

async fn raft(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let last_index = catalog.server().raft_metrics().last_log_index;
    let server = |voter: Voter| {
        let (id, name) = named(&catalog, &voter);
        json!({
            "ID": id,
            "Node": name,
            "Address": voter.address,
            "Leader": voter.is_leader,
            "ProtocolVersion": RAFT_PROTOCOL,
            "Voter": voter.votes,
            "LastIndex": voter.matched.unwrap_or(last_index),
        })
    };
    let voters = catalog.server().voters();
    let servers: Vec<Value> = voters.into_iter().map(server).collect();
    answer(&query, &json!({ "Servers": servers, "Index": 0 }))
}

/// What clients may ask of how servers are looked after. It is fixed: none is taken out by itself.
fn settings() -> Value {
    json!({
        "CleanupDeadServers": false,
        "LastContactThreshold": "200ms",
        "MaxTrailingLogs": 250,
        "MinQuorum": 0,
        "ServerStabilizationTime": "10s",
        "RedundancyZoneTag": "",
        "DisableUpgradeMigration": true,
        "UpgradeVersionTag": "",
        "CreateIndex": SETTINGS_INDEX,
        "ModifyIndex": SETTINGS_INDEX,
    })
}

async fn configuration(State(_): State<Catalog>, query: Query) -> Result<Response, Error> {
    answer(&query, &settings())
}

/// Takes what holds anyway, and says of everything else that it cannot be had.
async fn set_configuration(
    State(_): State<Catalog>,
    query: Query,
    raw: Raw,
) -> Result<Response, Error> {
    let unread =
        |reason: String| Error::bad_request(format!("Error parsing autopilot config: {reason}"));
    let posted: Map<String, Value> =
        serde_json::from_slice(raw.bytes()).map_err(|error| unread(error.to_string()))?;
    if let Some(text) = query.parameters.value("cas") {
        let expected: u64 = text.parse().map_err(|_| {
            let reason = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
            Error::bad_request(format!("Error parsing cas value: {reason}"))
        })?;
        if expected != SETTINGS_INDEX {
            return answer(&query, &false);
        }
    }
    let held = settings();
    let mut problems = Vec::new();
    for (key, value) in &posted {
        match held.get(key) {
            None => return Err(unread(format!("json: unknown field {key:?}"))),
            Some(held) if held == value || key.ends_with("Index") => {}
            Some(held) => problems.push(format!("{key} is {held} here and cannot be changed")),
        }
    }
    if problems.is_empty() {
        return answer(&query, &true);
    }
    Err(Error::new(
        StatusCode::NOT_IMPLEMENTED,
        list_errors(&problems),
    ))
}

async fn health(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let metrics = catalog.server().raft_metrics();
    let voters = catalog.server().voters();
    let health = Health::new(catalog.server());
    let is_healthy = health.is_healthy(&voters);
    let server = |voter: &Voter| {
        let (id, name) = named(&catalog, voter);
        json!({
            "ID": id,
            "Name": name,
            "Address": voter.address,
            "SerfStatus": health.status(voter),
            "Version": API_VERSION,
            "Leader": voter.is_leader,
            "LastContact": health.last_contact(voter),
            "LastTerm": metrics.term,
            "LastIndex": voter.matched.unwrap_or(metrics.last_log_index),
            "Healthy": health.of(voter),
            "Voter": voter.votes,
            "StableSince": "0001-01-01T00:00:00Z",
        })
    };
    let report = json!({
        "Healthy": is_healthy,
        "FailureTolerance": health.tolerance(&voters),
        "Servers": voters.iter().map(server).collect::<Vec<_>>(),
    });
    let body = answer(&query, &report)?;
    Ok(if is_healthy {
        body
    } else {
        (StatusCode::TOO_MANY_REQUESTS, body).into_response()
    })
}

async fn state(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let metrics = catalog.server().raft_metrics();
    let voters = catalog.server().voters();
    let health = Health::new(catalog.server());
    let is_healthy = health.is_healthy(&voters);
    let mut servers = Map::new();
    let mut leader = String::new();
    for voter in &voters {
        let (id, name) = named(&catalog, voter);
        if voter.is_leader {
            leader.clone_from(&id);
        }
        let server = json!({
            "ID": id,
            "Name": name,
            "Address": voter.address,
            "NodeStatus": health.status(voter),
            "Version": API_VERSION,
            "LastContact": health.last_contact(voter),
            "LastTerm": metrics.term,
            "LastIndex": voter.matched.unwrap_or(metrics.last_log_index),
            "Healthy": health.of(voter),
            "StableSince": "0001-01-01T00:00:00Z",
            "ReadReplica": false,
            "Status": if voter.is_leader { "leader" } else { "voter" },
            "Meta": {},
            "NodeType": "voter",
        });
        servers.insert(id, server);
    }
    let ids: Vec<String> = servers.keys().cloned().collect();
    let tolerance = health.tolerance(&voters);
    answer(
        &query,
        &json!({
            "Healthy": is_healthy,
            "FailureTolerance": tolerance,
            "OptimisticFailureTolerance": tolerance,
            "Servers": servers,
            "Leader": leader,
            "Voters": ids,
        }),
    )
}

//! What operators look at: the servers of the log, and how they are.

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use jobs::spec::list_errors;
use mesh::wire::API_VERSION;
use serde_json::{Map, Value, json};

use super::query::{Query, json as answer};
use super::{Catalog, only, read};
use crate::error::Error;
use server::Voter;

/// Name of the service that the servers are.
const SERVERS: &str = "consul";
/// Version of the log's protocol, as clients of the API number it.
const RAFT_PROTOCOL: &str = "3";

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/operator/raft/configuration", read(raft))
        .route("/v1/operator/autopilot/configuration", read(configuration))
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
                get(keyring).post(keyring).put(keyring).delete(keyring),
                "OPTIONS,GET,POST,PUT,DELETE",
            ),
        )
        .route("/v1/operator/usage", read(usage))
        .route("/v1/operator/utilization", read(utilization))
}

/// The one server cannot go.
async fn remove_peer(State(catalog): State<Catalog>, query: Query) -> Error {
    let asked = ["id", "address"]
        .iter()
        .find_map(|key| query.parameters.get(key).map(|value| (*key, value)));
    let Some((key, value)) = asked else {
        return Error::bad_request(
            "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        );
    };
    let voters = catalog.server().voters().into_iter();
    let mut known = voters.map(|voter| (named(&catalog, &voter).0, voter.address));
    if known.any(|(id, address)| value == if key == "id" { id } else { address }) {
        return Error::internal("the only server cannot be removed: nobody would lead");
    }
    Error::internal(format!(
        "{key} {value:?} was not found in the Raft configuration"
    ))
}

async fn transfer(State(_): State<Catalog>, query: Query) -> Error {
    drop(query);
    Error::internal("cannot find peer: there is one server, and it leads")
}

/// Nothing is said between machines yet that had to be encrypted.
async fn keyring(State(catalog): State<Catalog>, query: Query) -> Error {
    drop(query);
    let node = &catalog.agent().node_name;
    let problem = format!("{node}: Keyring is empty (encryption not enabled)");
    Error::internal(list_errors(&[problem]))
}

async fn utilization(State(_): State<Catalog>, query: Query) -> Error {
    drop(query);
    Error::not_found("operator utilization requires Consul Enterprise")
}

async fn usage(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let snapshot = catalog.snapshot();
    let instances: Vec<_> = snapshot.all_instances().collect();
    let names: BTreeSet<&str> = instances.iter().map(|row| &*row.service.name).collect();
    let own = instances.iter().filter(|row| row.service.name == SERVERS);
    let of_mesh = [
        "api-gateway",
        "connect-native",
        "connect-proxy",
        "ingress-gateway",
        "mesh-gateway",
        "terminating-gateway",
    ];
    let of_mesh: Map<String, Value> = of_mesh
        .map(|kind| (kind.to_owned(), 0.into()))
        .into_iter()
        .collect();
    let counts = json!({
        "Services": names.len(),
        "ServiceInstances": instances.len(),
        "ConnectServiceInstances": of_mesh,
        "BillableServiceInstances": instances.len() - own.count(),
        "Nodes": snapshot.nodes().count(),
    });
    let mut usage = Map::new();
    usage.insert(catalog.agent().datacenter.clone(), counts);
    let answer_of = json!({
        "Usage": usage,
        "Index": snapshot.index(),
        "LastContact": 0,
        "KnownLeader": true,
        "ConsistencyLevel": "leader",
        "NotModified": false,
        "Backend": 0,
        "ResultsFilteredByACLs": false,
    });
    answer(&query, &answer_of)
}

/// Id and name of a voter: those of its node, its address where they are not known.
fn named(catalog: &Catalog, voter: &Voter) -> (String, String) {
    let servers = catalog.cluster().servers;
    let peer = servers
        .into_iter()
        .find(|peer| peer.address == voter.address);
    let Some(peer) = peer else {
        return (voter.address.clone(), "(unknown)".to_owned());
    };
    let snapshot = catalog.snapshot();
    let name = snapshot.node_by_id(&peer.node_id).map_or_else(
        || catalog.agent().node_name.clone(),
        |node| node.name.to_string(),
    );
    (peer.node_id, name)
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
            "Voter": true,
            "LastIndex": last_index,
        })
    };
    let voters = catalog.server().voters();
    let servers: Vec<Value> = voters.into_iter().map(server).collect();
    answer(&query, &json!({ "Servers": servers, "Index": 0 }))
}

/// Fixed in this version: nothing is cleaned up, moved or upgraded by itself.
async fn configuration(State(_): State<Catalog>, query: Query) -> Result<Response, Error> {
    answer(
        &query,
        &json!({
            "CleanupDeadServers": false,
            "LastContactThreshold": "200ms",
            "MaxTrailingLogs": 250,
            "MinQuorum": 0,
            "ServerStabilizationTime": "10s",
            "RedundancyZoneTag": "",
            "DisableUpgradeMigration": true,
            "UpgradeVersionTag": "",
            "CreateIndex": 1,
            "ModifyIndex": 1,
        }),
    )
}

async fn health(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let metrics = catalog.server().raft_metrics();
    let voters = catalog.server().voters();
    let is_healthy = voters.iter().any(|voter| voter.is_leader);
    let server = |voter: &Voter| {
        let (id, name) = named(&catalog, voter);
        json!({
            "ID": id,
            "Name": name,
            "Address": voter.address,
            "SerfStatus": "alive",
            "Version": API_VERSION,
            "Leader": voter.is_leader,
            "LastContact": "0s",
            "LastTerm": metrics.term,
            "LastIndex": metrics.last_log_index,
            "Healthy": is_healthy,
            "Voter": true,
            "StableSince": "0001-01-01T00:00:00Z",
        })
    };
    let report = json!({
        "Healthy": is_healthy,
        "FailureTolerance": tolerance(voters.len()),
        "Servers": voters.iter().map(server).collect::<Vec<_>>(),
    });
    let body = answer(&query, &report)?;
    Ok(if is_healthy {
        body
    } else {
        (StatusCode::TOO_MANY_REQUESTS, body).into_response()
    })
}

/// How many of so many voters may fail.
fn tolerance(voters: usize) -> usize {
    voters.saturating_sub(1) / 2
}

async fn state(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let metrics = catalog.server().raft_metrics();
    let voters = catalog.server().voters();
    let is_healthy = voters.iter().any(|voter| voter.is_leader);
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
            "NodeStatus": "alive",
            "Version": API_VERSION,
            "LastContact": "0s",
            "LastTerm": metrics.term,
            "LastIndex": metrics.last_log_index,
            "Healthy": is_healthy,
            "StableSince": "0001-01-01T00:00:00Z",
            "ReadReplica": false,
            "Status": if voter.is_leader { "leader" } else { "voter" },
            "Meta": {},
            "NodeType": "voter",
        });
        servers.insert(id, server);
    }
    let ids: Vec<String> = servers.keys().cloned().collect();
    let tolerance = tolerance(voters.len());
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

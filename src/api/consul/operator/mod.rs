//! What operators look at: the servers of the log, and how they are.

mod autopilot;
mod keyring;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::query::{Query, json as answer};
use super::{Catalog, only, read};
use crate::error::Error;
use server::Voter;

/// Version of the log's protocol, as clients of the API number it.
const RAFT_PROTOCOL: &str = "3";

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .merge(autopilot::router())
        .route("/v1/operator/raft/configuration", read(raft))
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
                get(keyring::list)
                    .post(keyring::install)
                    .put(keyring::use_key)
                    .delete(keyring::remove),
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

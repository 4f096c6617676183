//! Who leads, who the servers are, and the region.

use axum::{extract::State, response::Response};

use crate::{Api, error::Error, nomad::query::Query};

/// `GET /v1/status/leader`
pub(super) async fn leader(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    query.json(&api.server().leader().unwrap_or_default())
}

fn addresses(api: &Api) -> Vec<String> {
    let voters = api.server().voters();
    voters.into_iter().map(|voter| voter.address).collect()
}

/// `GET /v1/status/peers` and `GET /v1/agent/servers`
pub(super) async fn peers(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    query.json(&addresses(&api))
}

/// `GET /v1/regions`
pub(super) async fn regions(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    query.json(&api.server().regions())
}

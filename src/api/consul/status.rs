//! Who leads, and who the servers are.

use axum::Router;
use axum::extract::State;
use axum::response::Response;

use super::query::{Query, json};
use super::{Catalog, read};
use crate::error::Error;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/status/leader", read(leader))
        .route("/v1/status/peers", read(peers))
}

async fn leader(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    json(&query, &catalog.cluster().leader.unwrap_or_default())
}

async fn peers(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let servers = catalog.cluster().servers;
    let addresses: Vec<String> = servers.into_iter().map(|server| server.address).collect();
    json(&query, &addresses)
}

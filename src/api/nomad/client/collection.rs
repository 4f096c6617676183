//! Giving the directories of ended allocations back before they are in the way.

use axum::{
    extract::{Path, State},
    response::Response,
};
use serde_json::json;

use super::{of_alloc, of_node};
use crate::{Api, error::Error, nomad::query::Query};

/// `/v1/client/gc`: of all ended allocations of a node.
pub(super) async fn all(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    of_node(&api, &query)?.collect().await?;
    query.json(&json!({}))
}

/// `/v1/client/allocation/:id/gc`: of one that has ended.
pub(super) async fn alloc(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    of_alloc(&api, &id)?.collect_alloc(&id).await?;
    query.json(&json!({}))
}

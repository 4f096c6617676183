//! What the web UI of the original asks for.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use mesh::view::{Instance, View};
use mesh::wire::{HealthServiceEntry, NodeOverview, ServiceOverview};

use super::catalog::{find_node, missing_node};
use super::query::{Query, answer};
use super::{Catalog, read};
use crate::error::Error;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/internal/ui/nodes", read(nodes))
        .route("/v1/internal/ui/node/", read(missing_node))
        .route("/v1/internal/ui/node/{*name}", read(node))
        .route("/v1/internal/ui/services", read(services))
}

async fn nodes(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let wanted = query.wanted::<NodeOverview>()?;
    let view = |snapshot: &View| -> Vec<NodeOverview> {
        let nodes = snapshot.nodes().filter(|node| query.wants_node(node));
        wanted.of(nodes.map(|node| NodeOverview::of(snapshot, node)))
    };
    answer(catalog, &query, View::mesh_index, view).await
}

async fn node(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let view = |snapshot: &View| {
        let node = find_node(snapshot, &name).filter(|node| query.is_there(node));
        node.map(|node| NodeOverview::of(snapshot, node))
    };
    if view(&catalog.snapshot()).is_none() && query.index() == 0 {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    answer(catalog, &query, View::mesh_index, view).await
}

async fn services(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let wanted = query.wanted::<HealthServiceEntry>()?;
    let datacenter = catalog.agent().datacenter.clone();
    let view = |snapshot: &View| {
        let instances = snapshot.all_instances();
        let instances: Vec<Instance> = instances
            .filter(|row| query.wants_node(&row.node) && wanted.has(&HealthServiceEntry::from(row)))
            .collect();
        ServiceOverview::all(snapshot, &datacenter, &instances)
    };
    answer(catalog, &query, View::mesh_index, view).await
}

//! Checks, and instances with their checks.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::response::Response;
use mesh::gateway;
use mesh::model::{Check, Status};
use mesh::view::{Instance, Table, View};
use mesh::wire::{HealthCheck, HealthServiceEntry};

use super::catalog::{missing_node, missing_service};
use super::query::{Query, Wanted, answer};
use super::{Catalog, read};
use crate::error::Error;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/health/service/", read(missing_service))
        .route("/v1/health/service/{*name}", read(service))
        .route("/v1/health/connect/", read(missing_service))
        .route("/v1/health/connect/{*name}", read(connect))
        .route("/v1/health/ingress/", read(missing_service))
        .route("/v1/health/ingress/{*name}", read(ingress))
        .route("/v1/health/checks/", read(missing_service))
        .route("/v1/health/checks/{*name}", read(checks))
        .route("/v1/health/state/", read(missing_state))
        .route("/v1/health/state/{state}", read(state))
        .route("/v1/health/node/", read(missing_node))
        .route("/v1/health/node/{*name}", read(node))
}

async fn missing_state() -> Error {
    Error::bad_request("Missing check state")
}

async fn service(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let of = |snapshot: &View| snapshot.instances(&name);
    entries(catalog, &query, |snapshot| snapshot.health_index(&name), of).await
}

/// What takes connections of the mesh for a service.
async fn connect(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    // The original does not look at tags here.
    let query = query.without_tags();
    let of = |snapshot: &View| gateway::mesh_instances(snapshot, &name);
    entries(catalog, &query, View::mesh_index, of).await
}

/// The gateways through which a service is reached.
async fn ingress(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let of = |snapshot: &View| gateway::ingress_instances(snapshot, &name);
    entries(catalog, &query, View::mesh_index, of).await
}

async fn entries(
    catalog: Catalog,
    query: &Query,
    index: impl Fn(&View) -> u64,
    instances: impl Fn(&View) -> Vec<Instance>,
) -> Result<Response, Error> {
    let wanted = query.wanted::<HealthServiceEntry>()?;
    let asked = catalog.clone();
    let view = |snapshot: &View| -> Vec<HealthServiceEntry> {
        let mut instances = instances(snapshot);
        query.sort_near(snapshot, &asked, &mut instances, |row| &row.node.name);
        let shown = instances
            .iter()
            .filter(|row| row.has_tags(&query.tags))
            .filter(|row| query.wants_node(&row.node))
            .filter(|row| !query.is_passing || row.status == Status::Passing);
        wanted.of(shown.map(Into::into))
    };
    let mut response = answer(catalog, query, index, view).await?;
    let backend = HeaderValue::from_static("blocking-query");
    response
        .headers_mut()
        .insert("x-consul-query-backend", backend);
    Ok(response)
}

async fn checks(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let wanted = query.wanted::<HealthCheck>()?;
    let asked = catalog.clone();
    let view = |snapshot: &View| {
        let checks = snapshot.checks_of_service(&name).map(AsRef::as_ref);
        let mut checks = shown(snapshot, &query, &wanted, checks);
        query.sort_near(snapshot, &asked, &mut checks, |row: &HealthCheck| &row.node);
        checks
    };
    answer(
        catalog,
        &query,
        |snapshot| snapshot.health_index(&name),
        view,
    )
    .await
}

async fn state(
    State(catalog): State<Catalog>,
    Path(state): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let wanted = query.wanted::<HealthCheck>()?;
    let asked = catalog.clone();
    let of = |snapshot: &View, status| {
        let checks = snapshot.checks(status).map(AsRef::as_ref);
        let mut checks = shown(snapshot, &query, &wanted, checks);
        query.sort_near(snapshot, &asked, &mut checks, |row: &HealthCheck| &row.node);
        checks
    };
    let view = |snapshot: &View| match state.as_str() {
        "any" => of(snapshot, None),
        word => {
            let status = word.parse().ok();
            status.map_or_else(Vec::new, |status| of(snapshot, Some(status)))
        }
    };
    let index = |snapshot: &View| {
        let checks = snapshot.table_index(Table::Checks);
        if query.wants_all_nodes() {
            checks
        } else {
            checks.max(snapshot.table_index(Table::Nodes))
        }
    };
    answer(catalog, &query, index, view).await
}

async fn node(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let wanted = query.wanted::<HealthCheck>()?;
    let view = |snapshot: &View| -> Vec<HealthCheck> {
        let node = snapshot.node(&name).filter(|node| query.is_there(node));
        let checks = node.into_iter();
        let checks = checks.flat_map(|node| snapshot.checks_of_node(&node.name));
        wanted.of(checks.map(|check| HealthCheck::of(snapshot, check)))
    };
    answer(catalog, &query, |snapshot| snapshot.node_index(&name), view).await
}

/// Converts the checks on the nodes that were asked for.
fn shown<'a>(
    snapshot: &View,
    query: &Query,
    wanted: &Wanted,
    checks: impl Iterator<Item = &'a Check>,
) -> Vec<HealthCheck> {
    let wants = |check: &&Check| {
        query.wants_all_nodes()
            || snapshot
                .node(&check.node)
                .is_some_and(|node| query.wants_node(node))
    };
    let checks = checks.filter(wants);
    wanted.of(checks.map(|check| HealthCheck::of(snapshot, check)))
}

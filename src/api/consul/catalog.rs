//! Nodes and services, whatever their health.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use mesh::view::{Table, View};
use mesh::wire::{CatalogNode, CatalogNodeServices, CatalogService};

use super::query::{Query, answer, json};
use super::{Catalog, read};
use crate::api::error::Error;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/catalog/datacenters", read(datacenters))
        .route("/v1/catalog/nodes", read(nodes))
        .route("/v1/catalog/services", read(services))
        .route("/v1/catalog/service/", read(missing_service))
        .route("/v1/catalog/service/{*name}", read(service))
        .route("/v1/catalog/node/", read(missing_node))
        .route("/v1/catalog/node/{*name}", read(node))
}

/// Refuses a path that ends before the service name.
pub(super) async fn missing_service() -> Error {
    Error::bad_request("Missing service name")
}

/// Refuses a path that ends before the node name.
pub(super) async fn missing_node() -> Error {
    Error::bad_request("Missing node name")
}

async fn datacenters(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    json(&query, &[&catalog.agent().datacenter])
}

async fn nodes(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let view = |snapshot: &View| -> Vec<CatalogNode> {
        let nodes = snapshot.nodes().filter(|node| query.wants_node(node));
        nodes.map(|node| node.as_ref().into()).collect()
    };
    answer(
        catalog,
        &query,
        |snapshot| snapshot.table_index(Table::Nodes),
        view,
    )
    .await
}

async fn services(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let index = |snapshot: &View| {
        let services = snapshot.table_index(Table::Services);
        if query.node_meta.is_empty() {
            services
        } else {
            services.max(snapshot.table_index(Table::Nodes))
        }
    };
    answer(catalog, &query, index, |snapshot| {
        service_tags(snapshot, &query)
    })
    .await
}

/// Returns service names with the union of their tags, on the nodes that were asked for.
fn service_tags(snapshot: &View, query: &Query) -> BTreeMap<String, BTreeSet<String>> {
    if query.node_meta.is_empty() {
        return snapshot.service_tags();
    }
    let mut services: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for instance in snapshot
        .all_instances()
        .filter(|row| query.wants_node(&row.node))
    {
        let tags = services.entry(instance.service.name.clone()).or_default();
        tags.extend(instance.service.tags.iter().cloned());
    }
    services
}

async fn service(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let view = |snapshot: &View| -> Vec<CatalogService> {
        let instances = snapshot.instances_tagged(&name, &query.tags);
        let shown = instances.iter().filter(|row| query.wants_node(&row.node));
        shown.map(Into::into).collect()
    };
    answer(
        catalog,
        &query,
        |snapshot| snapshot.service_index(&name),
        view,
    )
    .await
}

async fn node(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let view = |snapshot: &View| {
        let node = snapshot.node(&name)?.as_ref().into();
        let services = snapshot
            .services_of_node(&name)
            .map(|row| (row.id.clone(), row.as_ref().into()))
            .collect();
        Some(CatalogNodeServices { node, services })
    };
    answer(catalog, &query, |snapshot| snapshot.node_index(&name), view).await
}

//! Nodes and services, whatever their health.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use mesh::gateway;
use mesh::model::{Node, ServiceName};
use mesh::view::{Table, View};
use mesh::wire::{
    CatalogNode, CatalogNodeServiceList, CatalogNodeServices, CatalogService, CatalogServiceEntry,
    GatewayService,
};

use super::query::{Query, Wanted, answer, json};
use super::{Catalog, read};
use crate::error::Error;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/catalog/datacenters", read(datacenters))
        .route("/v1/catalog/nodes", read(nodes))
        .route("/v1/catalog/services", read(services))
        .route("/v1/catalog/service/", read(missing_service))
        .route("/v1/catalog/service/{*name}", read(service))
        .route("/v1/catalog/connect/", read(missing_service))
        .route("/v1/catalog/connect/{*name}", read(connect))
        .route("/v1/catalog/gateway-services/", read(missing_gateway))
        .route(
            "/v1/catalog/gateway-services/{*name}",
            read(gateway_services),
        )
        .route("/v1/catalog/node/", read(missing_node))
        .route("/v1/catalog/node/{*name}", read(node))
        .route("/v1/catalog/node-services/", read(missing_node))
        .route("/v1/catalog/node-services/{*name}", read(node_services))
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
    json(&query, &catalog.datacenters())
}

async fn nodes(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let wanted = query.wanted::<CatalogNode>()?;
    let asked = catalog.clone();
    let view = |snapshot: &View| -> Vec<CatalogNode> {
        let nodes = snapshot.nodes().filter(|node| query.wants_node(node));
        let mut nodes = wanted.of(nodes.map(|node| node.as_ref().into()));
        query.sort_near(snapshot, &asked, &mut nodes, |row: &CatalogNode| &row.node);
        nodes
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
    let wanted = query.wanted::<CatalogService>()?;
    let index = |snapshot: &View| {
        let services = snapshot.table_index(Table::Services);
        if query.wants_all_services() {
            services
        } else {
            services.max(snapshot.table_index(Table::Nodes))
        }
    };
    answer(catalog, &query, index, |snapshot| {
        service_tags(snapshot, &query, &wanted)
    })
    .await
}

/// Returns service names with the union of their tags, on the nodes that were asked for.
fn service_tags(
    snapshot: &View,
    query: &Query,
    wanted: &Wanted,
) -> BTreeMap<ServiceName, BTreeSet<String>> {
    if query.wants_all_services() {
        return snapshot.service_tags();
    }
    let mut services: BTreeMap<ServiceName, BTreeSet<String>> = BTreeMap::new();
    for instance in snapshot
        .all_instances()
        .filter(|row| query.wants_node(&row.node) && wanted.has(&CatalogService::from(row)))
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
    let wanted = query.wanted::<CatalogService>()?;
    let asked = catalog.clone();
    let view = |snapshot: &View| -> Vec<CatalogService> {
        let mut instances = snapshot.instances_tagged(&name, &query.tags);
        query.sort_near(snapshot, &asked, &mut instances, |row| &row.node.name);
        let shown = instances.iter().filter(|row| query.wants_node(&row.node));
        wanted.of(shown.map(Into::into))
    };
    answer(
        catalog,
        &query,
        |snapshot| snapshot.service_index(&name),
        view,
    )
    .await
}

/// What takes connections of the mesh for a service.
async fn connect(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let wanted = query.wanted::<CatalogService>()?;
    let view = |snapshot: &View| -> Vec<CatalogService> {
        // The original does not look at tags here.
        let instances = gateway::mesh_instances(snapshot, &name);
        let shown = instances.iter().filter(|row| query.wants_node(&row.node));
        wanted.of(shown.map(Into::into))
    };
    answer(catalog, &query, View::mesh_index, view).await
}

async fn missing_gateway() -> Error {
    Error::bad_request("Missing gateway name")
}

/// What is reached through a gateway.
async fn gateway_services(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let index = |snapshot: &View| snapshot.table_index(Table::ConfigEntries);
    let view = |snapshot: &View| -> Vec<GatewayService> {
        let bound = gateway::bindings_of(snapshot, &name);
        bound.iter().map(GatewayService::from).collect()
    };
    answer(catalog, &query, index, view).await
}

async fn node(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let wanted = query.wanted::<CatalogServiceEntry>()?;
    let view = |snapshot: &View| {
        let node = find_node(snapshot, &name).filter(|node| query.is_there(node))?;
        let rows = services_of(snapshot, node, &wanted).into_iter();
        Some(CatalogNodeServices {
            node: node.into(),
            services: rows.map(|row| (row.id.clone(), row)).collect(),
        })
    };
    answer(
        catalog,
        &query,
        |snapshot| node_index(snapshot, &name),
        view,
    )
    .await
}

/// As [`node`], with the instances as a list.
async fn node_services(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let wanted = query.wanted::<CatalogServiceEntry>()?;
    let view = |snapshot: &View| {
        let node = find_node(snapshot, &name).filter(|node| query.is_there(node));
        CatalogNodeServiceList {
            node: node.map(Into::into),
            services: node.map(|node| services_of(snapshot, node, &wanted)),
        }
    };
    answer(
        catalog,
        &query,
        |snapshot| node_index(snapshot, &name),
        view,
    )
    .await
}

/// A node by its name, or by its id.
pub(super) fn find_node<'a>(snapshot: &'a View, name: &str) -> Option<&'a Node> {
    let by_id = || snapshot.node_by_id(name);
    snapshot.node(name).or_else(by_id).map(AsRef::as_ref)
}

fn node_index(snapshot: &View, name: &str) -> u64 {
    let name = find_node(snapshot, name).map_or(name, |node| &node.name);
    snapshot.node_index(name)
}

fn services_of(snapshot: &View, node: &Node, wanted: &Wanted) -> Vec<CatalogServiceEntry> {
    let rows = snapshot.services_of_node(&node.name);
    wanted.of(rows.map(|row| row.as_ref().into()))
}

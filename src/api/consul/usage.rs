//! How much there is: nodes, services and their instances.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use mesh::model::{CONNECT_PROXY, INGRESS_GATEWAY, SERVERS, Service};
use mesh::view::{Table, View};
use serde::Serialize;

use super::meta::{META, Meta};
use super::query::{Query, answer};
use super::{Catalog, read};
use crate::error::Error;

/// What instances that speak the mesh's TLS themselves are counted as; their kind is an ordinary
/// one.
const NATIVE: &str = "connect-native";
/// What instances of the mesh are counted as.
const OF_MESH: [&str; 6] = [
    "api-gateway",
    NATIVE,
    CONNECT_PROXY,
    INGRESS_GATEWAY,
    "mesh-gateway",
    "terminating-gateway",
];

pub(super) fn router() -> Router<Catalog> {
    Router::new().route("/v1/operator/usage", read(usage))
}

/// The answer. Source: operator API, "Usage".
///
/// Shape: `usage` has the one datacenter that there is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    usage: BTreeMap<String, Counts>,
    #[serde(flatten)]
    meta: Meta,
}

/// What a datacenter has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Counts {
    /// Names of services, those of servers and of the mesh among them.
    services: usize,
    service_instances: usize,
    /// By [`OF_MESH`].
    connect_service_instances: BTreeMap<&'static str, usize>,
    /// Ordinary instances that are no servers.
    billable_service_instances: usize,
    nodes: usize,
}

async fn usage(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let datacenter = catalog.agent().datacenter.clone();
    let index = |snapshot: &View| {
        let nodes = snapshot.table_index(Table::Nodes);
        nodes.max(snapshot.table_index(Table::Services))
    };
    let view = |snapshot: &View| Usage {
        usage: [(datacenter.clone(), counts(snapshot))].into(),
        meta: Meta {
            index: index(snapshot),
            ..META
        },
    };
    answer(catalog, &query, index, view).await
}

fn counts(snapshot: &View) -> Counts {
    let mut counts = Counts {
        services: 0,
        service_instances: 0,
        connect_service_instances: OF_MESH.map(|kind| (kind, 0)).into(),
        billable_service_instances: 0,
        nodes: snapshot.nodes().count(),
    };
    let mut last = None;
    // By name: instances of one service come one after the other.
    for instance in snapshot.all_instances() {
        let service = instance.service;
        let of_mesh = &mut counts.connect_service_instances;
        for kind in roles(&service) {
            of_mesh.entry(kind).and_modify(|count| *count += 1);
        }
        counts.service_instances += 1;
        let is_billable = service.kind().is_empty() && service.name != SERVERS;
        counts.billable_service_instances += usize::from(is_billable);
        if last.as_ref() != Some(&service.name) {
            counts.services += 1;
            last = Some(service.name.clone());
        }
    }
    counts
}

/// What the instance is counted as in the mesh.
fn roles(service: &Service) -> impl Iterator<Item = &'static str> {
    let kind = OF_MESH.into_iter().find(|kind| service.kind() == *kind);
    let is_native = service.role.as_ref().is_some_and(|role| role.is_native);
    kind.into_iter().chain(is_native.then_some(NATIVE))
}

//! How much there is: nodes, services and their instances.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use mesh::model::{CONNECT_PROXY, INGRESS_GATEWAY, Node, SERVERS, Service};
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
/// Shape: `usage` has one datacenter: the one that is asked for, or that of the agent for the whole
/// region; with `global` all of them.
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
    let own = catalog.agent().datacenter.clone();
    let is_global = query.parameters.has("global");
    let index = |snapshot: &View| {
        let nodes = snapshot.table_index(Table::Nodes);
        nodes.max(snapshot.table_index(Table::Services))
    };
    let view = |snapshot: &View| {
        let of = |name: &str| {
            let counted = counts(snapshot, |node| node.datacenter == name);
            (name.to_owned(), counted)
        };
        let usage = if is_global {
            let others = snapshot.datacenters().filter(|name| *name != own);
            std::iter::once(own.as_str())
                .chain(others)
                .map(of)
                .collect()
        } else if let Some(name) = &query.datacenter {
            [of(name)].into()
        } else {
            [(own.clone(), counts(snapshot, |_| true))].into()
        };
        Usage {
            usage,
            meta: Meta {
                index: index(snapshot),
                ..META
            },
        }
    };
    answer(catalog, &query, index, view).await
}

/// Counts what is on the nodes that are wanted.
fn counts(snapshot: &View, wants: impl Fn(&Node) -> bool) -> Counts {
    let mut counts = Counts {
        services: 0,
        service_instances: 0,
        connect_service_instances: OF_MESH.map(|kind| (kind, 0)).into(),
        billable_service_instances: 0,
        nodes: snapshot.nodes().filter(|node| wants(node)).count(),
    };
    let mut last = None;
    // By name: instances of one service come one after the other.
    for instance in snapshot.all_instances().filter(|row| wants(&row.node)) {
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

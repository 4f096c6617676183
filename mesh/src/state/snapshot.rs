//! One consistent view of all tables, and its serialized form.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Check, Index, Node, RouteOverrides, Service};

use super::checks::Checks;
use super::indexes::{Indexes, ServiceIndex};
use super::nodes::Nodes;
use super::services::Services;

/// All tables at one moment; cloning shares structure. Queries are in the methods.
///
/// Serialized, it is a list of rows per table plus the indexes, with field names; secondary indexes
/// are rebuilt on load. A restored snapshot equals the one that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Snapshot {
    pub(super) nodes: Nodes,
    pub(super) services: Services,
    pub(super) checks: Checks,
    pub(super) route_overrides: Arc<RouteOverrides>,
    pub(super) indexes: Indexes,
}

/// The serialized form: rows in key order.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Stored {
    nodes: Vec<Arc<Node>>,
    services: Vec<Arc<Service>>,
    checks: Vec<Arc<Check>>,
    route_overrides: Arc<RouteOverrides>,
    last_index: Index,
    nodes_index: Index,
    services_index: Index,
    checks_index: Index,
    route_overrides_index: Index,
    service_vanished_index: Index,
    node_vanished_index: Index,
    service_indexes: Vec<(String, ServiceIndex)>,
    node_indexes: Vec<(String, Index)>,
}

impl From<Snapshot> for Stored {
    fn from(snapshot: Snapshot) -> Self {
        let indexes = snapshot.indexes;
        Self {
            nodes: snapshot.nodes.iter().cloned().collect(),
            services: snapshot.services.iter().cloned().collect(),
            checks: snapshot.checks.iter().cloned().collect(),
            route_overrides: snapshot.route_overrides,
            last_index: indexes.last,
            nodes_index: indexes.nodes,
            services_index: indexes.services,
            checks_index: indexes.checks,
            route_overrides_index: indexes.route_overrides,
            service_vanished_index: indexes.service_vanished,
            node_vanished_index: indexes.node_vanished,
            service_indexes: indexes.by_service.into_iter().collect(),
            node_indexes: indexes.by_node.into_iter().collect(),
        }
    }
}

impl From<Stored> for Snapshot {
    fn from(stored: Stored) -> Self {
        let mut snapshot = Self {
            route_overrides: stored.route_overrides,
            indexes: Indexes {
                last: stored.last_index,
                nodes: stored.nodes_index,
                services: stored.services_index,
                checks: stored.checks_index,
                route_overrides: stored.route_overrides_index,
                service_vanished: stored.service_vanished_index,
                node_vanished: stored.node_vanished_index,
                by_service: stored.service_indexes.into_iter().collect(),
                by_node: stored.node_indexes.into_iter().collect(),
            },
            ..Self::default()
        };
        for node in stored.nodes {
            snapshot.nodes.put(node);
        }
        for service in stored.services {
            snapshot.services.put(service);
        }
        for check in stored.checks {
            snapshot.checks.put(check);
        }
        snapshot
    }
}

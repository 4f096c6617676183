//! The serialized form of a [`View`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{
    Check, ConfigEntry, Index, Node, NodeName, PreparedQuery, RouteOverrides, Service, ServiceName,
    Split,
};

use super::View;
use super::indexes::{Indexes, ServiceIndex};

/// Rows in key order, and the indexes.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct Stored {
    nodes: Vec<Arc<Node>>,
    services: Vec<Arc<Service>>,
    checks: Vec<Arc<Check>>,
    route_overrides: Arc<RouteOverrides>,
    splits: Vec<Arc<Split>>,
    config_entries: Vec<Arc<ConfigEntry>>,
    virtuals: Vec<(ServiceName, u32)>,
    last_virtual: u32,
    prepared_queries: Vec<Arc<PreparedQuery>>,
    last_index: Index,
    nodes_index: Index,
    services_index: Index,
    checks_index: Index,
    route_overrides_index: Index,
    config_entries_index: Index,
    prepared_queries_index: Index,
    service_vanished_index: Index,
    node_vanished_index: Index,
    service_indexes: Vec<(ServiceName, ServiceIndex)>,
    node_indexes: Vec<(NodeName, Index)>,
}

impl From<View> for Stored {
    fn from(view: View) -> Self {
        let indexes = view.indexes;
        Self {
            nodes: view.nodes.iter().cloned().collect(),
            services: view.services.iter().cloned().collect(),
            checks: view.checks.iter().cloned().collect(),
            splits: view.splits.iter().cloned().collect(),
            config_entries: view.config_entries.iter().cloned().collect(),
            last_virtual: view.virtuals.last,
            virtuals: view
                .virtuals
                .iter()
                .map(|(service, number)| (service.clone(), number))
                .collect(),
            prepared_queries: view.prepared_queries.iter().cloned().collect(),
            route_overrides: view.route_overrides,
            last_index: indexes.last,
            nodes_index: indexes.nodes,
            services_index: indexes.services,
            checks_index: indexes.checks,
            route_overrides_index: indexes.route_overrides,
            config_entries_index: indexes.config_entries,
            prepared_queries_index: indexes.prepared_queries,
            service_vanished_index: indexes.service_vanished,
            node_vanished_index: indexes.node_vanished,
            service_indexes: indexes.by_service.into_iter().collect(),
            node_indexes: indexes.by_node.into_iter().collect(),
        }
    }
}

impl From<Stored> for View {
    fn from(stored: Stored) -> Self {
        let mut view = Self {
            route_overrides: stored.route_overrides,
            indexes: Indexes {
                last: stored.last_index,
                nodes: stored.nodes_index,
                services: stored.services_index,
                checks: stored.checks_index,
                route_overrides: stored.route_overrides_index,
                config_entries: stored.config_entries_index,
                prepared_queries: stored.prepared_queries_index,
                service_vanished: stored.service_vanished_index,
                node_vanished: stored.node_vanished_index,
                by_service: stored.service_indexes.into_iter().collect(),
                by_node: stored.node_indexes.into_iter().collect(),
            },
            ..Self::default()
        };
        for node in stored.nodes {
            view.nodes.put(node);
        }
        for service in stored.services {
            view.services.put(service);
        }
        for check in stored.checks {
            view.checks.put(check);
        }
        for split in stored.splits {
            view.splits.put(split);
        }
        for entry in stored.config_entries {
            view.config_entries.put(entry);
        }
        for (service, number) in stored.virtuals {
            view.virtuals.put(service, number);
        }
        view.virtuals.last = stored.last_virtual;
        for query in stored.prepared_queries {
            view.prepared_queries.put(query);
        }
        view
    }
}

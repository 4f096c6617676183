//! What watchers wait on: the log index of the last change, by table, by service and by node.
//!
//! Rows exist only for services and nodes that exist, so the size is bounded by the tables. What is
//! gone shares one index each, the last time that any service or node vanished; it is never below
//! the index that the vanished row had, so a waiting reader wakes up and no index goes backwards.

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::model::{Index, NodeName, ServiceName};

use super::Table;

/// Indexes of one service name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceIndex {
    /// Last change of an instance or of a node that hosts one.
    pub(crate) instances: Index,
    /// As `instances`, or of a check of an instance or of its node.
    pub(crate) health: Index,
}

/// All indexes of the catalog; 0 means never written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Indexes {
    pub(crate) last: Index,
    pub(crate) nodes: Index,
    pub(crate) services: Index,
    pub(crate) checks: Index,
    pub(crate) route_overrides: Index,
    pub(crate) config_entries: Index,
    pub(crate) prepared_queries: Index,
    pub(crate) service_vanished: Index,
    pub(crate) node_vanished: Index,
    pub(crate) by_service: OrdMap<ServiceName, ServiceIndex>,
    pub(crate) by_node: OrdMap<NodeName, Index>,
}

impl Indexes {
    pub(crate) fn table(&self, table: Table) -> Index {
        match table {
            Table::Nodes => self.nodes,
            Table::Services => self.services,
            Table::Checks => self.checks,
            Table::RouteOverrides => self.route_overrides,
            Table::ConfigEntries => self.config_entries,
            Table::PreparedQueries => self.prepared_queries,
        }
    }

    pub(crate) fn set_table(&mut self, table: Table, index: Index) {
        match table {
            Table::Nodes => self.nodes = index,
            Table::Services => self.services = index,
            Table::Checks => self.checks = index,
            Table::RouteOverrides => self.route_overrides = index,
            Table::ConfigEntries => self.config_entries = index,
            Table::PreparedQueries => self.prepared_queries = index,
        }
    }
}

//! One changed row, and which indexes it moves: the only place that knows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{
    Check, CheckKey, ConfigEntry, ConfigKey, Index, Node, NodeName, PreparedQuery, QueryId,
    RouteOverrides, Service, ServiceKey, ServiceName, Split, SplitKey,
};

use super::{Table, Touched, View};

/// A row as it is after an entry, or the key of one that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A node is new or different.
    PutNode(Arc<Node>),
    /// The node of this name is gone; its instances and checks went before it.
    RemoveNode(NodeName),
    /// An instance is new or different.
    PutService(Arc<Service>),
    /// An instance is gone; its checks went before it.
    RemoveService(ServiceKey),
    /// A check is new or different.
    PutCheck(Arc<Check>),
    /// A check is gone.
    RemoveCheck(CheckKey),
    /// The operator's route text is different.
    PutRouteOverrides(Arc<RouteOverrides>),
    /// A split is new or different.
    PutSplit(Arc<Split>),
    /// A split is gone.
    RemoveSplit(SplitKey),
    /// A configuration entry is new or different.
    PutConfigEntry(Arc<ConfigEntry>),
    /// A configuration entry is gone.
    RemoveConfigEntry(ConfigKey),
    /// A service got an address that stands for it, with that number.
    PutVirtual(ServiceName, u32),
    /// No address stands for the service any more.
    RemoveVirtual(ServiceName),
    /// A prepared query is new or different.
    PutPreparedQuery(Arc<PreparedQuery>),
    /// The prepared query of this id is gone.
    RemovePreparedQuery(QueryId),
}

impl Change {
    /// Whether an instance leaves DNS and routes for good by this change: it drains or is gone.
    /// Somebody may wait until no request goes to it any more.
    #[must_use]
    pub fn is_departure(&self) -> bool {
        match self {
            Self::PutService(row) => row.draining,
            Self::RemoveService(_) | Self::RemoveNode(_) => true,
            Self::PutNode(_)
            | Self::PutCheck(_)
            | Self::RemoveCheck(_)
            | Self::PutRouteOverrides(_)
            | Self::PutSplit(_)
            | Self::RemoveSplit(_)
            | Self::PutConfigEntry(_)
            | Self::RemoveConfigEntry(_)
            | Self::PutVirtual(..)
            | Self::RemoveVirtual(_)
            | Self::PutPreparedQuery(_)
            | Self::RemovePreparedQuery(_) => false,
        }
    }
}

impl View {
    /// Carries out a change of the entry at `index`. Changes must come in the order in which they
    /// were recorded, entries without gaps; several may share an index.
    pub fn apply(&mut self, index: Index, change: Change) -> Touched {
        let mut at = At {
            view: self,
            index,
            touched: Touched::default(),
        };
        match change {
            Change::PutNode(row) => at.put_node(row),
            Change::RemoveNode(name) => at.remove_node(&name),
            Change::PutService(row) => at.put_service(row),
            Change::RemoveService(key) => at.remove_service(&key),
            Change::PutCheck(row) => at.put_check(row),
            Change::RemoveCheck(key) => at.remove_check(&key),
            Change::PutRouteOverrides(row) => {
                at.view.route_overrides = row;
                at.touch_table(Table::RouteOverrides);
            }
            Change::PutSplit(row) => {
                at.view.splits.put(row);
                at.touch_table(Table::RouteOverrides);
            }
            Change::RemoveSplit(key) => {
                if at.view.splits.remove(&key).is_some() {
                    at.touch_table(Table::RouteOverrides);
                }
            }
            Change::PutConfigEntry(row) => {
                at.view.config_entries.put(row);
                at.touch_table(Table::ConfigEntries);
            }
            Change::RemoveConfigEntry(key) => {
                if at.view.config_entries.remove(&key).is_some() {
                    at.touch_table(Table::ConfigEntries);
                }
            }
            Change::PutVirtual(service, number) => {
                at.view.virtuals.put(service, number);
                at.touch_table(Table::ConfigEntries);
            }
            Change::RemoveVirtual(service) => {
                if at.view.virtuals.remove(&service).is_some() {
                    at.touch_table(Table::ConfigEntries);
                }
            }
            Change::PutPreparedQuery(row) => {
                at.view.prepared_queries.put(row);
                at.touch_table(Table::PreparedQueries);
            }
            Change::RemovePreparedQuery(id) => {
                if at.view.prepared_queries.remove(&id).is_some() {
                    at.touch_table(Table::PreparedQueries);
                }
            }
        }
        let touched = at.touched;
        if !touched.tables.is_empty() {
            self.indexes.last = index;
        }
        touched
    }
}

/// A view during one change.
struct At<'a> {
    view: &'a mut View,
    index: Index,
    touched: Touched,
}

impl At<'_> {
    fn put_node(&mut self, row: Arc<Node>) {
        let name = row.name.clone();
        self.view.nodes.put(row);
        self.touch_node(&name);
    }

    fn remove_node(&mut self, name: &NodeName) {
        if self.view.nodes.remove(name).is_none() {
            return;
        }
        self.touch_table(Table::Nodes);
        self.touched.nodes.insert(name.clone());
        self.view.indexes.by_node.remove(name);
        self.view.indexes.node_vanished = self.index;
    }

    fn put_service(&mut self, row: Arc<Service>) {
        let (key, name) = (row.key(), row.name.clone());
        let old = self.view.services.row(&key).map(Arc::clone);
        self.view.services.put(row);
        self.touch_service(&key.node, &name);
        if let Some(old) = old {
            self.touch_replaced_service(&key, &old);
        }
    }

    fn remove_service(&mut self, key: &ServiceKey) {
        if let Some(row) = self.view.services.remove(key) {
            self.touch_service(&row.node, &row.name);
        }
    }

    fn put_check(&mut self, row: Arc<Check>) {
        self.view.checks.put(Arc::clone(&row));
        self.touch_check(&row);
    }

    fn remove_check(&mut self, key: &CheckKey) {
        if let Some(row) = self.view.checks.remove(key) {
            self.touch_check(&row);
        }
    }

    fn touch_table(&mut self, table: Table) {
        self.view.indexes.set_table(table, self.index);
        self.touched.tables.insert(table);
    }

    /// A node row changed: so did every service on it, for readers of instances and of health.
    fn touch_node(&mut self, name: &NodeName) {
        self.touch_table(Table::Nodes);
        self.touch_rows_of_node(name);
        for service in self.names_on(name) {
            self.touch_instances(&service);
        }
    }

    /// An instance changed or went; the name's index row goes with its last instance.
    fn touch_service(&mut self, node: &NodeName, name: &ServiceName) {
        self.touch_table(Table::Services);
        self.touch_rows_of_node(node);
        if self.view.services.has_name(name) {
            self.touch_instances(name);
        } else {
            self.touched.services.insert(name.clone());
            self.view.indexes.by_service.remove(name);
            self.view.indexes.service_vanished = self.index;
        }
    }

    /// An instance was replaced: its old name changed too, and with it what its checks show.
    fn touch_replaced_service(&mut self, key: &ServiceKey, old: &Service) {
        let Some(row) = self.view.services.row(key) else {
            return;
        };
        let (is_renamed, is_hidden) = (row.name != old.name, row.is_shown() != old.is_shown());
        let shows_in_checks = is_renamed || is_hidden || row.tags != old.tags;
        if is_renamed {
            self.touch_service(&old.node, &old.name);
        }
        if shows_in_checks && self.view.checks.of_owner(key).next().is_some() {
            self.touch_table(Table::Checks);
        }
    }

    fn touch_check(&mut self, check: &Check) {
        self.touch_table(Table::Checks);
        self.touch_rows_of_node(&check.node);
        match &check.service_name {
            None => {
                for name in self.names_on(&check.node) {
                    self.touch_health(&name);
                }
            }
            Some(name) if self.view.services.has_name(name) => self.touch_health(name),
            Some(_) => {}
        }
    }

    fn touch_rows_of_node(&mut self, node: &NodeName) {
        self.touched.nodes.insert(node.clone());
        if self.view.nodes.row(node).is_some() {
            let by_node = &mut self.view.indexes.by_node;
            by_node.insert(node.clone(), self.index);
        }
    }

    fn touch_instances(&mut self, name: &ServiceName) {
        self.touch_health(name);
        let by_service = &mut self.view.indexes.by_service;
        by_service.entry(name.clone()).or_default().instances = self.index;
    }

    fn touch_health(&mut self, name: &ServiceName) {
        self.touched.services.insert(name.clone());
        let by_service = &mut self.view.indexes.by_service;
        by_service.entry(name.clone()).or_default().health = self.index;
    }

    fn names_on(&self, node: &str) -> Vec<ServiceName> {
        let on_node = self.view.services.of_node(node);
        let mut names: Vec<ServiceName> = on_node.map(|row| row.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

//! Row changes with their indexes: the only place that knows which index a change moves.

use std::sync::Arc;

use crate::model::{Check, CheckKey, Node, RouteOverrides, Service, ServiceKey};

use super::{Applied, Snapshot, Stamp, Table};

/// The tables during one command, with what changed so far.
///
/// A put of a row that equals the stored one, indexes aside, changes nothing.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    pub(super) tables: &'a mut Snapshot,
    pub(super) at: Stamp,
    pub(super) applied: Applied,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(tables: &'a mut Snapshot, at: Stamp) -> Self {
        Self {
            tables,
            at,
            applied: Applied::default(),
        }
    }

    /// Ends the command: the catalog's own index moves if anything changed.
    pub(super) fn finish(self) -> Applied {
        if !self.applied.is_unchanged() {
            self.tables.indexes.last = self.at.index;
        }
        self.applied
    }

    pub(super) fn put_node(&mut self, mut node: Node) {
        let stored = self.tables.nodes.row(&node.name);
        node.create_index = stored.map_or(self.at.index, |row| row.create_index);
        node.modify_index = stored.map_or(self.at.index, |row| row.modify_index);
        if stored.is_some_and(|row| **row == node) {
            return;
        }
        node.modify_index = self.at.index;
        let name = node.name.clone();
        self.tables.nodes.put(Arc::new(node));
        self.touch_node(&name);
    }

    pub(super) fn remove_node(&mut self, name: &str) {
        if self.tables.nodes.remove(name).is_none() {
            return;
        }
        self.touch_table(Table::Nodes);
        self.applied.nodes.insert(name.to_owned());
        self.tables.indexes.by_node.remove(name);
        self.tables.indexes.node_vanished = self.at.index;
    }

    pub(super) fn put_service(&mut self, mut service: Service) {
        let stored = self.tables.services.row(&service.key());
        service.create_index = stored.map_or(self.at.index, |row| row.create_index);
        service.modify_index = stored.map_or(self.at.index, |row| row.modify_index);
        if stored.is_some_and(|row| **row == service) {
            return;
        }
        let old = stored.map(Arc::clone);
        service.modify_index = self.at.index;
        let (key, name) = (service.key(), service.name.clone());
        self.tables.services.put(Arc::new(service));
        self.touch_service(&key.node, &name);
        if let Some(old) = old {
            self.touch_replaced_service(&key, &old);
        }
    }

    pub(super) fn remove_service(&mut self, key: &ServiceKey) {
        let checks: Vec<CheckKey> = self
            .tables
            .checks
            .of_owner(key)
            .map(|check| check.key())
            .collect();
        for check in &checks {
            self.remove_check(check);
        }
        if let Some(row) = self.tables.services.remove(key) {
            self.touch_service(&row.node, &row.name);
        }
    }

    pub(super) fn put_check(&mut self, mut check: Check) {
        let stored = self.tables.checks.row(&check.key());
        check.create_index = stored.map_or(self.at.index, |row| row.create_index);
        check.modify_index = stored.map_or(self.at.index, |row| row.modify_index);
        if stored.is_some_and(|row| **row == check) {
            return;
        }
        check.modify_index = self.at.index;
        let check = Arc::new(check);
        self.tables.checks.put(Arc::clone(&check));
        self.touch_check(&check);
    }

    pub(super) fn remove_check(&mut self, key: &CheckKey) {
        if let Some(row) = self.tables.checks.remove(key) {
            self.touch_check(&row);
        }
    }

    pub(super) fn put_route_overrides(&mut self, text: String) {
        let stored = &self.tables.route_overrides;
        if stored.modify_index != 0 && stored.text == text {
            return;
        }
        let create_index = if stored.create_index == 0 {
            self.at.index
        } else {
            stored.create_index
        };
        self.tables.route_overrides = Arc::new(RouteOverrides {
            text,
            modified_at_ns: self.at.now_ns,
            create_index,
            modify_index: self.at.index,
        });
        self.touch_table(Table::RouteOverrides);
    }

    fn touch_table(&mut self, table: Table) {
        self.tables.indexes.set_table(table, self.at.index);
        self.applied.tables.insert(table);
    }

    /// A node row changed: so did every service on it, for readers of instances and of health.
    fn touch_node(&mut self, name: &str) {
        self.touch_table(Table::Nodes);
        self.touch_rows_of_node(name);
        for service in self.names_on(name) {
            self.touch_instances(&service);
        }
    }

    /// An instance changed or went; the name's index row goes with its last instance.
    fn touch_service(&mut self, node: &str, name: &str) {
        self.touch_table(Table::Services);
        self.touch_rows_of_node(node);
        if self.tables.services.has_name(name) {
            self.touch_instances(name);
        } else {
            self.applied.services.insert(name.to_owned());
            self.tables.indexes.by_service.remove(name);
            self.tables.indexes.service_vanished = self.at.index;
        }
    }

    /// An instance was replaced: its old name changed too, and with it what its checks show.
    fn touch_replaced_service(&mut self, key: &ServiceKey, old: &Service) {
        let Some(row) = self.tables.services.row(key) else {
            return;
        };
        let (is_renamed, is_hidden) = (row.name != old.name, row.draining != old.draining);
        let shows_in_checks = is_renamed || is_hidden || row.tags != old.tags;
        if is_renamed {
            self.touch_service(&old.node, &old.name);
        }
        if shows_in_checks && self.tables.checks.of_owner(key).next().is_some() {
            self.touch_table(Table::Checks);
        }
    }

    fn touch_check(&mut self, check: &Check) {
        self.touch_table(Table::Checks);
        self.touch_rows_of_node(&check.node);
        if check.service_id.is_empty() {
            for name in self.names_on(&check.node) {
                self.touch_health(&name);
            }
        } else if self.tables.services.has_name(&check.service_name) {
            self.touch_health(&check.service_name);
        }
    }

    fn touch_rows_of_node(&mut self, node: &str) {
        self.applied.nodes.insert(node.to_owned());
        if self.tables.nodes.row(node).is_some() {
            self.tables
                .indexes
                .by_node
                .insert(node.to_owned(), self.at.index);
        }
    }

    fn touch_instances(&mut self, name: &str) {
        self.touch_health(name);
        self.tables
            .indexes
            .by_service
            .entry(name.to_owned())
            .or_default()
            .instances = self.at.index;
    }

    fn touch_health(&mut self, name: &str) {
        self.applied.services.insert(name.to_owned());
        self.tables
            .indexes
            .by_service
            .entry(name.to_owned())
            .or_default()
            .health = self.at.index;
    }

    fn names_on(&self, node: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .tables
            .services
            .of_node(node)
            .map(|row| row.name.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

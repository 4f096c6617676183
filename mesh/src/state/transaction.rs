//! Row changes of one command, recorded for those who hold a view.

use std::sync::Arc;

use crate::model::{Check, CheckKey, Node, RouteOverrides, Service, ServiceKey, Split, SplitKey};
use crate::view::{Change, View};

use super::{Applied, Snapshot, Stamp};

/// The tables during one command, with what changed so far.
///
/// A put of a row that equals the stored one, indexes aside, changes nothing.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    pub(super) tables: &'a mut View,
    pub(super) at: Stamp,
    pub(super) applied: Applied,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(tables: &'a mut Snapshot, at: Stamp) -> Self {
        Self {
            tables: &mut tables.view,
            at,
            applied: Applied::default(),
        }
    }

    /// Ends the command.
    pub(super) fn finish(self) -> Applied {
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
        self.record(Change::PutNode(Arc::new(node)));
    }

    pub(super) fn remove_node(&mut self, name: &str) {
        if self.tables.nodes.row(name).is_some() {
            self.record(Change::RemoveNode(name.to_owned()));
        }
    }

    pub(super) fn put_service(&mut self, mut service: Service) {
        let stored = self.tables.services.row(&service.key());
        service.create_index = stored.map_or(self.at.index, |row| row.create_index);
        service.modify_index = stored.map_or(self.at.index, |row| row.modify_index);
        if stored.is_some_and(|row| **row == service) {
            return;
        }
        service.modify_index = self.at.index;
        self.record(Change::PutService(Arc::new(service)));
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
        if self.tables.services.row(key).is_some() {
            self.record(Change::RemoveService(key.clone()));
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
        self.record(Change::PutCheck(Arc::new(check)));
    }

    pub(super) fn remove_check(&mut self, key: &CheckKey) {
        if self.tables.checks.row(key).is_some() {
            self.record(Change::RemoveCheck(key.clone()));
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
        self.record(Change::PutRouteOverrides(Arc::new(RouteOverrides {
            text,
            modified_at: self.at.now,
            create_index,
            modify_index: self.at.index,
        })));
    }

    pub(super) fn put_split(&mut self, mut split: Split) {
        let stored = self.tables.splits.row(&split.key);
        split.create_index = stored.map_or(self.at.index, |row| row.create_index);
        split.modify_index = stored.map_or(self.at.index, |row| row.modify_index);
        if stored.is_some_and(|row| **row == split) {
            return;
        }
        split.modify_index = self.at.index;
        self.record(Change::PutSplit(Arc::new(split)));
    }

    pub(super) fn remove_split(&mut self, key: &SplitKey) {
        if self.tables.splits.row(key).is_some() {
            self.record(Change::RemoveSplit(key.clone()));
        }
    }

    fn record(&mut self, change: Change) {
        let touched = self.tables.apply(self.at.index, change.clone());
        self.applied.tables.extend(touched.tables);
        self.applied.services.extend(touched.services);
        self.applied.nodes.extend(touched.nodes);
        self.applied.changes.push(change);
    }
}

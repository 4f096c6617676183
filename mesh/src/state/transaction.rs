//! Row changes of one command, recorded for those who hold a view.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{
    Authority, Behavior, Check, CheckKey, ConfigEntry, ConfigKey, KvEntry, Node, PreparedQuery,
    QueryId, RouteOverrides, Service, ServiceKey, ServiceName, Session, SessionId, Split, SplitKey,
    Status,
};
use crate::view::{Change, NUMBERS_MAX, View};

use super::kv::{Keys, Tombstone};
use super::sessions::Sessions;
use super::{Applied, LOCK_DELAY_MAX, Snapshot, Stamp};

/// The name that stands for every service.
const ANY: &str = "*";
/// Kinds of configuration entries that make a service one of the mesh.
const VIRTUAL_KINDS: [&str; 5] = [
    "service-defaults",
    "service-intentions",
    "service-resolver",
    "service-router",
    "service-splitter",
];

/// The tables during one command, with what changed so far.
///
/// A put of a row that equals the stored one, indexes aside, changes nothing.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    pub(super) tables: &'a mut View,
    pub(super) keys: &'a mut Keys,
    pub(super) sessions: &'a mut Sessions,
    pub(super) authority: &'a mut Option<Arc<Authority>>,
    pub(super) query_sessions: &'a mut OrdMap<QueryId, SessionId>,
    pub(super) at: Stamp,
    pub(super) applied: Applied,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(tables: &'a mut Snapshot, at: Stamp) -> Self {
        Self {
            tables: &mut tables.view,
            keys: &mut tables.keys,
            sessions: &mut tables.sessions,
            authority: &mut tables.authority,
            query_sessions: &mut tables.query_sessions,
            at,
            applied: Applied::default(),
        }
    }

    /// Ends the command.
    pub(super) fn finish(self) -> Applied {
        if !self.applied.keys.is_empty() {
            self.keys.tombstones.forget(self.at.now);
            self.keys.delays.forget(self.at.now);
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
        self.record(Change::PutNode(Arc::new(node)));
    }

    pub(super) fn remove_node(&mut self, name: &str) {
        if self.tables.nodes.row(name).is_some() {
            self.record(Change::RemoveNode(name.into()));
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
        let replaced = stored.and_then(|row| row.takes_mesh_for()).cloned();
        let named = service.takes_mesh_for().cloned();
        self.record(Change::PutService(Arc::new(service)));
        if let Some(name) = &named {
            self.give_virtual(name);
        }
        if let Some(name) = replaced.filter(|name| Some(name) != named.as_ref()) {
            self.take_unused_virtual(&name);
        }
    }

    /// Lets an address stand for a service of the mesh.
    fn give_virtual(&mut self, service: &ServiceName) {
        let virtuals = &self.tables.virtuals;
        let is_new = *service != ANY && virtuals.number(service).is_none();
        if is_new && virtuals.last < NUMBERS_MAX {
            let number = virtuals.last + 1;
            self.record(Change::PutVirtual(service.clone(), number));
        }
    }

    /// Takes the address away from a service that nothing makes one of the mesh any more.
    fn take_unused_virtual(&mut self, service: &str) {
        let has_entry = || {
            VIRTUAL_KINDS.iter().any(|kind| {
                let key = ConfigKey {
                    kind: (*kind).to_owned(),
                    name: service.to_owned(),
                };
                self.tables.config_entries.row(&key).is_some()
            })
        };
        let is_given = self.tables.virtuals.number(service).is_some();
        if is_given && !self.tables.services.has_mesh(service) && !has_entry() {
            self.record(Change::RemoveVirtual(service.into()));
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
        if let Some(row) = self.tables.services.row(key) {
            let named = row.takes_mesh_for().cloned();
            self.record(Change::RemoveService(key.clone()));
            if let Some(name) = named {
                self.take_unused_virtual(&name);
            }
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
            ..(**stored).clone()
        })));
    }

    /// Shows agents a key that lays something over the routes, or that it is gone.
    fn show_key(&mut self, key: &str, value: Option<&[u8]>) {
        if !RouteOverrides::takes_key(key) {
            return;
        }
        let stored = &self.tables.route_overrides;
        let mut row = (**stored).clone();
        row.keys.remove(key);
        row.left_out.remove(key);
        if let Some(value) = value {
            let others: usize = row.keys.values().map(String::len).sum();
            if others + value.len() > RouteOverrides::KEYS_BYTES_MAX {
                row.left_out.insert(key.to_owned());
            } else {
                let text = String::from_utf8_lossy(value).into_owned();
                row.keys.insert(key.to_owned(), text);
            }
        }
        if row != **stored {
            self.record(Change::PutRouteOverrides(Arc::new(row)));
        }
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

    pub(super) fn put_config_entry(&mut self, mut entry: ConfigEntry) {
        let stored = self.tables.config_entries.row(&entry.key);
        entry.create_index = stored.map_or(self.at.index, |row| row.create_index);
        entry.modify_index = stored.map_or(self.at.index, |row| row.modify_index);
        if stored.is_some_and(|row| **row == entry) {
            return;
        }
        entry.modify_index = self.at.index;
        let named = VIRTUAL_KINDS.contains(&entry.key.kind.as_str());
        let named = named.then(|| ServiceName::from(&entry.key.name));
        self.record(Change::PutConfigEntry(Arc::new(entry)));
        if let Some(name) = named {
            self.give_virtual(&name);
        }
    }

    pub(super) fn remove_config_entry(&mut self, key: &ConfigKey) {
        if self.tables.config_entries.row(key).is_some() {
            self.record(Change::RemoveConfigEntry(key.clone()));
            self.take_unused_virtual(&key.name);
        }
    }

    pub(super) fn put_authority(&mut self, row: Authority) {
        if self.authority.as_deref() == Some(&row) {
            return;
        }
        *self.authority = Some(Arc::new(row));
        self.applied.authority = true;
    }

    /// Writes a prepared query, which goes with `session` if one is given.
    pub(super) fn put_prepared_query(
        &mut self,
        mut query: PreparedQuery,
        session: Option<SessionId>,
    ) {
        let stored = self.tables.prepared_queries.row(&query.id);
        query.create_index = stored.map_or(self.at.index, |row| row.create_index);
        query.modify_index = stored.map_or(self.at.index, |row| row.modify_index);
        let is_same = stored.is_some_and(|row| **row == query);
        if is_same && self.query_sessions.get(&query.id) == session.as_ref() {
            return;
        }
        match session {
            Some(session) => self.query_sessions.insert(query.id.clone(), session),
            None => self.query_sessions.remove(&query.id),
        };
        query.modify_index = self.at.index;
        self.record(Change::PutPreparedQuery(Arc::new(query)));
    }

    pub(super) fn remove_prepared_query(&mut self, id: &str) {
        self.query_sessions.remove(id);
        if self.tables.prepared_queries.row(id).is_some() {
            self.record(Change::RemovePreparedQuery(id.into()));
        }
    }

    pub(super) fn put_key(&mut self, mut entry: KvEntry) {
        let stored = self.keys.row(&entry.key);
        entry.create_index = stored.map_or(self.at.index, |row| row.create_index);
        entry.modify_index = stored.map_or(self.at.index, |row| row.modify_index);
        if stored.is_some_and(|row| **row == entry) {
            return;
        }
        entry.modify_index = self.at.index;
        self.applied.keys.insert(entry.key.clone());
        let entry = Arc::new(entry);
        self.keys.put(Arc::clone(&entry));
        self.show_key(&entry.key, Some(&entry.value));
    }

    pub(super) fn remove_key(&mut self, key: &str) {
        if self.keys.row(key).is_none() {
            return;
        }
        self.keys.remove(key);
        let mark = Tombstone {
            index: self.at.index,
            removed_at: self.at.now,
        };
        self.keys.tombstones.put(key.to_owned(), mark);
        self.applied.keys.insert(key.to_owned());
        self.show_key(key, None);
    }

    pub(super) fn put_session(&mut self, mut session: Session) {
        session.create_index = self.at.index;
        session.modify_index = self.at.index;
        self.touch_session(&session.id);
        self.sessions.put(Arc::new(session));
    }

    /// Ends a session: its keys are unlocked or deleted, and nobody may lock them for a while.
    pub(super) fn end_session(&mut self, id: &str) {
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        self.touch_session(id);
        let delay = session.lock_delay.min(LOCK_DELAY_MAX);
        for key in self.keys.held_by(id) {
            let Some(row) = self.keys.row(&key).map(Arc::clone) else {
                continue;
            };
            match session.behavior {
                Behavior::Release => self.put_key(KvEntry {
                    session: None,
                    ..(*row).clone()
                }),
                Behavior::Delete => self.remove_key(&key),
            }
            if !delay.is_zero() {
                self.keys.delays.put(key, self.at.now + delay);
            }
        }
        let bound = self.query_sessions.iter();
        let bound = bound.filter(|(_, session)| *session == id);
        let queries: Vec<QueryId> = bound.map(|(query, _)| query.clone()).collect();
        for query in queries {
            self.remove_prepared_query(&query);
        }
    }

    fn touch_session(&mut self, id: &str) {
        self.sessions.index = self.at.index;
        self.applied.sessions.insert(id.into());
    }

    fn record(&mut self, change: Change) {
        let ended = self.sessions_ended_by(&change);
        let touched = self.tables.apply(self.at.index, change.clone());
        self.applied.tables.extend(touched.tables);
        self.applied.services.extend(touched.services);
        self.applied.nodes.extend(touched.nodes);
        self.applied.changes.push(change);
        for id in &ended {
            self.end_session(id);
        }
    }

    /// The sessions that need what this change takes away.
    fn sessions_ended_by(&self, change: &Change) -> Vec<SessionId> {
        match change {
            Change::RemoveNode(name) => {
                let of_node = self.sessions.of_node(name);
                of_node.map(|session| session.id.clone()).collect()
            }
            Change::RemoveCheck(key) => self.sessions.of_check(key),
            Change::PutCheck(row) if row.status == Status::Critical => {
                self.sessions.of_check(&row.key())
            }
            Change::PutNode(_)
            | Change::PutService(_)
            | Change::RemoveService(_)
            | Change::PutCheck(_)
            | Change::PutRouteOverrides(_)
            | Change::PutSplit(_)
            | Change::RemoveSplit(_)
            | Change::PutConfigEntry(_)
            | Change::RemoveConfigEntry(_)
            | Change::PutVirtual(..)
            | Change::RemoveVirtual(_)
            | Change::PutPreparedQuery(_)
            | Change::RemovePreparedQuery(_) => Vec::new(),
        }
    }
}

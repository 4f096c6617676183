//! The key-value store: rows, who holds which of them, and the marks that deleted keys leave.
//!
//! No part of it is in the catalog view, but for the values that lay something over the routes
//! ([`crate::model::RouteOverrides`]): all other keys never leave the servers.

mod delays;
mod tombstones;

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::model::{Index, KvEntry, SessionId};

use delays::LockDelays;
use tombstones::Tombstones;

pub use tombstones::Tombstone;

/// The keys at one moment; cloning shares structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys {
    rows: OrdMap<String, Arc<KvEntry>>,
    /// Session id to the keys that it holds; no empty sets.
    held: OrdMap<SessionId, OrdSet<String>>,
    pub(super) tombstones: Tombstones,
    pub(super) delays: LockDelays,
}

impl Keys {
    pub(super) fn row(&self, key: &str) -> Option<&Arc<KvEntry>> {
        self.rows.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<KvEntry>> {
        self.rows.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows whose key starts with `prefix`, by key.
    pub(super) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<KvEntry>> {
        below(&self.rows, prefix).map(|(_, row)| row)
    }

    /// The keys that the session holds.
    pub(super) fn held_by(&self, session: &str) -> Vec<String> {
        let held = self.held.get(session);
        held.into_iter().flatten().cloned().collect()
    }

    pub(super) fn put(&mut self, row: Arc<KvEntry>) {
        let key = row.key.clone();
        self.unhold(&key);
        if let Some(session) = &row.session {
            let held = self.held.entry(session.clone()).or_default();
            held.insert(key.clone());
        }
        self.tombstones.remove(&key);
        self.rows.insert(key, row);
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.unhold(key);
        self.rows.remove(key);
    }

    fn unhold(&mut self, key: &str) {
        let Some(session) = self.rows.get(key).and_then(|row| row.session.clone()) else {
            return;
        };
        if let Some(held) = self.held.get_mut(&session) {
            held.remove(key);
            if held.is_empty() {
                self.held.remove(&session);
            }
        }
    }

    /// What a reader of one key waits on.
    pub(super) fn key_index(&self, key: &str) -> Index {
        match self.rows.get(key) {
            Some(row) => row.modify_index,
            None => self.tombstones.of(key).max(self.tombstones.forgotten()),
        }
    }

    /// What a reader of all keys below `prefix` waits on.
    pub(super) fn prefix_index(&self, prefix: &str) -> Index {
        let rows = self.below(prefix).map(|row| row.modify_index);
        let gone = self.tombstones.below(prefix).map(|(_, mark)| mark.index);
        let newest = rows.chain(gone).max().unwrap_or(0);
        newest.max(self.tombstones.forgotten())
    }
}

/// The entries of `map` whose key starts with `prefix`, by key.
fn below<'a, V>(
    map: &'a OrdMap<String, V>,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a String, &'a V)> {
    map.range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
}

//! The sessions, and which of them depend on a node or a check.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::model::{CheckKey, Index, NodeName, Session, SessionId};

/// The sessions at one moment; cloning shares structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    rows: OrdMap<SessionId, Arc<Session>>,
    /// Node name to the ids of its sessions; no empty sets.
    by_node: OrdMap<NodeName, OrdSet<SessionId>>,
    /// Check to the ids of the sessions that depend on it; no empty sets.
    by_check: OrdMap<CheckKey, OrdSet<SessionId>>,
    /// The last change of any session.
    pub(super) index: Index,
}

impl Sessions {
    pub(super) fn row(&self, id: &str) -> Option<&Arc<Session>> {
        self.rows.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.rows.values()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn of_node(&self, node: &str) -> impl Iterator<Item = &Arc<Session>> {
        let ids = self.by_node.get(node).into_iter().flatten();
        ids.filter_map(|id| self.rows.get(id))
    }

    /// Ids of the sessions that depend on the check.
    pub(super) fn of_check(&self, check: &CheckKey) -> Vec<SessionId> {
        let ids = self.by_check.get(check).into_iter().flatten();
        ids.cloned().collect()
    }

    pub(super) fn put(&mut self, row: Arc<Session>) {
        let id = row.id.clone();
        let of_node = self.by_node.entry(row.node.clone()).or_default();
        of_node.insert(id.clone());
        for check in row.checks() {
            self.by_check.entry(check).or_default().insert(id.clone());
        }
        self.rows.insert(id, row);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Arc<Session>> {
        let row = self.rows.remove(id)?;
        remove_from(&mut self.by_node, &row.node, id);
        for check in row.checks() {
            remove_from(&mut self.by_check, &check, id);
        }
        Some(row)
    }
}

fn remove_from<K: Ord + Clone>(map: &mut OrdMap<K, OrdSet<SessionId>>, key: &K, id: &str) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

//! The nodes table: keyed by name, found by id.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Node, NodeId, NodeName};

use super::query::key_of;

/// Rows by node name. Invariant: `names_by_id` has one entry per row with a non-empty id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    rows: OrdMap<NodeName, Arc<Node>>,
    names_by_id: OrdMap<NodeId, NodeName>,
}

impl Nodes {
    pub(crate) fn row(&self, name: &str) -> Option<&Arc<Node>> {
        self.rows.get(name)
    }

    pub(crate) fn name_of(&self, id: &str) -> Option<&NodeName> {
        self.names_by_id.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.rows.values()
    }

    /// Names of the rows that are not those of `newer`.
    pub(crate) fn changed(&self, newer: &Self) -> BTreeSet<NodeName> {
        let changed = self.rows.diff(&newer.rows);
        changed.map(key_of).cloned().collect()
    }

    pub(crate) fn put(&mut self, node: Arc<Node>) {
        self.remove(&node.name);
        if !node.id.is_empty() {
            self.names_by_id.insert(node.id.clone(), node.name.clone());
        }
        self.rows.insert(node.name.clone(), node);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Arc<Node>> {
        let row = self.rows.remove(name)?;
        if self
            .names_by_id
            .get(&row.id)
            .is_some_and(|renamed| renamed == name)
        {
            self.names_by_id.remove(&row.id);
        }
        Some(row)
    }
}

//! The nodes table: keyed by name, found by id, counted by datacenter.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Node, NodeId, NodeName};

use super::query::key_of;

/// Rows by node name.
///
/// Invariants:
/// 1. `names_by_id` has one entry per row with a non-empty id.
/// 2. `datacenters` says how many rows each has, never none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    rows: OrdMap<NodeName, Arc<Node>>,
    names_by_id: OrdMap<NodeId, NodeName>,
    datacenters: OrdMap<String, usize>,
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

    /// The datacenters of the rows by name; a row without one has none.
    pub(crate) fn datacenters(&self) -> impl Iterator<Item = &str> {
        let names = self.datacenters.keys().map(String::as_str);
        names.filter(|name| !name.is_empty())
    }

    /// Whether any row is in the datacenter.
    pub(crate) fn has_datacenter(&self, name: &str) -> bool {
        self.datacenters.contains_key(name)
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
        let rows = self.datacenters.entry(node.datacenter.clone()).or_default();
        *rows += 1;
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
        if let Some(rows) = self.datacenters.get_mut(&row.datacenter) {
            *rows -= 1;
            if *rows == 0 {
                self.datacenters.remove(&row.datacenter);
            }
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datacenter_is_known_as_long_as_a_node_is_in_it() {
        let mut nodes = Nodes::default();
        let known = |nodes: &Nodes| nodes.datacenters().collect::<Vec<_>>().join(" ");
        for (name, datacenter, expected) in [
            ("a", "dc2", "dc2"),
            ("b", "dc1", "dc1 dc2"),
            ("c", "dc2", "dc1 dc2"),
            ("b", "dc2", "dc2"),
            ("b", "dc3", "dc2 dc3"),
        ] {
            nodes.put(Arc::new(Node {
                name: name.into(),
                datacenter: datacenter.to_owned(),
                ..Node::default()
            }));
            assert_eq!(known(&nodes), expected, "{name} is in {datacenter}");
        }
        for (name, expected) in [("a", "dc2 dc3"), ("a", "dc2 dc3"), ("c", "dc3"), ("b", "")] {
            nodes.remove(name);
            assert_eq!(known(&nodes), expected, "{name} is gone");
        }
        assert!(!nodes.has_datacenter("dc2"));
    }
}

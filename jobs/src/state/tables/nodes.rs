//! Nodes and their usage.

use super::by_prefix;
use crate::{
    model::{Node, NodeEvent, NodeUsage, Timestamp, first_port},
    state::{NodeChange, Snapshot, Table, change::Change},
};
use std::sync::Arc;

impl Snapshot {
    /// A node.
    pub fn node(&self, id: &str) -> Option<&Arc<Node>> {
        self.nodes.get(id)
    }

    /// Nodes whose id begins with `prefix`.
    pub fn nodes<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Node>> {
        by_prefix(&self.nodes, prefix)
    }

    /// What the allocations of a node take.
    pub fn node_usage(&self, node_id: &str) -> Option<&Arc<NodeUsage>> {
        self.usage.get(node_id)
    }
}

impl Snapshot {
    pub(in crate::state) fn put_node(&mut self, change: &mut Change, mut node: Node) {
        let before = self.nodes.get(node.id.as_str()).cloned();
        node.create_index = before.as_ref().map_or(change.at.index, |b| b.create_index);
        node.modify_index = change.at.index;
        node.computed_class = node.derived_class();
        let id: Arc<str> = match self.usage.get_key_value(node.id.as_str()) {
            Some((shared, _)) => Arc::clone(shared),
            None => node.id.as_str().into(),
        };
        let usage = self.usage.entry(Arc::clone(&id)).or_default();
        if usage.port_cursor == 0 {
            Arc::make_mut(usage).port_cursor = first_port(&node);
        }
        let after = Arc::new(node);
        self.nodes.insert(id, Arc::clone(&after));
        change.touch(Table::Nodes);
        change.applied.nodes.push(NodeChange { before, after });
    }

    pub(in crate::state) fn shared_node_id(&self, id: &str) -> Arc<str> {
        match self.nodes.get_key_value(id) {
            Some((shared, _)) => Arc::clone(shared),
            None => id.into(),
        }
    }
}

pub(in crate::state) fn push_event(node: &mut Node, message: &str, change: &Change) {
    if node.events.len() >= Node::EVENTS_MAX {
        node.events.drain(..=node.events.len() - Node::EVENTS_MAX);
    }
    node.events.push(NodeEvent {
        message: message.into(),
        subsystem: "Cluster".into(),
        timestamp: Timestamp(change.at.now_ns),
        create_index: change.at.index,
        ..NodeEvent::default()
    });
}

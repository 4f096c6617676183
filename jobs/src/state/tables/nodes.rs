//! Nodes and their usage.

use super::by_prefix;
use crate::{
    model::{Node, NodeEvent, NodeId, NodeUsage, Timestamp, first_port},
    state::{NodeChange, Snapshot, Table, change::Change},
};
use std::sync::Arc;

impl Snapshot {
    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// Nodes whose id begins with `prefix`.
    pub fn nodes<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a Arc<Node>> + use<'a> {
        by_prefix(&self.nodes, prefix)
    }

    /// What the allocations of a node take.
    pub fn node_usage(&self, node_id: NodeId) -> Option<&Arc<NodeUsage>> {
        self.usage.get(&node_id)
    }
}

impl Snapshot {
    pub(in crate::state) fn put_node(&mut self, change: &mut Change, mut node: Node) {
        let before = self.nodes.get(&node.id).cloned();
        node.create_index = before.as_ref().map_or(change.at.index, |b| b.create_index);
        node.modify_index = change.at.index;
        node.computed_class = node.derived_class();
        let usage = self.usage.entry(node.id).or_default();
        if usage.port_cursor == 0 {
            Arc::make_mut(usage).port_cursor = first_port(&node);
        }
        let after = Arc::new(node);
        self.nodes.insert(after.id, Arc::clone(&after));
        change.touch(Table::Nodes);
        change.applied.nodes.push(NodeChange { before, after });
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

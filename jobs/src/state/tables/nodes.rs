//! Nodes and their usage.

use super::{by_prefix, from};
use crate::{
    model::{Node, NodeEvent, NodeId, NodeStatus, NodeUsage, first_port},
    state::{NodeChange, Snapshot, Table, change::Change},
};
use std::{collections::BTreeMap, sync::Arc};

impl Snapshot {
    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// Nodes whose id begins with `prefix`.
    pub fn nodes<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a Arc<Node>> + use<'a> {
        by_prefix(&self.nodes, prefix)
    }

    /// Nodes from that id on, in order of ids.
    pub fn nodes_from(&self, id: NodeId) -> impl Iterator<Item = &Arc<Node>> {
        from(&self.nodes, id)
    }

    /// All nodes in order of ids, with what their allocations take.
    pub fn nodes_with_usage(&self) -> impl Iterator<Item = (&Arc<Node>, Option<&Arc<NodeUsage>>)> {
        let mut usage = self.usage.iter().peekable();
        self.nodes.iter().map(move |(id, node)| {
            while usage.next_if(|(of, _)| *of < id).is_some() {}
            let of_node = usage.next_if(|(of, _)| *of == id);
            (node, of_node.map(|(_, usage)| usage))
        })
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
        change.applied.nodes.push(NodeChange {
            before,
            after: Some(after),
        });
    }

    /// Removes a node that is down and has no allocation that may still run.
    pub(in crate::state) fn remove_node(&mut self, change: &mut Change, id: NodeId) {
        let unused = self.live_allocs_of_node(id).next().is_none();
        let down = |node: &Arc<Node>| node.status == NodeStatus::Down;
        if unused && self.nodes.get(&id).is_some_and(down) {
            self.forget_node(change, id);
        }
    }

    /// Removes a node. What its allocations take is kept with them until they are over.
    pub(in crate::state) fn forget_node(&mut self, change: &mut Change, id: NodeId) {
        let before = self.nodes.remove(&id);
        if self.live_allocs_of_node(id).next().is_none() {
            self.usage.remove(&id);
        }
        change.touch(Table::Nodes);
        change.applied.nodes.push(NodeChange {
            before,
            after: None,
        });
    }
}

pub(in crate::state) fn push_event(node: &mut Node, message: &str, change: &Change) {
    push_event_of(node, "Cluster", message, BTreeMap::new(), change);
}

/// Notes an event from that subsystem with its facts.
pub(in crate::state) fn push_event_of(
    node: &mut Node,
    subsystem: &str,
    message: &str,
    details: BTreeMap<String, String>,
    change: &Change,
) {
    if node.events.len() >= Node::EVENTS_MAX {
        node.events.drain(..=node.events.len() - Node::EVENTS_MAX);
    }
    node.events.push(NodeEvent {
        message: message.into(),
        subsystem: subsystem.into(),
        details,
        timestamp: change.at.now,
        create_index: change.at.index,
    });
}

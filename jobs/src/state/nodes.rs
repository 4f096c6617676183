//! Registering nodes and following their lives.

use super::{Rejected, State, rows::Change};
use crate::model::{Eligibility, Evaluation, Node, NodeEvent, NodeId, NodeStatus, Timestamp};

const SECOND_NS: i64 = 1_000_000_000;

impl State {
    /// A registration keeps what servers and operators own: eligibility, events, creation.
    pub(super) fn upsert_node(
        &mut self,
        change: &mut Change,
        mut node: Node,
    ) -> Result<(), Rejected> {
        let now_ns = change.at.now_ns;
        let event = match self.nodes.get(&node.id) {
            Some(known) => {
                if !known.secret_id.is_empty() && known.secret_id != node.secret_id {
                    return Err(Rejected::Secret);
                }
                node.scheduling_eligibility = known.scheduling_eligibility;
                node.drain = known.drain;
                node.events.clone_from(&known.events);
                (known.status != node.status).then_some("Node re-registered")
            }
            None => {
                node.events.clear();
                Some("Node registered")
            }
        };
        node.status_updated_at = now_ns / SECOND_NS;
        if let Some(message) = event {
            push_event(&mut node, message, change);
        }
        self.put_node(change, node);
        Ok(())
    }

    pub(super) fn update_node_status(
        &mut self,
        change: &mut Change,
        node_id: NodeId,
        status: NodeStatus,
        evals: Vec<Evaluation>,
    ) -> Result<(), Rejected> {
        let node = self.nodes.get(&node_id).ok_or(Rejected::NoNode)?;
        if node.status != status {
            let mut node = (**node).clone();
            node.status = status;
            node.status_updated_at = change.at.now_ns / SECOND_NS;
            let message = match status {
                NodeStatus::Down => "Node heartbeat missed",
                NodeStatus::Ready => "Node reregistered by heartbeat",
                NodeStatus::Initializing => "Node is initializing",
            };
            push_event(&mut node, message, change);
            self.put_node(change, node);
        }
        self.upsert_evals(change, evals);
        Ok(())
    }

    pub(super) fn update_node_eligibility(
        &mut self,
        change: &mut Change,
        node_id: NodeId,
        eligibility: Eligibility,
        evals: Vec<Evaluation>,
    ) -> Result<(), Rejected> {
        let node = self.nodes.get(&node_id).ok_or(Rejected::NoNode)?;
        if node.scheduling_eligibility != eligibility {
            let mut node = (**node).clone();
            node.scheduling_eligibility = eligibility;
            let message = match eligibility {
                Eligibility::Eligible => "Node marked as eligible for scheduling",
                Eligibility::Ineligible => "Node marked as ineligible for scheduling",
            };
            push_event(&mut node, message, change);
            self.put_node(change, node);
        }
        self.upsert_evals(change, evals);
        Ok(())
    }
}

fn push_event(node: &mut Node, message: &str, change: &Change) {
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

//! Changes where a node is in its life.

use crate::{
    model::{Evaluation, NodeId, NodeStatus},
    state::{Rejected, Snapshot, change::Change, tables::push_event},
};

impl Snapshot {
    pub(in crate::state) fn update_node_status(
        &mut self,
        change: &mut Change,
        node_ids: &[NodeId],
        status: NodeStatus,
        evals: Vec<Evaluation>,
    ) -> Result<(), Rejected> {
        if !node_ids.iter().any(|id| self.nodes.contains_key(id)) {
            return Err(Rejected::NoNode);
        }
        for node_id in node_ids {
            let Some(node) = self.nodes.get(node_id) else {
                continue;
            };
            if node.status == status {
                continue;
            }
            let mut node = (**node).clone();
            node.status = status;
            node.status_updated_at = change.at.now.into();
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
}

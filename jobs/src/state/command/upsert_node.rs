//! Registers a node or renews what is known of it.

use crate::{
    model::Node,
    state::{Rejected, Snapshot, change::Change, tables::push_event},
};

impl Snapshot {
    /// A registration keeps what servers and operators own: eligibility, events, creation.
    pub(in crate::state) fn upsert_node(
        &mut self,
        change: &mut Change,
        mut node: Node,
    ) -> Result<(), Rejected> {
        let now = change.at.now;
        let event = match self.nodes.get(&node.id) {
            Some(known) => {
                if !known.secret_id.is_empty() && known.secret_id != node.secret_id {
                    return Err(Rejected::Secret);
                }
                node.scheduling_eligibility = known.scheduling_eligibility;
                node.drain = known.drain;
                node.drain_strategy = known.drain_strategy;
                node.last_drain.clone_from(&known.last_drain);
                node.events.clone_from(&known.events);
                (known.status != node.status).then_some("Node re-registered")
            }
            None => {
                node.events.clear();
                Some("Node registered")
            }
        };
        node.status_updated_at = now.into();
        if let Some(message) = event {
            push_event(&mut node, message, change);
        }
        self.put_node(change, node);
        Ok(())
    }
}

//! Changes whether a node takes new allocations.

use crate::{
    model::{Eligibility, Evaluation, NodeId},
    state::{Rejected, Snapshot, change::Change, tables::push_event},
};

impl Snapshot {
    pub(in crate::state) fn update_node_eligibility(
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

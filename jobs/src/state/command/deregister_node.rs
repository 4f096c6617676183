//! Forgets a node, whatever it runs.

use crate::{
    model::{Evaluation, NodeId},
    state::{Rejected, Snapshot, change::Change},
};

impl Snapshot {
    /// Its allocations count as lost from then on. A client that lives registers it again.
    pub(in crate::state) fn deregister_node(
        &mut self,
        change: &mut Change,
        node_id: NodeId,
        evals: Vec<Evaluation>,
    ) -> Result<(), Rejected> {
        if !self.nodes.contains_key(&node_id) {
            return Err(Rejected::NoNode);
        }
        self.forget_node(change, node_id);
        self.upsert_evals(change, evals);
        Ok(())
    }
}

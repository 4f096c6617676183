//! Notes something of a node, in a build for tests.

use crate::{
    model::NodeId,
    state::{Rejected, Snapshot, change::Change},
};

impl Snapshot {
    pub(in crate::state) fn set_node_note(
        &mut self,
        change: &mut Change,
        node_id: NodeId,
        note: String,
    ) -> Result<(), Rejected> {
        let node = self.nodes.get(&node_id).ok_or(Rejected::NoNode)?;
        let mut node = (**node).clone();
        node.note = note;
        self.put_node(change, node);
        Ok(())
    }
}

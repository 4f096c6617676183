use crate::message::Assignment;
use jobs::model::AllocId;
use std::collections::{BTreeMap, BTreeSet};

/// Changes of the allocations of this node.
#[derive(Debug, Default)]
pub struct AllocDelta {
    /// Ids of all allocations that the servers know of this node, when they said so.
    pub known: Option<BTreeSet<AllocId>>,
    /// New or changed, by id; `alloc.job` is filled in.
    pub assignments: BTreeMap<AllocId, Assignment>,
    /// Forgotten by the servers.
    pub removed: BTreeSet<AllocId>,
}

impl AllocDelta {
    /// Adds what came later; the result says what both said in order.
    pub(super) fn merge(&mut self, later: Self) {
        if let Some(known) = &later.known {
            self.assignments.retain(|id, _| known.contains(id));
            self.removed.clear();
            self.known = later.known;
        }
        for id in later.removed {
            self.assignments.remove(&id);
            if let Some(known) = &mut self.known {
                known.remove(&id);
            }
            self.removed.insert(id);
        }
        for (id, assignment) in later.assignments {
            self.removed.remove(&id);
            if let Some(known) = &mut self.known {
                known.insert(id);
            }
            self.assignments.insert(id, assignment);
        }
    }
}

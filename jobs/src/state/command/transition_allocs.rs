//! Sets desired transitions.

use crate::{
    model::{AllocId, DesiredTransition},
    state::{Snapshot, change::Change},
};
use std::collections::BTreeMap;

impl Snapshot {
    pub(in crate::state) fn transition_allocs(
        &mut self,
        change: &mut Change,
        transitions: BTreeMap<AllocId, DesiredTransition>,
    ) {
        for (id, wish) in transitions {
            let Some(row) = self.allocs.get(&id) else {
                continue;
            };
            let mut alloc = (**row).clone();
            let desired = &mut alloc.desired_transition;
            desired.migrate = wish.migrate.or(desired.migrate);
            desired.reschedule = wish.reschedule.or(desired.reschedule);
            desired.force_reschedule = wish.force_reschedule.or(desired.force_reschedule);
            desired.no_shutdown_delay = wish.no_shutdown_delay.or(desired.no_shutdown_delay);
            self.put_server_change(change, alloc);
        }
    }
}

//! Takes over what clients report.

use super::AllocUpdate;
use crate::{
    model::{Allocation, JobType},
    state::{Snapshot, change::Change},
};

impl Snapshot {
    /// Takes over client-owned fields only. Unknown allocations are ignored: they were collected.
    pub(in crate::state) fn update_allocs(
        &mut self,
        change: &mut Change,
        updates: Vec<AllocUpdate>,
    ) {
        for update in updates {
            let Some(row) = self.allocs.get(&update.alloc_id) else {
                continue;
            };
            let mut alloc = (**row).clone();
            merge_report(&mut alloc, update, change.at.index);
            if alloc == **row {
                continue;
            }
            alloc.modify_index = change.at.index;
            alloc.modify_time = change.at.now;
            self.put_alloc(change, alloc);
        }
    }
}

fn merge_report(alloc: &mut Allocation, update: AllocUpdate, index: u64) {
    let over = alloc.client_terminal();
    if over && !update.client_status.is_terminal() {
        return;
    }
    if !over {
        alloc.client_status = update.client_status;
        alloc.client_description = update.client_description;
    }
    alloc.task_states = update.task_states;
    if update.network_status.is_some() {
        alloc.network_status = update.network_status;
    }
    if let Some((healthy, decided)) = update.health
        && (alloc.deployment_id.is_some() || alloc.job.job_type == JobType::Service)
    {
        let status = alloc.deployment_status.get_or_insert_default();
        // Health is decided once per deployment; a late or repeated report changes nothing.
        if status.healthy.is_none() {
            status.healthy = Some(healthy);
            status.timestamp = decided;
            status.modify_index = index;
        }
    }
}

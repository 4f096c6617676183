//! Sets the health of allocations by hand or by the controller.

use crate::{
    model::{AllocId, DeploymentId},
    state::{Rejected, Snapshot, change::Change},
};

impl Snapshot {
    pub(in crate::state) fn set_alloc_health(
        &mut self,
        change: &mut Change,
        id: DeploymentId,
        healthy: &[AllocId],
        unhealthy: &[AllocId],
    ) -> Result<(), Rejected> {
        self.active_deployment(id)?;
        let wishes = healthy
            .iter()
            .map(|alloc| (*alloc, true))
            .chain(unhealthy.iter().map(|alloc| (*alloc, false)));
        for (alloc_id, _) in wishes.clone() {
            let alloc = self.allocs.get(&alloc_id).ok_or(Rejected::NoAlloc)?;
            if alloc.deployment_id != Some(id) {
                return Err(Rejected::NoAlloc);
            }
        }
        for (alloc_id, health) in wishes {
            let Some(row) = self.allocs.get(&alloc_id) else {
                continue;
            };
            let mut alloc = (**row).clone();
            let status = alloc.deployment_status.get_or_insert_default();
            status.healthy = Some(health);
            status.timestamp = change.at.now;
            status.modify_index = change.at.index;
            self.put_server_change(change, alloc);
        }
        Ok(())
    }
}

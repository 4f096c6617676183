//! Marks a version of a job as stable or not.

use crate::{
    model::JobKey,
    state::{Rejected, Snapshot, change::Change},
};

impl Snapshot {
    pub(in crate::state) fn mark_stable(
        &mut self,
        change: &mut Change,
        key: &JobKey,
        version: u64,
        stable: bool,
    ) -> Result<(), Rejected> {
        if self.version(key, version).is_none() {
            return Err(match self.jobs.get(key) {
                Some(_) => Rejected::NoVersion,
                None => Rejected::NoJob,
            });
        }
        self.set_stable(change, key, version, stable);
        Ok(())
    }
}

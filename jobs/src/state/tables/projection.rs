//! What the tables would be after a change that is not in the log.

use crate::{
    model::{Job, PlanResult},
    state::{Snapshot, Stamp, change::Change},
};

impl Snapshot {
    /// The tables as they would be when the plan were committed.
    #[must_use]
    pub fn with_plan(mut self, at: Stamp, plan: PlanResult) -> Self {
        let mut change = Change::new(at);
        self.apply_plan(&mut change, plan);
        change.finish(&mut self);
        self
    }

    /// The tables as they would be when the job were registered.
    #[must_use]
    pub fn with_job(mut self, at: Stamp, job: Job) -> Self {
        let mut change = Change::new(at);
        self.write_version(&mut change, job);
        change.finish(&mut self);
        self
    }
}

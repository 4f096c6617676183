//! Changes where a deployment is in its life.

use crate::{
    model::{DeploymentUpdate, Evaluation, Job},
    state::{Rejected, Snapshot, change::Change},
};

impl Snapshot {
    pub(in crate::state) fn update_deployment(
        &mut self,
        change: &mut Change,
        update: DeploymentUpdate,
        eval: Option<Evaluation>,
        revert: Option<Box<Job>>,
    ) -> Result<(), Rejected> {
        self.active_deployment(update.deployment_id)?;
        self.follow_up(change, Some(update), eval, revert);
        Ok(())
    }

    /// A status change with what follows from it.
    pub(in crate::state) fn follow_up(
        &mut self,
        change: &mut Change,
        update: Option<DeploymentUpdate>,
        eval: Option<Evaluation>,
        revert: Option<Box<Job>>,
    ) {
        if let Some(update) = update {
            self.set_deployment_status(change, update);
        }
        let registered = revert.map(|job| self.write_version(change, *job));
        if let Some(mut eval) = eval {
            if let Some(job) = registered {
                eval.job_modify_index = job.job_modify_index;
            }
            self.put_eval(change, eval);
        }
    }
}

//! Changes where a deployment is in its life.

use crate::{
    model::{Deployment, DeploymentUpdate, Evaluation, Job},
    state::{Rejected, Snapshot, change::Change},
};
use serde::{Deserialize, Serialize};

/// The version that a failed deployment goes back to.
///
/// It is registered only if the version of the deployment is still current and not stopped when the
/// entry is applied: what was registered or stopped meanwhile stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Revert {
    /// The older version; it becomes the next one.
    pub job: Job,
    /// Description of the deployment when the job is registered; that of the update stands
    /// otherwise.
    pub description: String,
}

impl Snapshot {
    pub(in crate::state) fn update_deployment(
        &mut self,
        change: &mut Change,
        update: DeploymentUpdate,
        eval: Option<Evaluation>,
        revert: Option<Box<Revert>>,
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
        revert: Option<Box<Revert>>,
    ) {
        let mut revert = revert;
        if let Some(mut update) = update {
            let deployment = self.deployments.get(&update.deployment_id);
            revert = revert.filter(|_| deployment.is_some_and(|row| self.is_of_current_job(row)));
            if let Some(revert) = &revert {
                update.description.clone_from(&revert.description);
            }
            self.set_deployment_status(change, update);
        }
        let registered = revert.map(|revert| self.write_version(change, revert.job));
        if let Some(mut eval) = eval {
            if let Some(job) = registered {
                eval.job_modify_index = job.job_modify_index;
            }
            self.put_eval(change, eval);
        }
    }

    /// True while the job is neither stopped nor of another version than the deployment's.
    fn is_of_current_job(&self, deployment: &Deployment) -> bool {
        self.jobs.get(&deployment.job_key()).is_some_and(|job| {
            !job.stop
                && job.version == deployment.job_version
                && job.create_index == deployment.job_create_index
        })
    }
}

//! Deletes terminal rows.

use crate::{
    model::{AllocId, DeploymentId, EvalId, JobKey, NodeId},
    state::{Snapshot, change::Change},
};

impl Snapshot {
    /// Removes rows. What is not over any more, or gone already, is left alone.
    pub(in crate::state) fn collect(
        &mut self,
        change: &mut Change,
        evals: &[EvalId],
        allocs: &[AllocId],
        deployments: &[DeploymentId],
        jobs: &[JobKey],
    ) {
        for &id in allocs {
            self.remove_alloc(change, id);
        }
        for &id in evals {
            self.remove_eval(change, id);
        }
        for &id in deployments {
            if self.deployments.get(&id).is_some_and(|d| !d.is_active()) {
                self.remove_deployment(change, id);
            }
        }
        for key in jobs {
            let shared = self.job_key(&key.namespace, &key.id);
            let over = self
                .tallies
                .get(key)
                .is_none_or(|tally| tally.live_allocs == 0 && tally.open_evals == 0);
            if self.jobs.contains_key(key) && over {
                self.purge_job(change, &shared);
            }
        }
    }

    /// Removes nodes that are still down and run nothing.
    pub(in crate::state) fn collect_nodes(&mut self, change: &mut Change, nodes: &[NodeId]) {
        for &id in nodes {
            self.remove_node(change, id);
        }
    }
}

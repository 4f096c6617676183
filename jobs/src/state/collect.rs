//! Forgetting what is over.

use super::{AllocChange, State, Table, rows::Change};
use crate::model::{AllocId, DeploymentId, EvalId, JobKey};
use std::sync::Arc;

impl State {
    /// Removes rows. What is not over any more, or gone already, is left alone.
    pub(super) fn collect(
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

    fn remove_alloc(&mut self, change: &mut Change, id: AllocId) {
        if !self.allocs.get(&id).is_some_and(|a| a.client_terminal()) {
            return;
        }
        let Some(row) = self.allocs.remove(&id) else {
            return;
        };
        let key = self.job_key(&row.namespace, &row.job_id);
        self.allocs_by_job.remove(&(Arc::clone(&key), id));
        self.allocs_by_node.remove(&(row.node_id, true, id));
        self.allocs_by_eval.remove(&(row.eval_id, id));
        if let Some(deployment_id) = row.deployment_id {
            self.allocs_by_deployment.remove(&(deployment_id, id));
        }
        if let Some(tally) = self.tallies.get_mut(&key) {
            tally.allocs -= 1;
            tally.live_allocs -= u64::from(!row.is_terminal());
        }
        change.touch(Table::Allocs);
        change.applied.allocs.push(AllocChange {
            before: Some(row),
            after: None,
        });
        change.touched_jobs.insert(key);
    }

    fn remove_eval(&mut self, change: &mut Change, id: EvalId) {
        if !self.evals.get(&id).is_some_and(|e| e.status.is_terminal()) {
            return;
        }
        let Some(row) = self.evals.remove(&id) else {
            return;
        };
        let key = self.job_key(&row.namespace, &row.job_id);
        self.evals_by_job.remove(&(Arc::clone(&key), id));
        if let Some(tally) = self.tallies.get_mut(&key) {
            tally.evals -= 1;
        }
        change.touch(Table::Evals);
        change.touched_jobs.insert(key);
    }

    pub(super) fn remove_deployment(&mut self, change: &mut Change, id: DeploymentId) {
        let Some(row) = self.deployments.remove(&id) else {
            return;
        };
        let key = self.job_key(&row.namespace, &row.job_id);
        self.deployments_by_job.remove(&(Arc::clone(&key), id));
        if let Some(tally) = self.tallies.get_mut(&key) {
            tally.active_deployments -= u64::from(row.is_active());
        }
        change.touch(Table::Deployments);
        change.touched_jobs.insert(key);
    }
}

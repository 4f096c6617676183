//! Deployments.

use super::{by_prefix, from, of_job};
use crate::{
    model::{
        Allocation, Deployment, DeploymentId, DeploymentStatus, DeploymentUpdate, GroupName,
        JobKey, Span, Timestamp,
    },
    state::{Rejected, Snapshot, Table, change::Change},
};
use std::sync::Arc;

impl Snapshot {
    /// A deployment.
    pub fn deployment(&self, id: DeploymentId) -> Option<&Arc<Deployment>> {
        self.deployments.get(&id)
    }

    /// Deployments whose id begins with `prefix`.
    pub fn deployments<'a>(
        &'a self,
        prefix: &str,
    ) -> impl Iterator<Item = &'a Arc<Deployment>> + use<'a> {
        by_prefix(&self.deployments, prefix)
    }

    /// Deployments from that id on, in order of ids.
    pub fn deployments_from(&self, id: DeploymentId) -> impl Iterator<Item = &Arc<Deployment>> {
        from(&self.deployments, id)
    }

    /// Deployments of a job.
    pub fn deployments_of_job<'a>(
        &'a self,
        key: &JobKey,
    ) -> impl Iterator<Item = &'a Arc<Deployment>> + use<'a> {
        of_job(&self.deployments_by_job, &self.deployments, key)
    }

    /// The newest deployment of a job.
    pub fn latest_deployment(&self, key: &JobKey) -> Option<&Arc<Deployment>> {
        self.deployments_of_job(key)
            .max_by_key(|deployment| (deployment.create_index, deployment.job_version))
    }

    /// Whether a deployment waits for nothing but somebody who promotes its canaries.
    pub fn awaits_promotion(&self, deployment: &Deployment) -> bool {
        deployment.requires_promotion()
            && !deployment.has_auto_promote()
            && self.check_promotable(deployment, &[]).is_ok()
    }

    /// Whether the canaries of the groups (all when empty) are healthy enough.
    ///
    /// # Errors
    /// [`Rejected::NotPromotable`] with one line per group that is not.
    pub(crate) fn check_promotable(
        &self,
        deployment: &Deployment,
        groups: &[GroupName],
    ) -> Result<(), Rejected> {
        let mut problems = Vec::new();
        let chosen = |name: &GroupName| groups.is_empty() || groups.contains(name);
        let mut with_canaries = 0;
        for (name, state) in &deployment.task_groups {
            if !chosen(name) || state.desired_canaries == 0 || state.promoted {
                continue;
            }
            with_canaries += 1;
            let healthy = self
                .allocs_of_deployment(deployment.id)
                .filter(|a| a.task_group == *name && a.is_canary() && !a.is_terminal())
                .filter(|a| a.healthy() == Some(true))
                .count();
            if healthy < state.desired_canaries as usize {
                let wanted = state.desired_canaries;
                problems.push(format!(
                    "Task group \"{name}\" has {healthy}/{wanted} healthy allocations"
                ));
            }
        }
        for name in groups {
            if !deployment.task_groups.contains_key(name) {
                problems.push(format!(
                    "Task group \"{name}\" is not part of the deployment"
                ));
            }
        }
        if with_canaries == 0 && problems.is_empty() {
            problems.push("no canaries to promote".into());
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Rejected::NotPromotable(problems.join("\n")))
        }
    }
}

impl Snapshot {
    /// A deployment that is not over.
    pub(crate) fn active_deployment(&self, id: DeploymentId) -> Result<&Deployment, Rejected> {
        let deployment = self.deployments.get(&id).ok_or(Rejected::NoDeployment)?;
        if deployment.is_active() {
            return Ok(deployment);
        }
        Err(Rejected::DeploymentOver {
            id,
            status: deployment.status.as_str().into(),
        })
    }

    /// Writes a deployment; its indexes and times are set here.
    pub(in crate::state) fn put_deployment(
        &mut self,
        change: &mut Change,
        mut deployment: Deployment,
    ) {
        let key = self.job_key(&deployment.namespace, &deployment.job_id);
        let before = self.deployments.get(&deployment.id).cloned();
        let foreign = before.as_ref().is_some_and(|b| b.job_key() != *key);
        if foreign {
            return;
        }
        deployment.create_index = before.as_ref().map_or(change.at.index, |b| b.create_index);
        deployment.create_time = before.as_ref().map_or(change.at.now, |b| b.create_time);
        deployment.modify_index = change.at.index;
        deployment.modify_time = change.at.now;
        let tally = self.tallies.entry(Arc::clone(&key)).or_default();
        tally.active_deployments += u64::from(deployment.is_active());
        tally.active_deployments -= u64::from(before.as_ref().is_some_and(|b| b.is_active()));
        if before.is_none() {
            self.deployments_by_job
                .insert((Arc::clone(&key), deployment.id));
        }
        let deployment = Arc::new(deployment);
        self.deployments
            .insert(deployment.id, Arc::clone(&deployment));
        change.touch(Table::Deployments);
        change.applied.deployments.push(deployment);
        change.touched_jobs.insert(key);
    }

    /// A terminal status stays; a successful one marks the version as stable.
    pub(in crate::state) fn set_deployment_status(
        &mut self,
        change: &mut Change,
        update: DeploymentUpdate,
    ) {
        let Some(row) = self.deployments.get(&update.deployment_id) else {
            return;
        };
        if !row.is_active() {
            return;
        }
        let mut deployment = (**row).clone();
        if deployment.status == DeploymentStatus::Paused
            && update.status == DeploymentStatus::Running
        {
            restart_deadlines(&mut deployment, change.at.now);
        }
        deployment.status = update.status;
        deployment.status_description = update.description;
        let (key, version) = (deployment.job_key(), deployment.job_version);
        self.put_deployment(change, deployment);
        match update.status {
            DeploymentStatus::Successful => self.set_stable(change, &key, version, true),
            DeploymentStatus::Failed | DeploymentStatus::Cancelled => {
                self.end_rollouts(change, update.deployment_id);
            }
            DeploymentStatus::Running | DeploymentStatus::Paused => {}
        }
    }

    pub(in crate::state) fn count_deployment(
        &mut self,
        change: &mut Change,
        before: Option<&Allocation>,
        alloc: &Allocation,
    ) {
        let Some(deployment_id) = alloc.deployment_id else {
            return;
        };
        let same = before.filter(|b| b.deployment_id == alloc.deployment_id);
        let health_before = same.and_then(|b| b.healthy());
        let health = alloc.healthy();
        if same.is_some() && health_before == health {
            return;
        }
        let Some(row) = self.deployments.get(&deployment_id) else {
            return;
        };
        let mut deployment = (**row).clone();
        let Some(state) = deployment.task_groups.get_mut(&alloc.task_group) else {
            return;
        };
        if same.is_none() {
            state.placed_allocs += 1;
            if alloc.is_canary() && !state.placed_canaries.contains(&alloc.id) {
                state.placed_canaries.push(alloc.id);
            }
            if state.require_progress_by.is_zero() && state.progress_deadline > Span::ZERO {
                state.require_progress_by = change.at.now + state.progress_deadline;
            }
        }
        match health_before {
            Some(true) => state.healthy_allocs = state.healthy_allocs.saturating_sub(1),
            Some(false) => state.unhealthy_allocs = state.unhealthy_allocs.saturating_sub(1),
            None => {}
        }
        match health {
            Some(true) => {
                state.healthy_allocs += 1;
                // From when it is known: the clock of the agent that found it out may be wrong.
                let by = change.at.now + state.progress_deadline;
                if state.progress_deadline > Span::ZERO && by > state.require_progress_by {
                    state.require_progress_by = by;
                }
            }
            Some(false) => state.unhealthy_allocs += 1,
            None => {}
        }
        self.put_deployment(change, deployment);
    }

    pub(in crate::state) fn remove_deployment(&mut self, change: &mut Change, id: DeploymentId) {
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

fn restart_deadlines(deployment: &mut Deployment, now: Timestamp) {
    for state in deployment.task_groups.values_mut() {
        if state.progress_deadline > Span::ZERO && !state.require_progress_by.is_zero() {
            state.require_progress_by = now + state.progress_deadline;
        }
    }
}

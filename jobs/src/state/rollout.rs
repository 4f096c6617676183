//! Status, health and promotion of deployments.

use super::{DeploymentUpdate, Rejected, State, rows::Change};
use crate::model::{
    AllocDeploymentStatus, AllocId, Deployment, DeploymentId, DeploymentStatus, Evaluation, Job,
    Timestamp,
};

impl State {
    pub(super) fn update_deployment(
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

    fn active_deployment(&self, id: DeploymentId) -> Result<&Deployment, Rejected> {
        let deployment = self.deployments.get(&id).ok_or(Rejected::NoDeployment)?;
        if deployment.is_active() {
            return Ok(deployment);
        }
        Err(Rejected::DeploymentOver {
            id,
            status: deployment.status.as_str().into(),
        })
    }

    /// A status change with what follows from it.
    pub(super) fn follow_up(
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

    /// A terminal status stays; a successful one marks the version as stable.
    pub(super) fn set_deployment_status(&mut self, change: &mut Change, update: DeploymentUpdate) {
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
            restart_deadlines(&mut deployment, change.at.now_ns);
        }
        deployment.status = update.status;
        deployment.status_description = update.description;
        let (key, version) = (deployment.job_key(), deployment.job_version);
        self.put_deployment(change, deployment);
        if update.status == DeploymentStatus::Successful {
            self.set_stable(change, &key, version, true);
        }
    }

    pub(super) fn promote_deployment(
        &mut self,
        change: &mut Change,
        id: DeploymentId,
        groups: &[String],
        eval: Evaluation,
    ) -> Result<(), Rejected> {
        let mut deployment = self.active_deployment(id)?.clone();
        self.check_promotable(&deployment, groups)?;
        for (name, state) in &mut deployment.task_groups {
            if state.desired_canaries > 0 && (groups.is_empty() || groups.contains(name)) {
                state.promoted = true;
                if state.progress_deadline > 0 {
                    state.require_progress_by =
                        Timestamp(change.at.now_ns.saturating_add(state.progress_deadline));
                }
            }
        }
        if !deployment.requires_promotion() {
            deployment.status_description = "Deployment is running".into();
        }
        let canaries: Vec<_> = self
            .allocs_of_deployment(id)
            .filter(|a| a.is_canary() && (groups.is_empty() || groups.contains(&a.task_group)))
            .cloned()
            .collect();
        self.put_deployment(change, deployment);
        for row in canaries {
            let mut alloc = (*row).clone();
            if let Some(status) = &mut alloc.deployment_status {
                status.canary = false;
                status.modify_index = change.at.index;
            }
            self.put_server_change(change, alloc);
        }
        self.put_eval(change, eval);
        Ok(())
    }

    /// Whether the canaries of the groups (all when empty) are healthy enough.
    ///
    /// # Errors
    /// [`Rejected::NotPromotable`] with one line per group that is not.
    pub(crate) fn check_promotable(
        &self,
        deployment: &Deployment,
        groups: &[String],
    ) -> Result<(), Rejected> {
        let mut problems = Vec::new();
        let chosen = |name: &String| groups.is_empty() || groups.contains(name);
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

    pub(super) fn set_alloc_health(
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
            let status = alloc
                .deployment_status
                .get_or_insert_with(AllocDeploymentStatus::default);
            status.healthy = Some(health);
            status.timestamp = Timestamp(change.at.now_ns);
            status.modify_index = change.at.index;
            self.put_server_change(change, alloc);
        }
        Ok(())
    }
}

fn restart_deadlines(deployment: &mut Deployment, now_ns: i64) {
    for state in deployment.task_groups.values_mut() {
        if state.progress_deadline > 0 && !state.require_progress_by.is_zero() {
            state.require_progress_by = Timestamp(now_ns.saturating_add(state.progress_deadline));
        }
    }
}

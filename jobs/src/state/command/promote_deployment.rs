//! Promotes canaries.

use crate::{
    model::{DeploymentId, Evaluation, GroupName, RolloutPhase, RolloutTransition, Span},
    state::{Rejected, Snapshot, change::Change},
};

impl Snapshot {
    pub(in crate::state) fn promote_deployment(
        &mut self,
        change: &mut Change,
        id: DeploymentId,
        groups: &[GroupName],
        eval: Evaluation,
    ) -> Result<(), Rejected> {
        let mut deployment = self.active_deployment(id)?.clone();
        self.check_promotable(&deployment, groups)?;
        for (name, state) in &mut deployment.task_groups {
            if state.desired_canaries > 0 && (groups.is_empty() || groups.contains(name)) {
                state.promoted = true;
                if let Some(rollout) = &mut state.rollout {
                    let transition = RolloutTransition {
                        at: change.at.now,
                        actor: "deployment".into(),
                        phase: RolloutPhase::Passed,
                        step: u32::try_from(rollout.steps.len()).unwrap_or(u32::MAX),
                        share: rollout.share,
                        reason: "the canaries were promoted".into(),
                        ..RolloutTransition::default()
                    };
                    **rollout = rollout.after(transition, rollout.elapsed);
                }
                if state.progress_deadline > Span::ZERO {
                    state.require_progress_by = change.at.now + state.progress_deadline;
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
}

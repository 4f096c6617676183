//! Changes how canaries get their share of the requests.

use super::Revert;
use crate::{
    model::{
        AllocId, DeploymentId, DeploymentUpdate, Evaluation, GroupName, Rollout, RolloutCause,
        RolloutPhase, RolloutTransition, Share,
    },
    state::{Rejected, Snapshot, change::Change},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The next row of a group's rollout, with what follows from it.
///
/// It is written only if nobody else wrote one since it was made: the row there is the one before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetRollout {
    /// Deployment.
    pub deployment_id: DeploymentId,
    /// Group; it has canaries that are not promoted.
    pub group: GroupName,
    /// The row.
    pub rollout: Rollout,
    /// The end of the deployment, for an abort.
    pub update: Option<DeploymentUpdate>,
    /// Evaluation that acts on that.
    pub eval: Option<Evaluation>,
    /// Registered as the next version in the same entry, unless the job changed meanwhile.
    pub revert: Option<Box<Revert>>,
}

impl Snapshot {
    pub(in crate::state) fn set_rollout(
        &mut self,
        change: &mut Change,
        command: SetRollout,
    ) -> Result<(), Rejected> {
        let mut deployment = self.active_deployment(command.deployment_id)?.clone();
        let group = deployment.task_groups.get_mut(&command.group);
        let group = group
            .filter(|group| group.desired_canaries > 0 && !group.promoted)
            .ok_or_else(|| Rejected::NoCanaries {
                group: command.group.clone(),
            })?;
        let before = group.rollout.as_ref().map_or(0, |row| row.revision);
        let is_over = group.rollout.as_ref().is_some_and(|row| row.is_over());
        if is_over || command.rollout.revision != before + 1 {
            return Err(Rejected::RolloutMoved { revision: before });
        }
        let canaries = group.desired_canaries;
        let rollout = Box::new(command.rollout);
        group.rollout = Some(rollout.clone());
        self.put_deployment(change, deployment);
        self.share_requests(change, command.deployment_id, &command.group, &|canary| {
            rollout.share_of(canary, canaries)
        });
        self.follow_up(change, command.update, command.eval, command.revert);
        Ok(())
    }

    /// Gives each canary of a group its share.
    pub(in crate::state) fn share_requests(
        &mut self,
        change: &mut Change,
        id: DeploymentId,
        group: &GroupName,
        share_of: &dyn Fn(AllocId) -> Option<u32>,
    ) {
        let canaries: Vec<_> = self
            .allocs_of_deployment(id)
            .filter(|alloc| alloc.task_group == *group && alloc.is_canary())
            .filter(|alloc| !alloc.server_terminal())
            .filter(|alloc| alloc.traffic_share() != share_of(alloc.id))
            .map(Arc::clone)
            .collect();
        for row in canaries {
            let mut alloc = (*row).clone();
            if let Some(status) = &mut alloc.deployment_status {
                status.share = share_of(alloc.id);
                status.modify_index = change.at.index;
            }
            self.put_server_change(change, alloc);
        }
    }

    /// Takes all requests from the canaries of a deployment that ended badly.
    pub(in crate::state) fn end_rollouts(&mut self, change: &mut Change, id: DeploymentId) {
        let Some(row) = self.deployments.get(&id) else {
            return;
        };
        let mut deployment = (**row).clone();
        let mut ended = Vec::new();
        let reason = deployment.status_description.clone();
        for (name, group) in &mut deployment.task_groups {
            let Some(rollout) = group.rollout.as_mut().filter(|_| !group.promoted) else {
                continue;
            };
            ended.push(name.clone());
            let transition = RolloutTransition {
                at: change.at.now,
                actor: "deployment".into(),
                phase: RolloutPhase::Aborted,
                step: rollout.step,
                share: Share::NONE,
                cause: RolloutCause::Deployment,
                reason: reason.clone(),
                ..RolloutTransition::default()
            };
            **rollout = rollout.after(transition, rollout.elapsed);
        }
        if ended.is_empty() {
            return;
        }
        self.put_deployment(change, deployment);
        for group in ended {
            self.share_requests(change, id, &group, &|_| Some(0));
        }
    }
}

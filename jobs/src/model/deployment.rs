use super::{
    AllocId, DeploymentId, GroupName, Index, JobId, JobKey, Namespace, Rollout, Span, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a deployment is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentStatus {
    /// Under way.
    #[default]
    Running,
    /// Held by an operator.
    Paused,
    /// Given up.
    Failed,
    /// Done.
    Successful,
    /// Made superfluous.
    Cancelled,
}

impl DeploymentStatus {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Successful => "successful",
            Self::Cancelled => "cancelled",
        }
    }

    /// True while it may still change the allocations.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// The replacement of one version of a job by the next. Source: deployments API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Deployment {
    /// UUID, chosen by the scheduler's seeded generator.
    #[serde(rename = "ID")]
    pub id: DeploymentId,
    /// Namespace of the job.
    pub namespace: Namespace,
    /// Job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Version it brings.
    pub job_version: u64,
    /// `modify_index` of the job at its creation.
    pub job_modify_index: Index,
    /// `job_modify_index` of the job at its creation.
    pub job_spec_modify_index: Index,
    /// `create_index` of the job, which tells a purged job's namesake apart.
    pub job_create_index: Index,
    /// Always false: one region.
    pub is_multiregion: bool,
    /// Group to its progress.
    pub task_groups: BTreeMap<GroupName, DeploymentState>,
    /// Where it is in its life.
    pub status: DeploymentStatus,
    /// Why; the published texts.
    pub status_description: String,
    /// Priority of its evaluations.
    pub eval_priority: i32,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change.
    pub modify_index: Index,
    /// Nanoseconds since the epoch.
    pub create_time: Timestamp,
    /// Nanoseconds since the epoch.
    pub modify_time: Timestamp,
}

impl Deployment {
    /// The key of its job.
    pub fn job_key(&self) -> JobKey {
        JobKey::new(self.namespace.clone(), self.job_id.clone())
    }

    /// True while it may still change the allocations.
    pub fn is_active(&self) -> bool {
        self.status.is_active()
    }

    /// True when some group still waits for its canaries to be promoted.
    pub fn requires_promotion(&self) -> bool {
        self.is_active()
            && self
                .task_groups
                .values()
                .any(|g| g.desired_canaries > 0 && !g.promoted)
    }

    /// When a rollout of its canaries changed last; none if none ever did.
    pub fn last_transition(&self) -> Option<Timestamp> {
        let rollouts = self.task_groups.values().filter_map(|g| g.rollout.as_ref());
        let times = rollouts.flat_map(|row| row.transitions.iter().map(|own| own.at));
        times.max()
    }

    /// True when every group with canaries promotes by itself.
    pub fn has_auto_promote(&self) -> bool {
        !self.task_groups.is_empty()
            && self.task_groups.values().any(|g| g.desired_canaries > 0)
            && self
                .task_groups
                .values()
                .all(|g| g.desired_canaries == 0 || g.auto_promote)
    }
}

/// Progress of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentState {
    /// On failure, go back.
    pub auto_revert: bool,
    /// Promote when healthy.
    pub auto_promote: bool,
    /// Its canaries were promoted.
    pub promoted: bool,
    /// Ids of the canaries placed.
    pub placed_canaries: Vec<AllocId>,
    /// Canaries wanted.
    pub desired_canaries: u32,
    /// Allocations wanted.
    pub desired_total: u32,
    /// Allocations placed.
    pub placed_allocs: u32,
    /// Of those, healthy.
    pub healthy_allocs: u32,
    /// Of those, unhealthy.
    pub unhealthy_allocs: u32,
    /// Nanoseconds; 0 for none.
    pub progress_deadline: Span,
    /// The next allocation must be healthy by then.
    #[serde(with = "super::rfc3339")]
    pub require_progress_by: Timestamp,
    /// How its canaries get their share of the requests; none while there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<Rollout>>,
}

/// A status change of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentUpdate {
    /// Deployment.
    pub deployment_id: DeploymentId,
    /// New status.
    pub status: DeploymentStatus,
    /// Why; the published texts.
    pub description: String,
}

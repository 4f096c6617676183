use super::id::or_none;
use super::{
    AllocMetric, DeploymentId, EvalId, FlatMap, GroupName, Index, JobId, JobKey, JobType,
    Namespace, NodeId, PlanAnnotations, Span, Text, Timestamp, is_default,
};
use serde::{Deserialize, Serialize};

/// Where an evaluation is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvalStatus {
    /// Waits for capacity.
    Blocked,
    /// Waits for a worker.
    #[default]
    Pending,
    /// Done.
    Complete,
    /// Given up.
    Failed,
    /// Made superfluous by a newer one.
    Canceled,
}

impl EvalStatus {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Pending => "pending",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// True when it will not change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Canceled)
    }
}

/// What made an evaluation necessary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are those of the API and say it all")]
pub enum Trigger {
    #[default]
    JobRegister,
    JobDeregister,
    NodeUpdate,
    NodeDrain,
    AllocStop,
    RollingUpdate,
    DeploymentWatcher,
    FailedFollowUp,
    MaxPlanAttempts,
    AllocFailure,
    AllocReschedule,
    QueuedAllocs,
    JobScaling,
    Preemption,
    PeriodicJob,
}

impl Trigger {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobRegister => "job-register",
            Self::JobDeregister => "job-deregister",
            Self::NodeUpdate => "node-update",
            Self::NodeDrain => "node-drain",
            Self::AllocStop => "alloc-stop",
            Self::RollingUpdate => "rolling-update",
            Self::DeploymentWatcher => "deployment-watcher",
            Self::FailedFollowUp => "failed-follow-up",
            Self::MaxPlanAttempts => "max-plan-attempts",
            Self::AllocFailure => "alloc-failure",
            Self::AllocReschedule => "alloc-reschedule",
            Self::QueuedAllocs => "queued-allocs",
            Self::JobScaling => "job-scaling",
            Self::Preemption => "preemption",
            Self::PeriodicJob => "periodic-job",
        }
    }
}

/// A reason to look at a job and decide what should run where.
///
/// Source: evaluations API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Evaluation {
    /// UUID, chosen by the proposer.
    #[serde(rename = "ID")]
    pub id: EvalId,
    /// Namespace of the job.
    pub namespace: Namespace,
    /// Priority of the job.
    pub priority: i32,
    /// Type of the job.
    #[serde(rename = "Type")]
    pub job_type: JobType,
    /// What made it necessary.
    pub triggered_by: Trigger,
    /// Job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// `job_modify_index` of the job when it was made.
    #[serde(skip_serializing_if = "is_default")]
    pub job_modify_index: Index,
    /// Node that changed.
    #[serde(
        rename = "NodeID",
        deserialize_with = "or_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub node_id: Option<NodeId>,
    /// Deployment it belongs to.
    #[serde(
        rename = "DeploymentID",
        deserialize_with = "or_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub deployment_id: Option<DeploymentId>,
    /// Where it is in its life.
    pub status: EvalStatus,
    /// Why.
    #[serde(skip_serializing_if = "is_default")]
    pub status_description: Text,
    /// Not before this instant; 0 is at once.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(with = "super::rfc3339")]
    pub wait_until: Timestamp,
    /// Pause; kept for old clients.
    #[serde(skip_serializing_if = "is_default")]
    pub wait: Span,
    /// The one that follows it.
    #[serde(deserialize_with = "or_none", skip_serializing_if = "Option::is_none")]
    pub next_eval: Option<EvalId>,
    /// The one it follows.
    #[serde(deserialize_with = "or_none", skip_serializing_if = "Option::is_none")]
    pub previous_eval: Option<EvalId>,
    /// The one that waits for capacity for what could not be placed.
    #[serde(deserialize_with = "or_none", skip_serializing_if = "Option::is_none")]
    pub blocked_eval: Option<EvalId>,
    /// Group to the reason why it could not be placed.
    #[serde(rename = "FailedTGAllocs", skip_serializing_if = "is_default")]
    pub failed_tg_allocs: FlatMap<GroupName, AllocMetric>,
    /// Group to the number not placed yet.
    #[serde(skip_serializing_if = "is_default")]
    pub queued_allocations: FlatMap<GroupName, u32>,
    /// What the plan wanted, kept for previews.
    #[serde(skip_serializing_if = "is_default")]
    pub plan_annotations: Option<Box<PlanAnnotations>>,
    /// Index of the snapshot that the scheduler saw.
    #[serde(skip_serializing_if = "is_default")]
    pub snapshot_index: Index,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change.
    pub modify_index: Index,
    /// Nanoseconds since the epoch.
    pub create_time: Timestamp,
    /// Nanoseconds since the epoch.
    pub modify_time: Timestamp,
}

impl Evaluation {
    /// The key of its job.
    pub fn job_key(&self) -> JobKey {
        JobKey::new(self.namespace.clone(), self.job_id.clone())
    }
}

use crate::model::{
    ClientStatus, DeploymentStatus, DesiredTransition, Eligibility, Evaluation, FlatMap, Index,
    Job, JobKey, NetworkStatus, Node, NodeStatus, PlanResult, ScalingEvent, Submission, TaskState,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A change of the jobs tables, as it stands in the log.
///
/// Every id and time in it was chosen by the proposer; applying it makes none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Registers a job or a new version of it.
    RegisterJob(Box<RegisterJob>),
    /// Stops a job, or removes it.
    DeregisterJob(DeregisterJob),
    /// Marks a version of a job as stable or not.
    MarkStable {
        /// Job.
        key: JobKey,
        /// Version.
        version: u64,
        /// New mark.
        stable: bool,
    },
    /// Writes evaluations.
    UpsertEvals(Vec<Evaluation>),
    /// Registers a node or renews what is known of it.
    UpsertNode(Box<Node>),
    /// Changes where a node is in its life; evaluations for its jobs ride along.
    UpdateNodeStatus {
        /// Node.
        node_id: String,
        /// New status.
        status: NodeStatus,
        /// Evaluations of the jobs that it runs.
        evals: Vec<Evaluation>,
    },
    /// Changes whether a node takes new allocations.
    UpdateNodeEligibility {
        /// Node.
        node_id: String,
        /// New value.
        eligibility: Eligibility,
        /// Evaluations of system jobs and blocked ones.
        evals: Vec<Evaluation>,
    },
    /// Commits verified plans, one per evaluation of a batch.
    ApplyPlans(Vec<PlanResult>),
    /// Takes over what clients report.
    UpdateAllocs {
        /// One per allocation.
        updates: Vec<AllocUpdate>,
        /// Evaluations that failed allocations need.
        evals: Vec<Evaluation>,
    },
    /// Records wishes for the next evaluation of some allocations.
    TransitionAllocs {
        /// Allocation id to the wish.
        transitions: BTreeMap<String, DesiredTransition>,
        /// Evaluations that act on them.
        evals: Vec<Evaluation>,
    },
    /// Changes where a deployment is in its life.
    UpdateDeployment {
        /// The change.
        update: DeploymentUpdate,
        /// Evaluation that acts on it.
        eval: Option<Evaluation>,
        /// Version to go back to, registered as the next version in the same entry.
        revert: Option<Box<Job>>,
    },
    /// Makes canaries normal.
    PromoteDeployment {
        /// Deployment.
        deployment_id: String,
        /// Groups; empty is all.
        groups: Vec<String>,
        /// Evaluation that goes on with the rest.
        eval: Evaluation,
    },
    /// Sets the health of allocations by hand or by the controller.
    SetAllocHealth {
        /// Deployment.
        deployment_id: String,
        /// Turned healthy.
        healthy: Vec<String>,
        /// Turned unhealthy.
        unhealthy: Vec<String>,
        /// Status change that follows.
        update: Option<DeploymentUpdate>,
        /// Evaluation that acts on it.
        eval: Option<Evaluation>,
        /// Version to go back to.
        revert: Option<Box<Job>>,
    },
    /// Forgets what is over.
    Collect {
        /// Evaluations.
        evals: Vec<String>,
        /// Allocations.
        allocs: Vec<String>,
        /// Deployments.
        deployments: Vec<String>,
        /// Jobs with their versions and summaries.
        jobs: Vec<JobKey>,
    },
}

impl Command {
    /// The job of which the command may make a version.
    pub fn versioned_job(&self) -> Option<JobKey> {
        match self {
            Self::RegisterJob(command) => Some(command.job.key()),
            Self::DeregisterJob(command) => Some(JobKey {
                namespace: command.namespace.clone(),
                id: command.id.clone(),
            }),
            Self::UpdateDeployment { revert, .. } | Self::SetAllocHealth { revert, .. } => {
                revert.as_ref().map(|job| job.key())
            }
            Self::MarkStable { .. }
            | Self::UpsertEvals(_)
            | Self::UpsertNode(_)
            | Self::UpdateNodeStatus { .. }
            | Self::UpdateNodeEligibility { .. }
            | Self::ApplyPlans(_)
            | Self::UpdateAllocs { .. }
            | Self::TransitionAllocs { .. }
            | Self::PromoteDeployment { .. }
            | Self::Collect { .. } => None,
        }
    }
}

/// Registers a job or a new version of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisterJob {
    /// Canonical and valid; its indexes and version are set by apply.
    pub job: Job,
    /// The text it came from.
    pub submission: Option<Submission>,
    /// Looks at the job; apply fills in its `job_modify_index`.
    pub eval: Option<Evaluation>,
    /// Refuse unless the job's `job_modify_index` is this; 0 is "must not exist".
    pub enforce_index: Option<Index>,
    /// Group to the event, when it comes from scaling.
    pub scaling: BTreeMap<String, ScalingEvent>,
}

/// Stops a job, or removes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeregisterJob {
    /// Namespace.
    pub namespace: String,
    /// Job.
    pub id: String,
    /// Remove it rather than keeping it as dead.
    pub purge: bool,
    /// When, nanoseconds since the epoch.
    pub submit_time: i64,
    /// Stops its allocations.
    pub eval: Option<Evaluation>,
}

/// A status change of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentUpdate {
    /// Deployment.
    pub deployment_id: String,
    /// New status.
    pub status: DeploymentStatus,
    /// Why; the published texts.
    pub description: String,
}

/// What a client reports of one allocation. Nothing else of the row may change by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllocUpdate {
    /// Allocation.
    pub alloc_id: String,
    /// New status.
    pub client_status: ClientStatus,
    /// Why.
    pub client_description: String,
    /// Task name to its state: all tasks.
    pub task_states: FlatMap<String, TaskState>,
    /// Health in the deployment and when it was decided; none while undecided.
    pub health: Option<(bool, Timestamp)>,
    /// Address of its network.
    pub network_status: Option<NetworkStatus>,
}

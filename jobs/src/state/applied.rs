use super::JOB_TAGS_MAX;
use crate::model::{
    Allocation, Deployment, DeploymentId, Evaluation, GroupName, Index, Job, JobId, JobKey, Node,
    Timestamp, Variable, VariableKey,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// When a command takes effect. Identical on every server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Place of the entry in the log.
    pub index: Index,
    /// Proposer's time.
    #[serde(rename = "now")]
    pub now: Timestamp,
}

/// A table, as far as watchers tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Jobs, their versions and submissions.
    Jobs,
    /// Counts per job.
    Summaries,
    /// Evaluations.
    Evals,
    /// Allocations.
    Allocs,
    /// Deployments.
    Deployments,
    /// Nodes.
    Nodes,
    /// Scaling events.
    ScalingEvents,
    /// Variables.
    Variables,
    /// Keys that variables are encrypted with.
    RootKeys,
    /// How the servers schedule.
    SchedulerConfig,
    /// How the servers look after their group.
    AutopilotConfig,
}

/// What a command changed; everything is empty when it changed nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Tables with at least one changed row.
    pub tables: BTreeSet<Table>,
    /// Jobs created, changed (including their derived status) or removed.
    pub jobs: Vec<JobChange>,
    /// Evaluations written, in order; a removed one is not listed.
    pub evals: Vec<Arc<Evaluation>>,
    /// Allocations created, changed or removed. One allocation may be listed more than once.
    pub allocs: Vec<AllocChange>,
    /// Deployments written.
    pub deployments: Vec<Arc<Deployment>>,
    /// Nodes created, changed or removed.
    pub nodes: Vec<NodeChange>,
    /// Variables created, changed or removed.
    pub variables: Vec<VariableKey>,
}

/// A job before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct JobChange {
    /// Which.
    pub key: JobKey,
    /// None when it is new.
    pub before: Option<Arc<Job>>,
    /// None when it was removed.
    pub after: Option<Arc<Job>>,
}

/// An allocation before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct AllocChange {
    /// None when it is new.
    pub before: Option<Arc<Allocation>>,
    /// None when it was removed.
    pub after: Option<Arc<Allocation>>,
}

impl AllocChange {
    /// The newest known form of the row.
    pub fn row(&self) -> Option<&Arc<Allocation>> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

/// A node before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeChange {
    /// None when it is new.
    pub before: Option<Arc<Node>>,
    /// None when it was removed.
    pub after: Option<Arc<Node>>,
}

impl NodeChange {
    /// The newest known form of the row.
    pub fn row(&self) -> Option<&Arc<Node>> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

/// Why a command was not carried out; nothing was changed. An outcome, equal on every server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejected {
    /// The job changed since the caller looked.
    #[error("Enforcing job modify index {wanted}: {found}")]
    Enforce {
        /// What the caller expected.
        wanted: Index,
        /// What is there.
        found: String,
    },
    /// The scheduler's configuration changed since the caller looked.
    #[error("the scheduler configuration changed at index {found}, expected {wanted}")]
    SchedulerConfigChanged {
        /// What the caller expected.
        wanted: Index,
        /// What is there.
        found: Index,
    },
    /// The configuration of autopilot changed since the caller looked.
    #[error("the autopilot configuration changed at index {found}, expected {wanted}")]
    AutopilotConfigChanged {
        /// What the caller expected.
        wanted: Index,
        /// What is there.
        found: Index,
    },
    /// There is no such job.
    #[error("job not found")]
    NoJob,
    /// The job has no such version.
    #[error("job version not found")]
    NoVersion,
    /// Another version than the caller expected is current.
    #[error("current job has version {found}; enforcing version {wanted}")]
    PriorVersion {
        /// What the caller expected.
        wanted: u64,
        /// What is current.
        found: u64,
    },
    /// A revert to the version that is current.
    #[error("can't revert to current version")]
    SameVersion {
        /// The version.
        version: u64,
    },
    /// The job has no version to be named.
    #[error("job {job:?} version {version} not found")]
    NoVersionToTag {
        /// The job.
        job: JobId,
        /// The version.
        version: u64,
    },
    /// Another version of the job has that name.
    #[error("tag {name:?} already exists on a different version of job {job:?}")]
    TagTaken {
        /// The name.
        name: String,
        /// The job.
        job: JobId,
    },
    /// No version of the job has that name.
    #[error("tag {name:?} not found on job {job:?}")]
    NoTag {
        /// The name.
        name: String,
        /// The job.
        job: JobId,
    },
    /// Too many versions of the job have names.
    #[error("at most {JOB_TAGS_MAX} versions of a job may have names: unset one first")]
    TooManyTags,
    /// A child of the job was launched with the same token.
    #[error("job {child:?} was launched with this idempotency token already")]
    LaunchedAlready {
        /// The child.
        child: JobId,
    },
    /// That is not done with jobs of this kind.
    #[error("{0}")]
    WrongKind(String),
    /// There is no such node.
    #[error("node not found")]
    NoNode,
    /// The node id is registered with another secret.
    #[error("node secret ID does not match")]
    Secret,
    /// There is no such allocation.
    #[error("alloc not found")]
    NoAlloc,
    /// There is no such deployment.
    #[error("deployment not found")]
    NoDeployment,
    /// The deployment is over.
    #[error("deployment {id} has terminal status {status:?}")]
    DeploymentOver {
        /// Which.
        id: DeploymentId,
        /// Its status, as in the API.
        status: String,
    },
    /// The deployment's group has no canaries that wait to be promoted.
    #[error("task group {group:?} of the deployment has no canaries that wait to be promoted")]
    NoCanaries {
        /// The group.
        group: GroupName,
    },
    /// Several groups have canaries.
    #[error("several task groups of the deployment have canaries: name one")]
    WhichGroup,
    /// There is no such step.
    #[error("the rollout has no step there")]
    NoStep,
    /// There is no step before the first one.
    #[error("the rollout is at its first step")]
    FirstStep,
    /// Somebody else changed the rollout since the caller looked.
    #[error("the rollout changed meanwhile: it is at revision {revision}")]
    RolloutMoved {
        /// Its revision.
        revision: u64,
    },
    /// A count may not change while a deployment runs.
    #[error("job scaling blocked due to active deployment")]
    ScalingBlocked,
    /// The job has no such group.
    #[error("task group {group:?} specified for scaling does not exist in job")]
    NoGroup {
        /// The name.
        group: GroupName,
    },
    /// The count is out of bounds.
    #[error("scaling action count must be between 0 and {count_max}")]
    Count {
        /// Largest count.
        count_max: u32,
    },
    /// The count is below what the group's scaling policy allows.
    #[error("group count was less than scaling policy minimum: {count} < {min}")]
    BelowMinimum {
        /// Wanted count.
        count: i64,
        /// Least count.
        min: i64,
    },
    /// The count is above what the group's scaling policy allows.
    #[error("group count was greater than scaling policy maximum: {count} > {max}")]
    AboveMaximum {
        /// Wanted count.
        count: i64,
        /// Largest count.
        max: i64,
    },
    /// The canaries of a group cannot be promoted yet.
    #[error("{0}")]
    NotPromotable(String),
    /// The variable changed since the caller looked.
    #[error("cas error: the variable was changed at another index")]
    VariableChanged {
        /// What is there; none when there is no such variable.
        found: Option<Box<Variable>>,
    },
    /// Somebody else holds the lock of the variable.
    #[error("attempting to modify locked variable")]
    VariableLocked,
    /// There is no such variable.
    #[error("variable doesn't exist")]
    NoVariable,
    /// The variable has no lock.
    #[error("variable doesn't hold a lock")]
    NoLock,
    /// There is no such root key.
    #[error("root key not found")]
    NoRootKey,
    /// The key encrypts what is written.
    #[error("active root key cannot be deleted - call rotate first")]
    RootKeyActive,
    /// Variables are encrypted with the key.
    #[error("root key in use, cannot delete")]
    RootKeyInUse,
}

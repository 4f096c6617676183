//! The commands of the jobs tables, and how each is carried out: a file each.

mod apply_plans;
mod collect;
mod deregister_job;
mod mark_stable;
mod promote_deployment;
mod register_job;
mod set_alloc_health;
mod transition_allocs;
mod update_allocs;
mod update_deployment;
mod update_node_eligibility;
mod update_node_status;
mod upsert_node;

use super::{Applied, Rejected, Snapshot, Stamp, change::Change};
use crate::model::{
    AllocId, ClientStatus, DeploymentId, DeploymentUpdate, DesiredTransition, Eligibility, EvalId,
    Evaluation, FlatMap, Index, Job, JobKey, NetworkStatus, Node, NodeId, NodeStatus, PlanResult,
    ScalingEvent, Submission, TaskState, Timestamp,
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
        node_id: NodeId,
        /// New status.
        status: NodeStatus,
        /// Evaluations of the jobs that it runs.
        evals: Vec<Evaluation>,
    },
    /// Changes whether a node takes new allocations.
    UpdateNodeEligibility {
        /// Node.
        node_id: NodeId,
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
    /// Sets desired transitions, which the next evaluation of the allocations acts on.
    TransitionAllocs {
        /// Allocation id to its transition.
        transitions: BTreeMap<AllocId, DesiredTransition>,
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
    /// Promotes canaries.
    PromoteDeployment {
        /// Deployment.
        deployment_id: DeploymentId,
        /// Groups; empty is all.
        groups: Vec<String>,
        /// Evaluation that goes on with the rest.
        eval: Evaluation,
    },
    /// Sets the health of allocations by hand or by the controller.
    SetAllocHealth {
        /// Deployment.
        deployment_id: DeploymentId,
        /// Turned healthy.
        healthy: Vec<AllocId>,
        /// Turned unhealthy.
        unhealthy: Vec<AllocId>,
        /// Status change that follows.
        update: Option<DeploymentUpdate>,
        /// Evaluation that acts on it.
        eval: Option<Evaluation>,
        /// Version to go back to.
        revert: Option<Box<Job>>,
    },
    /// Deletes terminal rows.
    Collect {
        /// Evaluations.
        evals: Vec<EvalId>,
        /// Allocations.
        allocs: Vec<AllocId>,
        /// Deployments.
        deployments: Vec<DeploymentId>,
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

/// What a client reports of one allocation. Nothing else of the row may change by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllocUpdate {
    /// Allocation.
    pub alloc_id: AllocId,
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

impl Command {
    /// The earlier version of a job that a failing deployment goes back to, if this does so.
    pub fn revert(&self) -> Option<&Job> {
        match self {
            Self::UpdateDeployment { revert, .. } | Self::SetAllocHealth { revert, .. } => {
                revert.as_deref()
            }
            _ => None,
        }
    }

    /// Carries out the command on `tables`, entirely or not at all.
    pub(super) fn apply(self, tables: &mut Snapshot, at: Stamp) -> Result<Applied, Rejected> {
        let mut change = Change::new(at);
        match self {
            Self::RegisterJob(registration) => tables.register_job(&mut change, *registration)?,
            Self::DeregisterJob(request) => tables.deregister_job(&mut change, request)?,
            Self::MarkStable {
                key,
                version,
                stable,
            } => tables.mark_stable(&mut change, &key, version, stable)?,
            Self::UpsertEvals(evals) => tables.upsert_evals(&mut change, evals),
            Self::UpsertNode(node) => tables.upsert_node(&mut change, *node)?,
            Self::UpdateNodeStatus {
                node_id,
                status,
                evals,
            } => tables.update_node_status(&mut change, node_id, status, evals)?,
            Self::UpdateNodeEligibility {
                node_id,
                eligibility,
                evals,
            } => tables.update_node_eligibility(&mut change, node_id, eligibility, evals)?,
            Self::ApplyPlans(results) => {
                for result in results {
                    tables.apply_plan(&mut change, result);
                }
            }
            Self::UpdateAllocs { updates, evals } => {
                tables.update_allocs(&mut change, updates);
                tables.upsert_evals(&mut change, evals);
            }
            Self::TransitionAllocs { transitions, evals } => {
                tables.transition_allocs(&mut change, transitions);
                tables.upsert_evals(&mut change, evals);
            }
            Self::UpdateDeployment {
                update,
                eval,
                revert,
            } => tables.update_deployment(&mut change, update, eval, revert)?,
            Self::PromoteDeployment {
                deployment_id,
                groups,
                eval,
            } => tables.promote_deployment(&mut change, deployment_id, &groups, eval)?,
            Self::SetAllocHealth {
                deployment_id,
                healthy,
                unhealthy,
                update,
                eval,
                revert,
            } => {
                tables.set_alloc_health(&mut change, deployment_id, &healthy, &unhealthy)?;
                tables.follow_up(&mut change, update, eval, revert);
            }
            Self::Collect {
                evals,
                allocs,
                deployments,
                jobs,
            } => tables.collect(&mut change, &evals, &allocs, &deployments, &jobs),
        }
        Ok(change.finish(tables))
    }
}

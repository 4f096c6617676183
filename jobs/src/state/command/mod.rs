//! The commands of the jobs tables, and how each is carried out: a file each.

mod apply_plans;
mod collect;
mod deregister_job;
mod deregister_node;
mod mark_stable;
mod promote_deployment;
mod register_job;
mod root_keys;
mod scale_job;
mod set_alloc_health;
mod set_autopilot_config;
#[cfg(feature = "next")]
mod set_node_note;
mod set_rollout;
mod set_scheduler_config;
mod tag_version;
mod transition_allocs;
mod update_allocs;
mod update_deployment;
mod update_node_drain;
mod update_node_eligibility;
mod update_node_status;
mod upsert_node;
mod write_variable;

pub use scale_job::ScaleJob;
pub use set_rollout::SetRollout;
pub use tag_version::TagVersion;
pub use update_deployment::Revert;
pub use write_variable::{VariableVerb, WriteVariable};

use super::{Applied, Rejected, Snapshot, Stamp, change::Change};
use crate::model::{
    AllocId, AutopilotConfig, ClientStatus, DeploymentId, DeploymentUpdate, DesiredTransition,
    DrainStrategy, Eligibility, EvalId, Evaluation, FlatMap, GroupName, Index, Job, JobId, JobKey,
    Namespace, NetworkStatus, Node, NodeId, NodeStatus, PlanResult, RootKey, RootKeyId,
    SchedulerConfig, Sealed, Submission, TaskName, TaskState, Text, Timestamp, VariableKey,
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
    /// Changes the count of a group.
    ScaleJob(Box<ScaleJob>),
    /// Marks a version of a job as stable or not.
    MarkStable {
        /// Job.
        key: JobKey,
        /// Version.
        version: u64,
        /// New mark.
        stable: bool,
    },
    /// Names a version of a job, or takes its name away.
    TagVersion(Box<TagVersion>),
    /// Writes evaluations.
    UpsertEvals(Vec<Evaluation>),
    /// Registers a node or renews what is known of it.
    UpsertNode(Box<Node>),
    /// Changes where nodes are in their lives; evaluations for their jobs ride along.
    UpdateNodeStatus {
        /// Nodes; those that are unknown are left out.
        node_ids: Vec<NodeId>,
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
    /// Begins to empty a node, changes how, or ends it.
    UpdateNodeDrain(Box<UpdateNodeDrain>),
    /// Forgets a node, whatever it runs.
    DeregisterNode {
        /// Node.
        node_id: NodeId,
        /// Evaluations of the jobs that it runs.
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
        /// Registered as the next version in the same entry, unless the job changed meanwhile.
        revert: Option<Box<Revert>>,
    },
    /// Promotes canaries.
    PromoteDeployment {
        /// Deployment.
        deployment_id: DeploymentId,
        /// Groups; empty is all.
        groups: Vec<GroupName>,
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
        /// Registered as the next version, unless the job changed meanwhile.
        revert: Option<Box<Revert>>,
    },
    /// Changes how canaries get their share of the requests.
    SetRollout(Box<SetRollout>),
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
        /// Nodes that are down and run nothing.
        nodes: Vec<NodeId>,
    },
    /// Writes, removes, locks or unlocks a variable.
    WriteVariable(Box<WriteVariable>),
    /// Encrypts the same contents of a variable with another key.
    ResealVariable {
        /// Which.
        key: VariableKey,
        /// The contents.
        sealed: Sealed,
        /// Where they were read; nothing happens if they changed since.
        seen: Index,
    },
    /// Adds a key of variables, which is the active one from then on.
    AddRootKey {
        /// The key, encrypted.
        root_key: RootKey,
        /// Only when there is none yet.
        only_first: bool,
    },
    /// Removes a key of variables.
    RemoveRootKey {
        /// Which.
        id: RootKeyId,
        /// Also when variables can be read with no other.
        even_if_used: bool,
    },
    /// Changes how the servers schedule.
    SetSchedulerConfig {
        /// The whole configuration; its indexes are set by apply.
        config: SchedulerConfig,
        /// Refuse unless its `modify_index` is this.
        expected: Option<Index>,
    },
    /// Changes how the servers look after their group.
    SetAutopilotConfig {
        /// The whole configuration; its indexes are set by apply.
        config: AutopilotConfig,
        /// Refuse unless its `modify_index` is this.
        expected: Option<Index>,
    },
    /// Notes something of a node, in a build for tests.
    #[cfg(feature = "next")]
    SetNodeNote {
        /// Node.
        node_id: NodeId,
        /// The note, in the place of the one before.
        note: String,
    },
}

impl Command {
    /// The job of which the command may make a version.
    pub fn versioned_job(&self) -> Option<JobKey> {
        match self {
            Self::RegisterJob(command) => Some(command.job.key()),
            Self::ScaleJob(command) => {
                Some(JobKey::new(command.namespace.clone(), command.id.clone()))
            }
            Self::DeregisterJob(command) => Some(JobKey {
                namespace: command.namespace.clone(),
                id: command.id.clone(),
            }),
            Self::UpdateDeployment { revert, .. } | Self::SetAllocHealth { revert, .. } => {
                revert.as_ref().map(|revert| revert.job.key())
            }
            Self::SetRollout(command) => command.revert.as_ref().map(|revert| revert.job.key()),
            Self::MarkStable { .. }
            | Self::TagVersion(_)
            | Self::UpsertEvals(_)
            | Self::UpsertNode(_)
            | Self::UpdateNodeStatus { .. }
            | Self::UpdateNodeEligibility { .. }
            | Self::UpdateNodeDrain(_)
            | Self::DeregisterNode { .. }
            | Self::ApplyPlans(_)
            | Self::UpdateAllocs { .. }
            | Self::TransitionAllocs { .. }
            | Self::PromoteDeployment { .. }
            | Self::Collect { .. }
            | Self::WriteVariable(_)
            | Self::ResealVariable { .. }
            | Self::AddRootKey { .. }
            | Self::RemoveRootKey { .. }
            | Self::SetSchedulerConfig { .. }
            | Self::SetAutopilotConfig { .. } => None,
            #[cfg(feature = "next")]
            Self::SetNodeNote { .. } => None,
        }
    }
}

/// Begins to empty a node, changes how, or ends it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateNodeDrain {
    /// Node.
    pub node_id: NodeId,
    /// How it is emptied from now on; none ends it.
    pub strategy: Option<DrainStrategy>,
    /// When it ends, the node takes new allocations again.
    pub mark_eligible: bool,
    /// What is noted with it; empty keeps what was noted before.
    pub meta: BTreeMap<String, String>,
    /// It ends because nothing is left: the drain that is over. Nothing happens if another one is
    /// under way by then.
    pub completes: Option<DrainStrategy>,
    /// What was left at the deadline was moved at once.
    pub deadline_reached: bool,
    /// Evaluations of the jobs that the node could run.
    pub evals: Vec<Evaluation>,
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
    /// Groups that exist already keep the counts that they have when the entry is applied.
    pub preserve_counts: bool,
}

/// Stops a job, or removes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeregisterJob {
    /// Namespace.
    pub namespace: Namespace,
    /// Job.
    pub id: JobId,
    /// Remove it rather than keeping it as dead.
    pub purge: bool,
    /// When.
    pub submit_time: Timestamp,
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
    pub client_description: Text,
    /// Task name to its state: all tasks.
    pub task_states: FlatMap<TaskName, TaskState>,
    /// Health in the deployment and when it was decided; none while undecided.
    #[serde(with = "crate::model::rfc3339::decision")]
    pub health: Option<(bool, Timestamp)>,
    /// Address of its network.
    pub network_status: Option<Box<NetworkStatus>>,
}

impl Command {
    /// Id of the evaluation that rides along, the first if there are several.
    pub fn eval_id(&self) -> Option<EvalId> {
        let eval = match self {
            Self::RegisterJob(command) => command.eval.as_ref(),
            Self::DeregisterJob(command) => command.eval.as_ref(),
            Self::ScaleJob(command) => command.eval.as_ref(),
            Self::PromoteDeployment { eval, .. } => Some(eval),
            Self::SetRollout(command) => command.eval.as_ref(),
            Self::UpdateDeployment { eval, .. } | Self::SetAllocHealth { eval, .. } => {
                eval.as_ref()
            }
            Self::UpdateNodeDrain(command) => command.evals.first(),
            Self::UpsertEvals(evals)
            | Self::DeregisterNode { evals, .. }
            | Self::UpdateNodeStatus { evals, .. }
            | Self::UpdateNodeEligibility { evals, .. }
            | Self::UpdateAllocs { evals, .. }
            | Self::TransitionAllocs { evals, .. } => evals.first(),
            Self::MarkStable { .. }
            | Self::TagVersion(_)
            | Self::UpsertNode(_)
            | Self::ApplyPlans(_)
            | Self::Collect { .. }
            | Self::WriteVariable(_)
            | Self::ResealVariable { .. }
            | Self::AddRootKey { .. }
            | Self::RemoveRootKey { .. }
            | Self::SetSchedulerConfig { .. }
            | Self::SetAutopilotConfig { .. } => None,
            #[cfg(feature = "next")]
            Self::SetNodeNote { .. } => None,
        };
        eval.map(|eval| eval.id)
    }

    /// The version that it goes back to, if nothing changes before it is applied.
    pub fn revert(&self) -> Option<&Revert> {
        match self {
            Self::UpdateDeployment { revert, .. } | Self::SetAllocHealth { revert, .. } => {
                revert.as_deref()
            }
            Self::SetRollout(command) => command.revert.as_deref(),
            _ => None,
        }
    }

    /// Carries out the command on `tables`, entirely or not at all.
    pub(super) fn apply(self, tables: &mut Snapshot, at: Stamp) -> Result<Applied, Rejected> {
        let mut change = Change::new(at);
        match self {
            Self::RegisterJob(registration) => tables.register_job(&mut change, *registration)?,
            Self::DeregisterJob(request) => tables.deregister_job(&mut change, request)?,
            Self::ScaleJob(command) => tables.scale_job(&mut change, *command)?,
            Self::MarkStable {
                key,
                version,
                stable,
            } => tables.mark_stable(&mut change, &key, version, stable)?,
            Self::TagVersion(command) => tables.tag_version(&mut change, *command)?,
            Self::UpsertEvals(evals) => tables.upsert_evals(&mut change, evals),
            Self::UpsertNode(node) => tables.upsert_node(&mut change, *node)?,
            Self::UpdateNodeStatus {
                node_ids,
                status,
                evals,
            } => tables.update_node_status(&mut change, &node_ids, status, evals)?,
            Self::UpdateNodeEligibility {
                node_id,
                eligibility,
                evals,
            } => tables.update_node_eligibility(&mut change, node_id, eligibility, evals)?,
            Self::UpdateNodeDrain(command) => tables.update_node_drain(&mut change, *command)?,
            Self::DeregisterNode { node_id, evals } => {
                tables.deregister_node(&mut change, node_id, evals)?;
            }
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
            Self::SetRollout(command) => tables.set_rollout(&mut change, *command)?,
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
                nodes,
            } => {
                tables.collect(&mut change, &evals, &allocs, &deployments, &jobs);
                tables.collect_nodes(&mut change, &nodes);
            }
            Self::WriteVariable(command) => tables.write_variable(&mut change, *command)?,
            Self::ResealVariable { key, sealed, seen } => {
                tables.reseal_variable(&key, sealed, seen);
            }
            Self::AddRootKey {
                root_key,
                only_first,
            } => tables.add_root_key(&mut change, root_key, only_first),
            Self::RemoveRootKey { id, even_if_used } => {
                tables.remove_root_key(&mut change, id, even_if_used)?;
            }
            Self::SetSchedulerConfig { config, expected } => {
                tables.set_scheduler_config(&mut change, config, expected)?;
            }
            Self::SetAutopilotConfig { config, expected } => {
                tables.set_autopilot_config(&mut change, config, expected)?;
            }
            #[cfg(feature = "next")]
            Self::SetNodeNote { node_id, note } => {
                tables.set_node_note(&mut change, node_id, note)?;
            }
        }
        Ok(change.finish(tables))
    }
}

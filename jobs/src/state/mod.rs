//! The replicated tables of the jobs side.
//!
//! [`State::apply`] is the only way to change them. A clone of the state is a snapshot: tables are
//! persistent maps and rows are shared.

mod applied;
mod clients;
mod collect;
mod command;
mod nodes;
mod plans;
mod query;
mod register;
mod rollout;
mod rows;
mod saved;
mod tally;
mod usage;

pub use applied::{AllocChange, Applied, JobChange, NodeChange, Rejected, Stamp, Table};
pub use command::{AllocUpdate, Command, DeploymentUpdate, DeregisterJob, RegisterJob};
pub use saved::{Loading, SavedAlloc, SavedRow};
pub use usage::{NodeUsage, dynamic_ports, first_port};

use crate::model::{
    Allocation, Deployment, Evaluation, Index, Job, JobKey, JobSummary, Node, ScalingEvent,
    Submission,
};
use imbl::{OrdMap, OrdSet};
use std::{collections::BTreeMap, sync::Arc};
use tally::Tally;

/// How many versions of a job are kept besides the newest stable one.
pub const JOB_VERSIONS_MAX: usize = 6;
/// How many scaling events are kept per group of a job.
pub const SCALING_EVENTS_MAX: usize = 20;
/// Longest job file that is kept with a version, bytes.
pub const SUBMISSION_BYTES_MAX: usize = 1_000_000;

/// Scaling events of a job by group, newest first.
pub type ScalingEvents = BTreeMap<String, Vec<ScalingEvent>>;

/// All tables.
///
/// Invariants:
/// 1. Every secondary index holds exactly the keys of its table's rows.
/// 2. `summaries`, `tallies` and `usage` are functions of the history of rows and never recounted.
/// 3. The row in `jobs` is the first of `versions`.
#[derive(Clone, Debug, Default)]
pub struct State {
    index: Index,
    table_indexes: BTreeMap<Table, Index>,
    jobs: OrdMap<Arc<JobKey>, Arc<Job>>,
    versions: OrdMap<Arc<JobKey>, Arc<[Arc<Job>]>>,
    submissions: OrdMap<(Arc<JobKey>, u64), Arc<Submission>>,
    summaries: OrdMap<Arc<JobKey>, Arc<JobSummary>>,
    scaling_events: OrdMap<Arc<JobKey>, Arc<ScalingEvents>>,
    tallies: OrdMap<Arc<JobKey>, Tally>,
    evals: OrdMap<Arc<str>, Arc<Evaluation>>,
    evals_by_job: OrdSet<(Arc<JobKey>, Arc<str>)>,
    allocs: OrdMap<Arc<str>, Arc<Allocation>>,
    allocs_by_job: OrdSet<(Arc<JobKey>, Arc<str>)>,
    /// The flag is true once the client is done with it.
    allocs_by_node: OrdSet<(Arc<str>, bool, Arc<str>)>,
    allocs_by_eval: OrdSet<(Arc<str>, Arc<str>)>,
    allocs_by_deployment: OrdSet<(Arc<str>, Arc<str>)>,
    deployments: OrdMap<Arc<str>, Arc<Deployment>>,
    deployments_by_job: OrdSet<(Arc<JobKey>, Arc<str>)>,
    nodes: OrdMap<Arc<str>, Arc<Node>>,
    usage: OrdMap<Arc<str>, Arc<NodeUsage>>,
}

/// A state that nobody changes any more.
pub type Snapshot = State;

impl State {
    /// Carries out one command of the log.
    ///
    /// # Errors
    /// [`Rejected`] when the command does not apply; nothing was changed then.
    pub fn apply(&mut self, at: Stamp, command: Command) -> Result<Applied, Rejected> {
        let mut change = rows::Change::new(at);
        match command {
            Command::RegisterJob(registration) => self.register_job(&mut change, *registration)?,
            Command::DeregisterJob(request) => self.deregister_job(&mut change, request)?,
            Command::MarkStable {
                key,
                version,
                stable,
            } => self.mark_stable(&mut change, &key, version, stable)?,
            Command::UpsertEvals(evals) => self.upsert_evals(&mut change, evals),
            Command::UpsertNode(node) => self.upsert_node(&mut change, *node)?,
            Command::UpdateNodeStatus {
                node_id,
                status,
                evals,
            } => self.update_node_status(&mut change, &node_id, status, evals)?,
            Command::UpdateNodeEligibility {
                node_id,
                eligibility,
                evals,
            } => self.update_node_eligibility(&mut change, &node_id, eligibility, evals)?,
            Command::ApplyPlans(results) => {
                for result in results {
                    self.apply_plan(&mut change, result);
                }
            }
            Command::UpdateAllocs { updates, evals } => {
                self.update_allocs(&mut change, updates);
                self.upsert_evals(&mut change, evals);
            }
            Command::TransitionAllocs { transitions, evals } => {
                self.transition_allocs(&mut change, transitions);
                self.upsert_evals(&mut change, evals);
            }
            Command::UpdateDeployment {
                update,
                eval,
                revert,
            } => self.update_deployment(&mut change, update, eval, revert)?,
            Command::PromoteDeployment {
                deployment_id,
                groups,
                eval,
            } => self.promote_deployment(&mut change, &deployment_id, &groups, eval)?,
            Command::SetAllocHealth {
                deployment_id,
                healthy,
                unhealthy,
                update,
                eval,
                revert,
            } => {
                self.set_alloc_health(&mut change, &deployment_id, &healthy, &unhealthy)?;
                self.follow_up(&mut change, update, eval, revert);
            }
            Command::Collect {
                evals,
                allocs,
                deployments,
                jobs,
            } => self.collect(&mut change, &evals, &allocs, &deployments, &jobs),
        }
        Ok(self.finish(change))
    }

    /// Derives the status of the jobs that were touched and notes the indexes.
    fn finish(&mut self, mut change: rows::Change) -> Applied {
        self.derive_job_statuses(&mut change);
        let rows::Change { at, applied, .. } = change;
        if !applied.tables.is_empty() {
            self.index = at.index;
            for table in &applied.tables {
                self.table_indexes.insert(*table, at.index);
            }
        }
        applied
    }
}

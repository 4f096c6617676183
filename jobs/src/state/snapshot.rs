use super::{ScalingEvents, Table, tally::Tally};
use crate::model::{
    AllocId, Allocation, AutopilotConfig, Deployment, DeploymentId, EvalId, Evaluation, Index, Job,
    JobKey, JobSummary, Node, NodeId, NodeUsage, RootKey, RootKeyId, SchedulerConfig, Submission,
    Timestamp, Variable, VariableKey,
};
use imbl::{OrdMap, OrdSet};
use std::{collections::BTreeMap, sync::Arc};

/// All tables at one moment; a clone shares structure. Lists come in key order and borrow from it.
///
/// Invariants:
/// 1. Every secondary index holds exactly the keys of its table's rows.
/// 2. `summaries`, `tallies` and `usage` are functions of the history of rows and never recounted.
/// 3. The row in `jobs` is the first of `versions`.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) index: Index,
    pub(super) table_indexes: BTreeMap<Table, Index>,
    pub(super) jobs: OrdMap<Arc<JobKey>, Arc<Job>>,
    /// Keys of the system and sysbatch jobs.
    pub(super) jobs_everywhere: OrdSet<Arc<JobKey>>,
    /// Keys of the jobs with a `periodic` block.
    pub(super) periodic_jobs: OrdSet<Arc<JobKey>>,
    /// When children of a job were launched last.
    pub(super) launches: OrdMap<Arc<JobKey>, Timestamp>,
    /// A job and a token to the child that was launched with it.
    pub(super) launched_with: OrdMap<(JobKey, String), Arc<JobKey>>,
    pub(super) versions: OrdMap<Arc<JobKey>, Arc<[Arc<Job>]>>,
    pub(super) submissions: OrdMap<(Arc<JobKey>, u64), Arc<Submission>>,
    pub(super) summaries: OrdMap<Arc<JobKey>, Arc<JobSummary>>,
    pub(super) scaling_events: OrdMap<Arc<JobKey>, Arc<ScalingEvents>>,
    pub(super) tallies: OrdMap<Arc<JobKey>, Tally>,
    pub(super) evals: OrdMap<EvalId, Arc<Evaluation>>,
    /// Those that are not terminal.
    pub(super) open_evals: OrdSet<EvalId>,
    pub(super) evals_by_job: OrdSet<(Arc<JobKey>, EvalId)>,
    pub(super) allocs: OrdMap<AllocId, Arc<Allocation>>,
    pub(super) allocs_by_job: OrdSet<(Arc<JobKey>, AllocId)>,
    /// The flag is true once the client is done with it.
    pub(super) allocs_by_node: OrdSet<(NodeId, bool, AllocId)>,
    pub(super) allocs_by_eval: OrdSet<(EvalId, AllocId)>,
    pub(super) allocs_by_deployment: OrdSet<(DeploymentId, AllocId)>,
    pub(super) deployments: OrdMap<DeploymentId, Arc<Deployment>>,
    pub(super) deployments_by_job: OrdSet<(Arc<JobKey>, DeploymentId)>,
    pub(super) nodes: OrdMap<NodeId, Arc<Node>>,
    pub(super) usage: OrdMap<NodeId, Arc<NodeUsage>>,
    pub(super) variables: OrdMap<VariableKey, Arc<Variable>>,
    pub(super) root_keys: OrdMap<RootKeyId, Arc<RootKey>>,
    pub(super) scheduler_config: SchedulerConfig,
    pub(super) autopilot_config: AutopilotConfig,
}

impl Snapshot {
    /// Index of the last entry that changed anything here.
    pub fn index(&self) -> Index {
        self.index
    }

    /// How the servers schedule.
    pub fn scheduler_config(&self) -> &SchedulerConfig {
        &self.scheduler_config
    }

    /// How the servers look after their group.
    pub fn autopilot_config(&self) -> &AutopilotConfig {
        &self.autopilot_config
    }

    /// Index of the last change of that table; 0 when it never changed.
    pub fn table_index(&self, table: Table) -> Index {
        self.table_indexes.get(&table).copied().unwrap_or(0)
    }
}

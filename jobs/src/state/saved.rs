//! The state as it is written to a file: row by row, so that neither writing nor reading holds it
//! twice.

use super::{ScalingEvents, Snapshot, Table, tally::Tally};
use crate::model::{
    Allocation, AutopilotConfig, Deployment, Evaluation, Index, Job, JobId, JobKey, JobStatus,
    JobSummary, Namespace, Node, NodeId, NodeUsage, RootKey, SchedulerConfig, Submission,
    Timestamp, Variable,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, iter, sync::Arc};

/// One piece of a state in a file: a row, or what belongs to the whole state.
///
/// Each version of a job is written once. Secondary indexes and usage are left out: they follow
/// from the rows. Counts that depend on rows already deleted are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SavedRow {
    /// The last index, and that of each table.
    Indexes {
        /// Of the whole state.
        last: Index,
        /// By table.
        tables: Vec<(Table, Index)>,
    },
    /// A version that only allocations still refer to.
    OldVersion(Arc<Job>),
    /// A job with its versions, newest first.
    Job(JobKey, Vec<Arc<Job>>),
    /// A node.
    Node(Arc<Node>),
    /// Node id to where the search for its next dynamic port begins.
    PortCursor(NodeId, u16),
    /// An evaluation.
    Eval(Arc<Evaluation>),
    /// A deployment.
    Deployment(Arc<Deployment>),
    /// An allocation.
    Alloc(SavedAlloc),
    /// Counts of a job.
    Summary(Arc<JobSummary>),
    /// Scaling events of a job.
    ScalingEvents(JobKey, Arc<ScalingEvents>),
    /// When children of a job were launched last.
    Launch(JobKey, Timestamp),
    /// The text of a version of a job.
    Submission(JobKey, u64, Arc<Submission>),
    /// A variable, encrypted.
    Variable(Arc<Variable>),
    /// A key of variables, encrypted.
    RootKey(Arc<RootKey>),
    /// How the servers schedule; left out while nobody changed it.
    SchedulerConfig(SchedulerConfig),
    /// How the servers look after their group; left out while nobody changed it.
    AutopilotConfig(AutopilotConfig),
}

impl SavedRow {
    /// Names the table that it belongs to.
    pub fn table(&self) -> &'static str {
        match self {
            Self::Indexes { .. } => "indexes",
            Self::OldVersion(_) => "old versions",
            Self::Job(..) => "jobs",
            Self::Node(_) => "nodes",
            Self::PortCursor(..) => "port cursors",
            Self::Eval(_) => "evaluations",
            Self::Deployment(_) => "deployments",
            Self::Alloc(_) => "allocations",
            Self::Summary(_) => "summaries",
            Self::ScalingEvents(..) => "scaling events",
            Self::Launch(..) => "launches",
            Self::Submission(..) => "submissions",
            Self::Variable(_) => "variables",
            Self::RootKey(_) => "root keys",
            Self::SchedulerConfig(_) => "scheduler configuration",
            Self::AutopilotConfig(_) => "autopilot configuration",
        }
    }
}

/// An allocation and which incarnation of its job it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedAlloc {
    alloc: Arc<Allocation>,
    job_create_index: Index,
}

/// What tells one version of a job from every other.
type VersionKey = (Namespace, JobId, Index, u64);

fn version_key(job: &Job) -> VersionKey {
    (
        job.namespace.clone(),
        job.id.clone(),
        job.create_index,
        job.version,
    )
}

impl Snapshot {
    /// Everything, to be written to a file: rows table by table, in the order in which [`Loading`]
    /// needs them.
    pub fn saved_rows(&self) -> impl Iterator<Item = SavedRow> {
        let indexes = SavedRow::Indexes {
            last: self.index,
            tables: self.table_indexes.iter().map(|(t, i)| (*t, *i)).collect(),
        };
        let jobs = self
            .versions
            .iter()
            .map(|(key, versions)| SavedRow::Job((**key).clone(), versions.to_vec()));
        let cursors = self
            .usage
            .iter()
            .map(|(id, usage)| SavedRow::PortCursor(*id, usage.port_cursor));
        let allocs = self.allocs.values().map(|alloc| {
            SavedRow::Alloc(SavedAlloc {
                alloc: Arc::clone(alloc),
                job_create_index: alloc.job.create_index,
            })
        });
        let events = self
            .scaling_events
            .iter()
            .map(|(key, events)| SavedRow::ScalingEvents((**key).clone(), Arc::clone(events)));
        let launches = self
            .launches
            .iter()
            .map(|(key, at)| SavedRow::Launch((**key).clone(), *at));
        let submissions = self.submissions.iter().map(|((key, version), row)| {
            SavedRow::Submission((**key).clone(), *version, Arc::clone(row))
        });
        let config = Some(self.scheduler_config)
            .filter(|config| config.modify_index != SchedulerConfig::UNCHANGED);
        let autopilot = Some(self.autopilot_config)
            .filter(|config| config.modify_index != AutopilotConfig::UNCHANGED);
        iter::once(indexes)
            .chain(self.old_versions().into_values().map(SavedRow::OldVersion))
            .chain(jobs)
            .chain(self.nodes.values().cloned().map(SavedRow::Node))
            .chain(cursors)
            .chain(self.evals.values().cloned().map(SavedRow::Eval))
            .chain(self.deployments.values().cloned().map(SavedRow::Deployment))
            .chain(allocs)
            .chain(self.summaries.values().cloned().map(SavedRow::Summary))
            .chain(events)
            .chain(launches)
            .chain(submissions)
            .chain(self.variables.values().cloned().map(SavedRow::Variable))
            .chain(self.root_keys.values().cloned().map(SavedRow::RootKey))
            .chain(config.map(SavedRow::SchedulerConfig))
            .chain(autopilot.map(SavedRow::AutopilotConfig))
    }

    /// Versions of jobs that only allocations still refer to.
    fn old_versions(&self) -> BTreeMap<VersionKey, Arc<Job>> {
        let mut old_versions = BTreeMap::new();
        for alloc in self.allocs.values() {
            let kept = self
                .version(&alloc.job_key(), alloc.job.version)
                .is_some_and(|job| job.create_index == alloc.job.create_index);
            if !kept {
                old_versions
                    .entry(version_key(&alloc.job))
                    .or_insert_with(|| Arc::new(as_registered(&alloc.job)));
            }
        }
        old_versions
    }
}

/// A version of a job as it was registered. How it stood when it was forgotten is not kept: each of
/// its allocations holds it as it stood when that one was placed, so that a state that was restored
/// would keep something else than one that was not.
fn as_registered(version: &Job) -> Job {
    Job {
        status: JobStatus::default(),
        status_description: String::new(),
        stable: false,
        version_tag: None,
        modify_index: version.job_modify_index,
        ..version.clone()
    }
}

/// A state that is read back row by row.
#[derive(Debug, Default)]
pub struct Loading {
    tables: Snapshot,
    versions: BTreeMap<VersionKey, Arc<Job>>,
}

impl Loading {
    /// Takes over one row, in the order of [`Snapshot::saved_rows`].
    pub fn add(&mut self, row: SavedRow) {
        let tables = &mut self.tables;
        match row {
            SavedRow::Indexes {
                last,
                tables: by_table,
            } => {
                tables.index = last;
                tables.table_indexes = by_table.into_iter().collect();
            }
            SavedRow::OldVersion(job) => {
                self.versions.insert(version_key(&job), job);
            }
            SavedRow::Job(_, versions) => tables.load_job(versions, &mut self.versions),
            SavedRow::Node(node) => {
                tables.nodes.insert(node.id, node);
            }
            SavedRow::PortCursor(id, cursor) => tables.load_port_cursor(id, cursor),
            SavedRow::Eval(eval) => tables.load_eval(eval),
            SavedRow::Deployment(deployment) => tables.load_deployment(deployment),
            SavedRow::Alloc(row) => tables.load_alloc(row, &self.versions),
            SavedRow::Summary(summary) => {
                let key = tables.job_key(&summary.namespace, &summary.job_id);
                tables.summaries.insert(key, summary);
            }
            SavedRow::ScalingEvents(key, events) => {
                let key = tables.job_key(&key.namespace, &key.id);
                tables.scaling_events.insert(key, events);
            }
            SavedRow::Launch(key, at) => {
                let key = tables.job_key(&key.namespace, &key.id);
                tables.launches.insert(key, at);
            }
            SavedRow::Submission(key, version, submission) => {
                let key = tables.job_key(&key.namespace, &key.id);
                tables.submissions.insert((key, version), submission);
            }
            SavedRow::Variable(variable) => {
                tables.variables.insert(variable.key.clone(), variable);
            }
            SavedRow::RootKey(root_key) => {
                tables.root_keys.insert(root_key.id, root_key);
            }
            SavedRow::SchedulerConfig(config) => tables.scheduler_config = config,
            SavedRow::AutopilotConfig(config) => tables.autopilot_config = config,
        }
    }

    /// The state, after the last row.
    pub fn finish(self) -> Snapshot {
        self.tables
    }
}

impl Snapshot {
    fn load_job(&mut self, of_job: Vec<Arc<Job>>, versions: &mut BTreeMap<VersionKey, Arc<Job>>) {
        let Some(key) = of_job.first().map(|newest| Arc::new(newest.key())) else {
            return;
        };
        let mut of_job = of_job;
        for job in &mut of_job {
            self.share_groups(&key, Arc::make_mut(job));
        }
        let newest = &of_job[0];
        for job in &of_job {
            versions.insert(version_key(job), Arc::clone(job));
        }
        self.index_job(&key, newest);
        self.jobs.insert(Arc::clone(&key), Arc::clone(newest));
        self.versions.insert(Arc::clone(&key), of_job.into());
        self.tallies.insert(key, Tally::default());
    }

    fn load_port_cursor(&mut self, id: NodeId, port_cursor: u16) {
        let usage = NodeUsage {
            port_cursor,
            ..NodeUsage::default()
        };
        self.usage.insert(id, Arc::new(usage));
    }

    fn load_eval(&mut self, eval: Arc<Evaluation>) {
        let mut eval = Arc::unwrap_or_clone(eval);
        let key = self.job_key(&eval.namespace, &eval.job_id);
        eval.namespace.share(&key.namespace);
        eval.job_id.share(&key.id);
        let tally = self.tallies.entry(Arc::clone(&key)).or_default();
        tally.evals += 1;
        tally.open_evals += u64::from(!eval.status.is_terminal());
        if !eval.status.is_terminal() {
            self.open_evals.insert(eval.id);
        }
        self.evals_by_job.insert((key, eval.id));
        self.evals.insert(eval.id, Arc::new(eval));
    }

    fn load_deployment(&mut self, deployment: Arc<Deployment>) {
        let key = self.job_key(&deployment.namespace, &deployment.job_id);
        let tally = self.tallies.entry(Arc::clone(&key)).or_default();
        tally.active_deployments += u64::from(deployment.is_active());
        self.deployments_by_job.insert((key, deployment.id));
        self.deployments.insert(deployment.id, deployment);
    }

    fn load_alloc(&mut self, row: SavedAlloc, versions: &BTreeMap<VersionKey, Arc<Job>>) {
        let mut alloc = Arc::unwrap_or_clone(row.alloc);
        let version = (
            alloc.namespace.clone(),
            alloc.job_id.clone(),
            row.job_create_index,
            alloc.job_version,
        );
        if let Some(job) = versions.get(&version) {
            alloc.job = Arc::clone(job);
        }
        alloc.share_names();
        let key = self.job_key(&alloc.namespace, &alloc.job_id);
        let tally = self.tallies.entry(Arc::clone(&key)).or_default();
        tally.allocs += 1;
        tally.live_allocs += u64::from(!alloc.is_terminal());
        self.index_alloc(&key, None, &alloc);
        if !alloc.client_terminal() {
            let usage = self.usage.entry(alloc.node_id).or_default();
            Arc::make_mut(usage).add(&alloc.allocated_resources);
        }
        self.allocs.insert(alloc.id, Arc::new(alloc));
    }
}

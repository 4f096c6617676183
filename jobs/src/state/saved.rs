//! The state as it is written to a file.

use super::{ScalingEvents, Snapshot, Table, tally::Tally};
use crate::model::{
    Allocation, Deployment, Evaluation, Index, Job, JobKey, JobSummary, Node, NodeId, NodeUsage,
    Submission,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// All rows, with one copy of each version of a job.
///
/// Secondary indexes and usage are left out: they follow from the rows. Counts that depend on rows
/// already forgotten are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    index: Index,
    table_indexes: Vec<(Table, Index)>,
    /// Versions by job, newest first.
    jobs: Vec<(JobKey, Vec<Arc<Job>>)>,
    /// Versions that only allocations still refer to.
    old_versions: Vec<Arc<Job>>,
    submissions: Vec<(JobKey, u64, Arc<Submission>)>,
    summaries: Vec<Arc<JobSummary>>,
    scaling_events: Vec<(JobKey, Arc<ScalingEvents>)>,
    evals: Vec<Arc<Evaluation>>,
    allocs: Vec<SavedAlloc>,
    deployments: Vec<Arc<Deployment>>,
    nodes: Vec<Arc<Node>>,
    /// Node id to where the search for its next dynamic port begins.
    port_cursors: Vec<(NodeId, u16)>,
}

/// An allocation and which incarnation of its job it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct SavedAlloc {
    alloc: Arc<Allocation>,
    job_create_index: Index,
}

/// What tells one version of a job from every other.
type VersionKey = (String, String, Index, u64);

fn version_key(job: &Job) -> VersionKey {
    (
        job.namespace.clone(),
        job.id.clone(),
        job.create_index,
        job.version,
    )
}

impl Snapshot {
    /// Everything, to be written to a file.
    pub fn to_saved(&self) -> Saved {
        let mut old_versions: BTreeMap<VersionKey, Arc<Job>> = BTreeMap::new();
        for alloc in self.allocs.values() {
            let key = version_key(&alloc.job);
            let kept = self
                .version(&alloc.job_key(), alloc.job.version)
                .is_some_and(|job| job.create_index == alloc.job.create_index);
            if !kept {
                old_versions
                    .entry(key)
                    .or_insert_with(|| Arc::clone(&alloc.job));
            }
        }
        Saved {
            index: self.index,
            table_indexes: self.table_indexes.iter().map(|(t, i)| (*t, *i)).collect(),
            jobs: self
                .versions
                .iter()
                .map(|(key, versions)| ((**key).clone(), versions.to_vec()))
                .collect(),
            old_versions: old_versions.into_values().collect(),
            submissions: self
                .submissions
                .iter()
                .map(|((key, version), row)| ((**key).clone(), *version, Arc::clone(row)))
                .collect(),
            summaries: self.summaries.values().cloned().collect(),
            scaling_events: self
                .scaling_events
                .iter()
                .map(|(key, events)| ((**key).clone(), Arc::clone(events)))
                .collect(),
            evals: self.evals.values().cloned().collect(),
            allocs: self
                .allocs
                .values()
                .map(|alloc| SavedAlloc {
                    alloc: Arc::clone(alloc),
                    job_create_index: alloc.job.create_index,
                })
                .collect(),
            deployments: self.deployments.values().cloned().collect(),
            nodes: self.nodes.values().cloned().collect(),
            port_cursors: self
                .usage
                .iter()
                .map(|(id, usage)| (*id, usage.port_cursor))
                .collect(),
        }
    }

    /// Reads what [`Snapshot::to_saved`] wrote.
    pub fn from_saved(saved: Saved) -> Self {
        let mut tables = Self {
            index: saved.index,
            table_indexes: saved.table_indexes.into_iter().collect(),
            ..Self::default()
        };
        let mut versions: BTreeMap<VersionKey, Arc<Job>> = BTreeMap::new();
        for job in saved.old_versions {
            versions.insert(version_key(&job), job);
        }
        tables.load_jobs(saved.jobs, &mut versions);
        for node in saved.nodes {
            tables.nodes.insert(node.id, node);
        }
        for (id, port_cursor) in saved.port_cursors {
            let usage = NodeUsage {
                port_cursor,
                ..NodeUsage::default()
            };
            tables.usage.insert(id, Arc::new(usage));
        }
        tables.load_evals(saved.evals);
        tables.load_deployments(saved.deployments);
        for row in saved.allocs {
            tables.load_alloc(row, &versions);
        }
        for summary in saved.summaries {
            let key = tables.job_key(&summary.namespace, &summary.job_id);
            tables.summaries.insert(key, summary);
        }
        for (key, events) in saved.scaling_events {
            let key = tables.job_key(&key.namespace, &key.id);
            tables.scaling_events.insert(key, events);
        }
        for (key, version, submission) in saved.submissions {
            let key = tables.job_key(&key.namespace, &key.id);
            tables.submissions.insert((key, version), submission);
        }
        tables
    }

    fn load_jobs(
        &mut self,
        jobs: Vec<(JobKey, Vec<Arc<Job>>)>,
        versions: &mut BTreeMap<VersionKey, Arc<Job>>,
    ) {
        for (key, of_job) in jobs {
            let Some(newest) = of_job.first() else {
                continue;
            };
            let key = Arc::new(key);
            for job in &of_job {
                versions.insert(version_key(job), Arc::clone(job));
            }
            self.index_job(&key, newest);
            self.jobs.insert(Arc::clone(&key), Arc::clone(newest));
            self.versions.insert(Arc::clone(&key), of_job.into());
            self.tallies.insert(key, Tally::default());
        }
    }

    fn load_evals(&mut self, evals: Vec<Arc<Evaluation>>) {
        for eval in evals {
            let key = self.job_key(&eval.namespace, &eval.job_id);
            let tally = self.tallies.entry(Arc::clone(&key)).or_default();
            tally.evals += 1;
            tally.open_evals += u64::from(!eval.status.is_terminal());
            if !eval.status.is_terminal() {
                self.open_evals.insert(eval.id);
            }
            self.evals_by_job.insert((key, eval.id));
            self.evals.insert(eval.id, eval);
        }
    }

    fn load_deployments(&mut self, deployments: Vec<Arc<Deployment>>) {
        for deployment in deployments {
            let key = self.job_key(&deployment.namespace, &deployment.job_id);
            let tally = self.tallies.entry(Arc::clone(&key)).or_default();
            tally.active_deployments += u64::from(deployment.is_active());
            self.deployments_by_job.insert((key, deployment.id));
            self.deployments.insert(deployment.id, deployment);
        }
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

//! Writing one row with its secondary indexes, counts and report.

use super::{AllocChange, Applied, JobChange, NodeChange, Stamp, State, Table, tally};
use crate::model::{
    AllocDeploymentStatus, AllocId, Allocation, Deployment, Evaluation, GroupSummary, Job, JobKey,
    JobStatus, Node, Timestamp,
};
use std::{collections::BTreeSet, sync::Arc};

/// A finished job with more allocations than this keeps an earlier copy of itself for them.
const SHARED_ROWS_MAX: u64 = 8;

/// What one command has changed so far.
pub(super) struct Change {
    pub(super) at: Stamp,
    pub(super) applied: Applied,
    /// Jobs whose status must be derived anew.
    pub(super) touched_jobs: BTreeSet<Arc<JobKey>>,
}

impl Change {
    pub(super) fn new(at: Stamp) -> Self {
        Self {
            at,
            applied: Applied::default(),
            touched_jobs: BTreeSet::new(),
        }
    }

    pub(super) fn touch(&mut self, table: Table) {
        self.applied.tables.insert(table);
    }
}

impl State {
    /// The shared form of a job's key.
    pub(super) fn job_key(&self, namespace: &str, id: &str) -> Arc<JobKey> {
        let key = JobKey::new(namespace, id);
        match self.tallies.get_key_value(&key) {
            Some((shared, _)) => Arc::clone(shared),
            None => Arc::new(key),
        }
    }

    pub(super) fn put_job(&mut self, change: &mut Change, job: Job) -> Arc<Job> {
        let key = self.job_key(&job.namespace, &job.id);
        let job = Arc::new(job);
        let before = self.jobs.insert(Arc::clone(&key), Arc::clone(&job));
        self.tallies.entry(Arc::clone(&key)).or_default();
        change.touch(Table::Jobs);
        change.applied.jobs.push(JobChange {
            key: (*key).clone(),
            before,
            after: Some(Arc::clone(&job)),
        });
        change.touched_jobs.insert(key);
        job
    }

    pub(super) fn put_eval(&mut self, change: &mut Change, mut eval: Evaluation) {
        let before = self.evals.get(&eval.id).cloned();
        // What is over stays so; an id belongs to the job that came first.
        let settled = before.as_ref().is_some_and(|b| {
            b.status.is_terminal() || b.job_id != eval.job_id || b.namespace != eval.namespace
        });
        if settled {
            return;
        }
        eval.create_index = before.as_ref().map_or(change.at.index, |b| b.create_index);
        eval.create_time = before.as_ref().map_or(change.at.now_ns, |b| b.create_time);
        eval.modify_index = change.at.index;
        eval.modify_time = change.at.now_ns;
        let key = self.job_key(&eval.namespace, &eval.job_id);
        let was_open = before.as_ref().is_some_and(|b| !b.status.is_terminal());
        let tally = self.tallies.entry(Arc::clone(&key)).or_default();
        tally.evals += u64::from(before.is_none());
        tally.open_evals += u64::from(!eval.status.is_terminal());
        tally.open_evals -= u64::from(was_open);
        if before.is_none() {
            self.evals_by_job.insert((Arc::clone(&key), eval.id));
        }
        self.note_queued(change, &key, &eval);
        let eval = Arc::new(eval);
        self.evals.insert(eval.id, Arc::clone(&eval));
        change.touch(Table::Evals);
        change.applied.evals.push(eval);
        change.touched_jobs.insert(key);
    }

    fn note_queued(&mut self, change: &mut Change, key: &JobKey, eval: &Evaluation) {
        if eval.queued_allocations.is_empty() {
            return;
        }
        let Some(summary) = self.summaries.get(key) else {
            return;
        };
        let differs = |group: &str, queued: u32| {
            summary
                .summary
                .get(group)
                .is_some_and(|counts| counts.queued != queued)
        };
        if !eval.queued_allocations.iter().any(|(g, q)| differs(g, *q)) {
            return;
        }
        if let Some(summary) = self.summaries.get_mut(key) {
            let summary = Arc::make_mut(summary);
            for (group, queued) in &eval.queued_allocations {
                if let Some(counts) = summary.summary.get_mut(group) {
                    counts.queued = *queued;
                }
            }
            summary.modify_index = change.at.index;
            change.touch(Table::Summaries);
        }
    }

    /// Writes an allocation; the caller has set its indexes and times.
    pub(super) fn put_alloc(&mut self, change: &mut Change, alloc: Allocation) {
        let before = self.allocs.get(&alloc.id).cloned();
        let before_ref = before.as_deref();
        // An id belongs to the job and node that came first.
        let foreign = before_ref.is_some_and(|b| {
            b.job_id != alloc.job_id || b.namespace != alloc.namespace || b.node_id != alloc.node_id
        });
        if foreign {
            return;
        }
        let key = self.job_key(&alloc.namespace, &alloc.job_id);
        self.index_alloc(&key, before_ref, &alloc);
        self.count_usage(before_ref, &alloc);
        self.count_summary(change, &key, before_ref, &alloc);
        self.count_deployment(change, before_ref, &alloc);
        let tally = self.tallies.entry(Arc::clone(&key)).or_default();
        tally.allocs += u64::from(before.is_none());
        tally.live_allocs += u64::from(!alloc.is_terminal());
        tally.live_allocs -= u64::from(before_ref.is_some_and(|b| !b.is_terminal()));
        let after = Arc::new(alloc);
        self.allocs.insert(after.id, Arc::clone(&after));
        change.touch(Table::Allocs);
        change.applied.allocs.push(AllocChange {
            before,
            after: Some(after),
        });
        change.touched_jobs.insert(key);
    }

    pub(super) fn index_alloc(
        &mut self,
        key: &Arc<JobKey>,
        before: Option<&Allocation>,
        alloc: &Allocation,
    ) {
        let (id, done) = (alloc.id, alloc.client_terminal());
        if before.is_none() {
            self.allocs_by_job.insert((Arc::clone(key), id));
        }
        if before.is_none_or(|b| b.eval_id != alloc.eval_id) {
            if let Some(before) = before {
                self.allocs_by_eval.remove(&(before.eval_id, id));
            }
            self.allocs_by_eval.insert((alloc.eval_id, id));
        }
        if before.is_none_or(|b| b.client_terminal() != done) {
            if before.is_some() {
                self.allocs_by_node.remove(&(alloc.node_id, !done, id));
            }
            self.allocs_by_node.insert((alloc.node_id, done, id));
        }
        let deployment_before = before.and_then(|b| b.deployment_id);
        if deployment_before != alloc.deployment_id {
            if let Some(stale) = deployment_before {
                self.allocs_by_deployment.remove(&(stale, id));
            }
            if let Some(deployment_id) = alloc.deployment_id {
                self.allocs_by_deployment.insert((deployment_id, id));
            }
        }
    }

    fn count_usage(&mut self, before: Option<&Allocation>, alloc: &Allocation) {
        let took = before.filter(|b| !b.client_terminal());
        let takes = !alloc.client_terminal();
        if took.is_none() && !takes {
            return;
        }
        if let Some(before) = took
            && takes
            && before.allocated_resources == alloc.allocated_resources
        {
            return;
        }
        let range = self
            .nodes
            .get(&alloc.node_id)
            .map(|node| super::dynamic_ports(node));
        let usage = Arc::make_mut(self.usage.entry(alloc.node_id).or_default());
        if let Some(before) = took {
            usage.remove(&before.allocated_resources);
        }
        if takes {
            usage.add(&alloc.allocated_resources);
            if before.is_none()
                && let Some((low, high)) = range
            {
                advance_cursor(usage, alloc, low, high);
            }
        }
    }

    fn count_summary(
        &mut self,
        change: &mut Change,
        key: &JobKey,
        before: Option<&Allocation>,
        alloc: &Allocation,
    ) {
        if before.is_some_and(|b| b.client_status == alloc.client_status) {
            return;
        }
        let Some(row) = self.summaries.get_mut(key) else {
            return;
        };
        let summary = Arc::make_mut(row);
        summary.modify_index = change.at.index;
        let counts: &mut GroupSummary = summary.summary.get_or_default(alloc.task_group.clone());
        if let Some(before) = before {
            let count = tally::bucket(counts, before);
            *count = count.saturating_sub(1);
        }
        *tally::bucket(counts, alloc) += 1;
        change.touch(Table::Summaries);
    }

    fn count_deployment(
        &mut self,
        change: &mut Change,
        before: Option<&Allocation>,
        alloc: &Allocation,
    ) {
        let Some(deployment_id) = alloc.deployment_id else {
            return;
        };
        let same = before.filter(|b| b.deployment_id == alloc.deployment_id);
        let health_before = same.and_then(|b| b.healthy());
        let health = alloc.healthy();
        if same.is_some() && health_before == health {
            return;
        }
        let Some(row) = self.deployments.get(&deployment_id) else {
            return;
        };
        let mut deployment = (**row).clone();
        let Some(state) = deployment.task_groups.get_mut(&alloc.task_group) else {
            return;
        };
        if same.is_none() {
            state.placed_allocs += 1;
            if alloc.is_canary() && !state.placed_canaries.contains(&alloc.id) {
                state.placed_canaries.push(alloc.id);
            }
            if state.require_progress_by.is_zero() && state.progress_deadline > 0 {
                state.require_progress_by =
                    Timestamp(change.at.now_ns.saturating_add(state.progress_deadline));
            }
        }
        match health_before {
            Some(true) => state.healthy_allocs = state.healthy_allocs.saturating_sub(1),
            Some(false) => state.unhealthy_allocs = state.unhealthy_allocs.saturating_sub(1),
            None => {}
        }
        match health {
            Some(true) => {
                state.healthy_allocs += 1;
                let decided = alloc.deployment_status.as_ref().map_or(0, decided_at);
                let by = decided.saturating_add(state.progress_deadline);
                if state.progress_deadline > 0 && by > state.require_progress_by.0 {
                    state.require_progress_by = Timestamp(by);
                }
            }
            Some(false) => state.unhealthy_allocs += 1,
            None => {}
        }
        self.put_deployment(change, deployment);
    }

    /// Writes a deployment; its indexes and times are set here.
    pub(super) fn put_deployment(&mut self, change: &mut Change, mut deployment: Deployment) {
        let key = self.job_key(&deployment.namespace, &deployment.job_id);
        let before = self.deployments.get(&deployment.id).cloned();
        let foreign = before.as_ref().is_some_and(|b| b.job_key() != *key);
        if foreign {
            return;
        }
        deployment.create_index = before.as_ref().map_or(change.at.index, |b| b.create_index);
        deployment.create_time = before.as_ref().map_or(change.at.now_ns, |b| b.create_time);
        deployment.modify_index = change.at.index;
        deployment.modify_time = change.at.now_ns;
        let tally = self.tallies.entry(Arc::clone(&key)).or_default();
        tally.active_deployments += u64::from(deployment.is_active());
        tally.active_deployments -= u64::from(before.as_ref().is_some_and(|b| b.is_active()));
        if before.is_none() {
            self.deployments_by_job
                .insert((Arc::clone(&key), deployment.id));
        }
        let deployment = Arc::new(deployment);
        self.deployments
            .insert(deployment.id, Arc::clone(&deployment));
        change.touch(Table::Deployments);
        change.applied.deployments.push(deployment);
        change.touched_jobs.insert(key);
    }

    pub(super) fn put_node(&mut self, change: &mut Change, mut node: Node) {
        let before = self.nodes.get(&node.id).cloned();
        node.create_index = before.as_ref().map_or(change.at.index, |b| b.create_index);
        node.modify_index = change.at.index;
        node.computed_class = crate::scheduler::computed_class(&node);
        let usage = self.usage.entry(node.id).or_default();
        if usage.port_cursor == 0 {
            Arc::make_mut(usage).port_cursor = super::first_port(&node);
        }
        let after = Arc::new(node);
        self.nodes.insert(after.id, Arc::clone(&after));
        change.touch(Table::Nodes);
        change.applied.nodes.push(NodeChange { before, after });
    }

    /// Gives every touched job the status that its rows imply.
    pub(super) fn derive_job_statuses(&mut self, change: &mut Change) {
        for key in std::mem::take(&mut change.touched_jobs) {
            let (Some(job), Some(tally)) = (self.jobs.get(&key), self.tallies.get(&key)) else {
                self.forget_tally_if_unused(&key);
                continue;
            };
            let status = tally.job_status(job);
            if status == job.status {
                continue;
            }
            let mut job = (**job).clone();
            job.status = status;
            job.modify_index = change.at.index;
            let over = status == JobStatus::Dead;
            self.replace_newest_version(change, job);
            if over {
                self.share_row(&key);
            }
        }
        change.touched_jobs.clear();
    }

    /// Lets the few allocations of a finished job share its row, so that the earlier copy goes. They differ in
    /// nothing that an allocation's reader looks at: status and index of the job.
    fn share_row(&mut self, key: &Arc<JobKey>) {
        let few = (self.tallies.get(key)).is_some_and(|tally| tally.allocs <= SHARED_ROWS_MAX);
        let Some(job) = self.jobs.get(key).filter(|_| few).cloned() else {
            return;
        };
        let ids: Vec<AllocId> = self.allocs_of_job(key).map(|a| a.id).collect();
        for id in ids {
            if let Some(row) = self.allocs.get_mut(&id)
                && row.job.version == job.version
                && row.job.create_index == job.create_index
            {
                Arc::make_mut(row).job = Arc::clone(&job);
            }
        }
    }

    fn forget_tally_if_unused(&mut self, key: &JobKey) {
        let unused = |t: &tally::Tally| t.allocs == 0 && t.evals == 0 && t.active_deployments == 0;
        if self.tallies.get(key).is_some_and(unused) {
            self.tallies.remove(key);
        }
    }

    /// Writes the current row of a job in both of its places.
    pub(super) fn replace_newest_version(&mut self, change: &mut Change, job: Job) {
        let job = self.put_job(change, job);
        let key = self.job_key(&job.namespace, &job.id);
        let versions = self.versions.get(&key).map_or(&[][..], |v| v);
        let mut versions = versions.to_vec();
        match versions.first_mut() {
            Some(first) => *first = job,
            None => versions.push(job),
        }
        self.versions.insert(key, versions.into());
    }
}

fn decided_at(status: &AllocDeploymentStatus) -> i64 {
    status.timestamp.0
}

/// Lets the search for the next dynamic port begin behind the newest one.
fn advance_cursor(usage: &mut super::NodeUsage, alloc: &Allocation, low: u16, high: u16) {
    let newest = alloc
        .allocated_resources
        .ports()
        .map(|(_, port)| port)
        .filter(|port| (low..=high).contains(port))
        .last();
    if let Some(port) = newest {
        usage.port_cursor = if port >= high { low } else { port + 1 };
    }
}

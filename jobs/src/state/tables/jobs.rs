//! Jobs, their versions, submissions, summaries and scaling events.

use crate::{
    model::{
        AllocId, ChildrenSummary, DeploymentId, EvalId, GroupName, Job, JobId, JobKey, JobStatus,
        JobSummary, JobType, Namespace, ScalingEvent, Submission,
    },
    state::{
        JOB_VERSIONS_MAX, JobChange, SCALING_EVENTS_MAX, SUBMISSION_BYTES_MAX, Snapshot, Table,
        change::Change, tally,
    },
};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// A finished job with more allocations than this keeps an earlier copy of itself for them.
const SHARED_ROWS_MAX: u64 = 8;

impl Snapshot {
    /// The current version of a job.
    pub fn job(&self, key: &JobKey) -> Option<&Arc<Job>> {
        self.jobs.get(key)
    }

    /// Jobs in key order; `namespace` none is all, `prefix` is of the id.
    pub fn jobs<'a>(
        &'a self,
        namespace: Option<&'a str>,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Job>> {
        let start = JobKey::new(
            namespace.unwrap_or(""),
            if namespace.is_some() { prefix } else { "" },
        );
        self.jobs
            .range::<_, JobKey>((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(key, _)| {
                namespace.is_none_or(|n| key.namespace == n && key.id.starts_with(prefix))
            })
            .filter(move |(key, _)| key.id.starts_with(prefix))
            .map(|(_, job)| job)
    }

    /// Jobs from that key on, in order of keys.
    pub fn jobs_from(&self, key: &JobKey) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs
            .range::<_, JobKey>((Bound::Included(key), Bound::Unbounded))
            .map(|(_, job)| job)
    }

    /// System and sysbatch jobs.
    pub fn jobs_everywhere(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs_everywhere
            .iter()
            .filter_map(|key| self.jobs.get(key))
    }

    /// Versions kept of a job, newest first.
    pub fn versions(&self, key: &JobKey) -> &[Arc<Job>] {
        self.versions.get(key).map_or(&[], |versions| versions)
    }

    /// One version of a job, if it is still kept.
    pub fn version(&self, key: &JobKey, version: u64) -> Option<&Arc<Job>> {
        self.versions(key).iter().find(|job| job.version == version)
    }

    /// The text a version was registered with.
    pub fn submission(&self, key: &JobKey, version: u64) -> Option<&Arc<Submission>> {
        let (shared, _) = self.jobs.get_key_value(key)?;
        self.submissions.get(&(Arc::clone(shared), version))
    }

    /// Counts of a job's allocations.
    pub fn summary(&self, key: &JobKey) -> Option<&Arc<JobSummary>> {
        self.summaries.get(key)
    }

    /// Scaling events of a group, newest first.
    pub fn scaling_events(&self, key: &JobKey, group: &str) -> &[ScalingEvent] {
        self.scaling_events
            .get(key)
            .and_then(|groups| groups.get(group))
            .map_or(&[], Vec::as_slice)
    }
}

impl Snapshot {
    /// The shared form of a job's key.
    pub(in crate::state) fn job_key(&self, namespace: &Namespace, id: &JobId) -> Arc<JobKey> {
        let key = JobKey::new(namespace.clone(), id.clone());
        match self.tallies.get_key_value(&key) {
            Some((shared, _)) => Arc::clone(shared),
            None => Arc::new(key),
        }
    }

    pub(in crate::state) fn index_job(&mut self, key: &Arc<JobKey>, job: &Job) {
        if matches!(job.job_type, JobType::System | JobType::Sysbatch) {
            self.jobs_everywhere.insert(Arc::clone(key));
        } else {
            self.jobs_everywhere.remove(key);
        }
        self.index_launches(key, job);
    }

    pub(in crate::state) fn put_job(&mut self, change: &mut Change, mut job: Job) -> Arc<Job> {
        let key = self.job_key(&job.namespace, &job.id);
        job.namespace.share(&key.namespace);
        job.id.share(&key.id);
        let job = Arc::new(job);
        let before = self.jobs.insert(Arc::clone(&key), Arc::clone(&job));
        self.tallies.entry(Arc::clone(&key)).or_default();
        self.index_job(&key, &job);
        self.count_child(change, before.as_deref(), Some(&*job));
        change.touch(Table::Jobs);
        change.applied.jobs.push(JobChange {
            key: (*key).clone(),
            before,
            after: Some(Arc::clone(&job)),
        });
        change.touched_jobs.insert(key);
        job
    }

    /// Keeps the groups of a job in the memory of an equal version, or of a neighbor: jobs that are
    /// alike are mostly named alike too, as the children of one job are.
    pub(in crate::state) fn share_groups(&self, key: &Arc<JobKey>, job: &mut Job) {
        let near = [self.jobs.get_prev(key), self.jobs.get_next(key)];
        for (_, other) in near.into_iter().flatten() {
            job.task_groups.share(&other.task_groups);
        }
    }

    /// Writes the current row of a job in both of its places.
    pub(in crate::state) fn replace_newest_version(&mut self, change: &mut Change, job: Job) {
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

    /// Writes a job as the current version; the version stays when the specification is the same.
    pub(in crate::state) fn write_version(
        &mut self,
        change: &mut Change,
        mut job: Job,
    ) -> Arc<Job> {
        let index = change.at.index;
        let key = self.job_key(&job.namespace, &job.id);
        let current = self.jobs.get(&key).cloned();
        job.modify_index = index;
        match &current {
            Some(current) if current.same_specification(&job) => {
                let mut same = (**current).clone();
                same.modify_index = index;
                self.replace_newest_version(change, same.clone());
                return self.jobs.get(&key).cloned().unwrap_or_else(|| same.into());
            }
            Some(current) => {
                job.create_index = current.create_index;
                job.version = current.version + 1;
                job.status = current.status;
            }
            None => {
                job.create_index = index;
                job.version = 0;
                job.status = Default::default();
            }
        }
        job.job_modify_index = index;
        job.stable = false;
        job.version_tag = None;
        self.share_groups(&key, &mut job);
        self.start_summary(change, &key, &job);
        let job = self.put_job(change, job);
        let older = self.versions.get(&key).map_or(&[][..], |v| v);
        let mut versions = Vec::with_capacity(older.len() + 1);
        versions.push(Arc::clone(&job));
        versions.extend_from_slice(older);
        self.keep_versions(&key, versions);
        job
    }

    /// Keeps the newest versions, the newest stable one and those that have names. Only versions
    /// without one count.
    fn keep_versions(&mut self, key: &Arc<JobKey>, versions: Vec<Arc<Job>>) {
        let newest_stable = versions
            .iter()
            .find(|job| job.stable)
            .map(|job| job.version);
        let mut kept = Vec::with_capacity(versions.len().min(JOB_VERSIONS_MAX + 1));
        let mut unnamed = 0;
        for job in versions {
            let has_name = job.version_tag.is_some();
            unnamed += usize::from(!has_name);
            if has_name || unnamed <= JOB_VERSIONS_MAX || Some(job.version) == newest_stable {
                kept.push(job);
            } else {
                self.submissions.remove(&(Arc::clone(key), job.version));
            }
        }
        self.versions.insert(Arc::clone(key), kept.into());
    }

    /// Children may outlive the job and meet the next one of that name.
    fn count_children(&self, key: &JobKey) -> ChildrenSummary {
        let mut counts = ChildrenSummary::default();
        for child in self.children(key) {
            *counts.of(child.status) += 1;
        }
        counts
    }

    fn start_summary(&mut self, change: &mut Change, key: &Arc<JobKey>, job: &Job) {
        let mut summary = match self.summaries.get(key) {
            Some(summary) => (**summary).clone(),
            None => JobSummary {
                create_index: change.at.index,
                children: self.count_children(key),
                ..job.empty_summary()
            },
        };
        for group in &job.task_groups {
            summary.summary.get_or_default(group.name.clone());
        }
        summary.modify_index = change.at.index;
        self.summaries.insert(Arc::clone(key), Arc::new(summary));
        change.touch(Table::Summaries);
    }

    pub(in crate::state) fn put_submission(
        &mut self,
        change: &mut Change,
        job: &Job,
        submission: Submission,
    ) {
        if submission.source.len() > SUBMISSION_BYTES_MAX {
            return;
        }
        let key = self.job_key(&job.namespace, &job.id);
        self.submissions
            .insert((key, job.version), Arc::new(submission));
        change.touch(Table::Jobs);
    }

    pub(in crate::state) fn put_scaling_events(
        &mut self,
        change: &mut Change,
        key: &JobKey,
        events: BTreeMap<GroupName, ScalingEvent>,
        eval_id: Option<EvalId>,
    ) {
        if events.is_empty() {
            return;
        }
        let key = self.job_key(&key.namespace, &key.id);
        let all = Arc::make_mut(self.scaling_events.entry(key).or_default());
        for (group, mut event) in events {
            event.create_index = change.at.index;
            event.time = change.at.now;
            event.eval_id = eval_id;
            let of_group = all.entry(group).or_default();
            of_group.insert(0, event);
            of_group.truncate(SCALING_EVENTS_MAX);
        }
        change.touch(Table::ScalingEvents);
    }

    /// Marks a version, if it is still there.
    pub(in crate::state) fn set_stable(
        &mut self,
        change: &mut Change,
        key: &JobKey,
        version: u64,
        stable: bool,
    ) {
        let versions = self.versions(key);
        let Some(at) = versions.iter().position(|job| job.version == version) else {
            return;
        };
        if versions[at].stable != stable {
            self.edit_version(change, key, at, |job| job.stable = stable);
        }
    }

    /// Changes the version at a place among those that are kept, if there is one.
    pub(in crate::state) fn edit_version(
        &mut self,
        change: &mut Change,
        key: &JobKey,
        at: usize,
        edit: impl FnOnce(&mut Job),
    ) {
        let shared = self.job_key(&key.namespace, &key.id);
        let mut versions = self.versions(key).to_vec();
        let Some(version) = versions.get_mut(at) else {
            return;
        };
        let mut job = (**version).clone();
        edit(&mut job);
        job.modify_index = change.at.index;
        *version = if at == 0 {
            self.put_job(change, job)
        } else {
            Arc::new(job)
        };
        change.touch(Table::Jobs);
        self.keep_versions(&shared, versions);
    }

    /// Removes every row that is keyed by the job. Its allocations stay until they are over.
    pub(in crate::state) fn purge_job(&mut self, change: &mut Change, key: &Arc<JobKey>) {
        let before = self.jobs.remove(key);
        self.jobs_everywhere.remove(key);
        self.forget_launches(key, before.as_deref());
        self.count_child(change, before.as_deref(), None);
        let versions = self.versions.remove(key);
        for job in versions.iter().flat_map(|versions| versions.iter()) {
            self.submissions.remove(&(Arc::clone(key), job.version));
        }
        self.summaries.remove(key);
        self.scaling_events.remove(key);
        let deployments: Vec<DeploymentId> = self
            .deployments_of_job(key)
            .map(|deployment| deployment.id)
            .collect();
        for id in deployments {
            self.remove_deployment(change, id);
        }
        change.touch(Table::Jobs);
        change.touch(Table::Summaries);
        change.touch(Table::ScalingEvents);
        change.applied.jobs.push(JobChange {
            key: (**key).clone(),
            before,
            after: None,
        });
        change.touched_jobs.insert(Arc::clone(key));
    }

    /// Gives every touched job the status that its rows imply.
    pub(in crate::state) fn derive_job_statuses(&mut self, change: &mut Change) {
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

    /// Lets the few allocations of a finished job share its row, so that the earlier copy goes.
    /// They differ in nothing that an allocation's reader looks at: status and index of the job.
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
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{Job, JobKey, TaskGroup, Timestamp},
        state::{Command, Loading, RegisterJob, Snapshot, Stamp, State},
    };
    use std::ptr;

    fn register(state: &mut State, index: u64, id: &str, count: u32) {
        let group = TaskGroup {
            name: "app".into(),
            count,
            ..TaskGroup::default()
        };
        let job = Job {
            id: id.into(),
            namespace: "default".into(),
            task_groups: vec![group].into(),
            ..Job::default()
        };
        let registration = RegisterJob {
            job,
            ..RegisterJob::default()
        };
        let now = Timestamp::from_nanos(1);
        let command = Command::RegisterJob(Box::new(registration));
        state.apply(Stamp { index, now }, command).unwrap();
    }

    /// Whether the newest versions of two jobs have their groups in the same memory.
    fn share(state: &Snapshot, one: &str, other: &str) -> bool {
        let groups = |id: &str| &*state.job(&JobKey::new("default", id)).unwrap().task_groups;
        ptr::eq(groups(one), groups(other))
    }

    #[test]
    fn jobs_that_are_alike_share_their_groups_also_after_a_restart() {
        let mut state = State::default();
        register(&mut state, 1, "run-1", 1);
        register(&mut state, 2, "run-3", 1);
        register(&mut state, 3, "run-2", 1);
        register(&mut state, 4, "run-4", 2);
        let mut loading = Loading::default();
        state
            .current()
            .saved_rows()
            .map(|row| serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap())
            .for_each(|row| loading.add(row));
        for snapshot in [state.current(), &loading.finish()] {
            assert!(share(snapshot, "run-1", "run-2") && share(snapshot, "run-2", "run-3"));
            assert!(!share(snapshot, "run-3", "run-4"));
        }
        // A change of one is no change of the others.
        register(&mut state, 5, "run-2", 3);
        let count = |id: &str| {
            state
                .current()
                .job(&JobKey::new("default", id))
                .unwrap()
                .total_count()
        };
        assert_eq!(["run-1", "run-2", "run-3"].map(count), [1, 3, 1]);
    }
}

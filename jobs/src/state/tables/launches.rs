//! What was launched of jobs that never run themselves.

use crate::{
    model::{Job, JobKey, Timestamp, launch_time},
    state::{Snapshot, Table, change::Change},
};
use std::{ops::Bound, sync::Arc};

impl Snapshot {
    /// Jobs with a `periodic` block, paused and stopped ones too.
    pub fn periodic_jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        let keys = self.periodic_jobs.iter();
        keys.filter_map(|key| self.jobs.get(key))
    }

    /// When a child of the job was launched last by the clock or by hand, or the job was
    /// registered if that is later; none for jobs that are launched at no set times.
    pub fn last_launch(&self, key: &JobKey) -> Option<Timestamp> {
        self.launches.get(key).copied()
    }

    /// What was launched of a job and is still there, in order of ids.
    pub fn children<'a>(&'a self, parent: &JobKey) -> impl Iterator<Item = &'a Arc<Job>> + use<'a> {
        let prefix = format!("{}/", parent.id);
        let first = JobKey::new(parent.namespace.clone(), prefix.as_str());
        let (namespace, id) = (parent.namespace.clone(), parent.id.clone());
        self.jobs
            .range::<_, JobKey>((Bound::Included(first), Bound::Unbounded))
            .take_while(move |(key, _)| {
                key.namespace == namespace && key.id.starts_with(prefix.as_str())
            })
            .map(|(_, job)| job)
            .filter(move |job| job.parent_id.as_ref() == Some(&id))
    }

    /// The child that was launched of a job with that token.
    pub fn launched_with(&self, parent: &JobKey, token: &str) -> Option<&Arc<Job>> {
        let child = self
            .launched_with
            .get(&(parent.clone(), token.to_owned()))?;
        self.jobs.get(child)
    }

    /// Keeps the indexes of children and of jobs that are launched.
    pub(in crate::state) fn index_launches(&mut self, key: &Arc<JobKey>, job: &Job) {
        if job.periodic.is_some() {
            self.periodic_jobs.insert(Arc::clone(key));
        } else {
            self.periodic_jobs.remove(key);
        }
        if let Some(token) = token(job) {
            self.launched_with.insert(token, Arc::clone(key));
        }
    }

    /// Forgets what is known of launches of a job that is removed, and that it was one itself.
    pub(in crate::state) fn forget_launches(&mut self, key: &JobKey, job: Option<&Job>) {
        self.periodic_jobs.remove(key);
        self.launches.remove(key);
        if let Some(token) = job.and_then(token) {
            self.launched_with.remove(&token);
        }
    }

    /// Remembers that a job was registered: since when it is launched, or when it was.
    pub(in crate::state) fn note_launch(&mut self, change: &Change, job: &Job) {
        if let (Some(parent), Some(at)) = (&job.parent_id, launch_time(job)) {
            let key = self.job_key(&job.namespace, parent);
            let last = self.launches.get(&key).copied().unwrap_or_default();
            self.launches.insert(key, at.max(last));
        }
        if job.periodic.is_some() {
            let key = self.job_key(&job.namespace, &job.id);
            self.launches.insert(key, change.at.now);
        }
    }

    /// Counts a child at its parent, by its status before and after.
    pub(in crate::state) fn count_child(
        &mut self,
        change: &mut Change,
        before: Option<&Job>,
        after: Option<&Job>,
    ) {
        let statuses = [before, after].map(|job| job.map(|job| job.status));
        let Some((child, parent)) = after.or(before).and_then(|job| {
            let parent = job.parent_id.as_ref()?;
            Some((job, parent))
        }) else {
            return;
        };
        if statuses[0] == statuses[1] {
            return;
        }
        let key = self.job_key(&child.namespace, parent);
        let Some(summary) = self.summaries.get_mut(&*key) else {
            return;
        };
        let summary = Arc::make_mut(summary);
        if let Some(status) = statuses[0] {
            let count = summary.children.of(status);
            *count = count.saturating_sub(1);
        }
        if let Some(status) = statuses[1] {
            *summary.children.of(status) += 1;
        }
        summary.modify_index = change.at.index;
        change.touch(Table::Summaries);
    }
}

/// What makes a launch unique: its parent and its token.
fn token(job: &Job) -> Option<(JobKey, String)> {
    let token = Some(&job.dispatch_idempotency_token).filter(|token| !token.is_empty())?;
    let parent = job.parent_id.clone()?;
    Some((JobKey::new(job.namespace.clone(), parent), token.clone()))
}

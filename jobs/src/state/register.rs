//! Registering and stopping jobs.

use super::{
    DeregisterJob, JOB_VERSIONS_MAX, RegisterJob, Rejected, SCALING_EVENTS_MAX,
    SUBMISSION_BYTES_MAX, State, Table, rows::Change,
};
use crate::model::{
    DeploymentId, EvalId, Evaluation, Index, Job, JobKey, ScalingEvent, Submission,
};
use std::{collections::BTreeMap, sync::Arc};

impl State {
    pub(super) fn register_job(
        &mut self,
        change: &mut Change,
        registration: RegisterJob,
    ) -> Result<(), Rejected> {
        let key = registration.job.key();
        if let Some(wanted) = registration.enforce_index {
            self.enforce_index(&key, wanted)?;
        }
        let eval_id = registration.eval.as_ref().map(|eval| eval.id);
        let job = self.write_version(change, registration.job);
        if let Some(submission) = registration.submission {
            self.put_submission(change, &job, submission);
        }
        if let Some(mut eval) = registration.eval {
            eval.job_modify_index = job.job_modify_index;
            self.put_eval(change, eval);
        }
        self.put_scaling_events(change, &key, registration.scaling, eval_id);
        Ok(())
    }

    fn enforce_index(&self, key: &JobKey, wanted: Index) -> Result<(), Rejected> {
        let found = match self.jobs.get(key) {
            None if wanted == 0 => return Ok(()),
            None => "job does not exist".into(),
            Some(job) if job.job_modify_index == wanted => return Ok(()),
            Some(_) if wanted == 0 => "job already exists".into(),
            Some(job) => format!(
                "job exists with conflicting job modify index: {}",
                job.job_modify_index
            ),
        };
        Err(Rejected::Enforce { wanted, found })
    }

    /// Writes a job as the current version; the version stays when the specification is the same.
    pub(super) fn write_version(&mut self, change: &mut Change, mut job: Job) -> Arc<Job> {
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
        self.start_summary(change, &key, &job);
        let job = self.put_job(change, job);
        let older = self.versions.get(&key).map_or(&[][..], |v| v);
        let mut versions = Vec::with_capacity(older.len() + 1);
        versions.push(Arc::clone(&job));
        versions.extend_from_slice(older);
        self.keep_versions(&key, versions);
        job
    }

    /// Keeps the newest versions and the newest stable one.
    fn keep_versions(&mut self, key: &Arc<JobKey>, versions: Vec<Arc<Job>>) {
        let newest_stable = versions
            .iter()
            .find(|job| job.stable)
            .map(|job| job.version);
        let mut kept = Vec::with_capacity(versions.len().min(JOB_VERSIONS_MAX + 1));
        for (at, job) in versions.into_iter().enumerate() {
            if at < JOB_VERSIONS_MAX || Some(job.version) == newest_stable {
                kept.push(job);
            } else {
                self.submissions.remove(&(Arc::clone(key), job.version));
            }
        }
        self.versions.insert(Arc::clone(key), kept.into());
    }

    fn start_summary(&mut self, change: &mut Change, key: &Arc<JobKey>, job: &Job) {
        let mut summary = match self.summaries.get(key) {
            Some(summary) => (**summary).clone(),
            None => crate::model::JobSummary {
                create_index: change.at.index,
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

    fn put_submission(&mut self, change: &mut Change, job: &Job, submission: Submission) {
        if submission.source.len() > SUBMISSION_BYTES_MAX {
            return;
        }
        let key = self.job_key(&job.namespace, &job.id);
        self.submissions
            .insert((key, job.version), Arc::new(submission));
        change.touch(Table::Jobs);
    }

    fn put_scaling_events(
        &mut self,
        change: &mut Change,
        key: &JobKey,
        events: BTreeMap<String, ScalingEvent>,
        eval_id: Option<EvalId>,
    ) {
        if events.is_empty() {
            return;
        }
        let key = self.job_key(&key.namespace, &key.id);
        let all = Arc::make_mut(self.scaling_events.entry(key).or_default());
        for (group, mut event) in events {
            event.create_index = change.at.index;
            event.time = change.at.now_ns;
            event.eval_id = eval_id;
            let of_group = all.entry(group).or_default();
            of_group.insert(0, event);
            of_group.truncate(SCALING_EVENTS_MAX);
        }
        change.touch(Table::ScalingEvents);
    }

    pub(super) fn deregister_job(
        &mut self,
        change: &mut Change,
        request: DeregisterJob,
    ) -> Result<(), Rejected> {
        let key = self.job_key(&request.namespace, &request.id);
        let Some(job) = self.jobs.get(&key).cloned() else {
            return Err(Rejected::NoJob);
        };
        let mut modify_index = job.job_modify_index;
        if request.purge {
            self.purge_job(change, &key);
        } else if !job.stop {
            let stopped = Job {
                stop: true,
                submit_time: request.submit_time,
                ..(*job).clone()
            };
            let submission = self.submission(&key, job.version).cloned();
            let stopped = self.write_version(change, stopped);
            // The text still describes what ran, and it is how the job is started again.
            if let Some(submission) = submission {
                self.put_submission(change, &stopped, (*submission).clone());
            }
            modify_index = stopped.job_modify_index;
        }
        if let Some(mut eval) = request.eval {
            eval.job_modify_index = modify_index;
            self.put_eval(change, eval);
        }
        Ok(())
    }

    /// Removes every row that is keyed by the job. Its allocations stay until they are over.
    pub(super) fn purge_job(&mut self, change: &mut Change, key: &Arc<JobKey>) {
        let before = self.jobs.remove(key);
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
        change.applied.jobs.push(super::JobChange {
            key: (**key).clone(),
            before,
            after: None,
        });
        change.touched_jobs.insert(Arc::clone(key));
    }

    pub(super) fn mark_stable(
        &mut self,
        change: &mut Change,
        key: &JobKey,
        version: u64,
        stable: bool,
    ) -> Result<(), Rejected> {
        if self.version(key, version).is_none() {
            return Err(match self.jobs.get(key) {
                Some(_) => Rejected::NoVersion,
                None => Rejected::NoJob,
            });
        }
        self.set_stable(change, key, version, stable);
        Ok(())
    }

    /// Marks a version, if it is still there.
    pub(super) fn set_stable(
        &mut self,
        change: &mut Change,
        key: &JobKey,
        version: u64,
        stable: bool,
    ) {
        let shared = self.job_key(&key.namespace, &key.id);
        let Some(versions) = self.versions.get(key) else {
            return;
        };
        let mut versions = versions.to_vec();
        let Some(at) = versions.iter().position(|job| job.version == version) else {
            return;
        };
        if versions[at].stable == stable {
            return;
        }
        let mut job = (*versions[at]).clone();
        job.stable = stable;
        job.modify_index = change.at.index;
        versions[at] = if at == 0 {
            self.put_job(change, job)
        } else {
            Arc::new(job)
        };
        change.touch(Table::Jobs);
        self.keep_versions(&shared, versions);
    }

    pub(super) fn upsert_evals(&mut self, change: &mut Change, evals: Vec<Evaluation>) {
        for eval in evals {
            self.put_eval(change, eval);
        }
    }
}

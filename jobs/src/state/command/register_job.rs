//! Registers a job or a new version of it.

use super::RegisterJob;
use crate::{
    model::{Index, JobKey},
    state::{Rejected, Snapshot, change::Change},
};

impl Snapshot {
    pub(in crate::state) fn register_job(
        &mut self,
        change: &mut Change,
        registration: RegisterJob,
    ) -> Result<(), Rejected> {
        let key = registration.job.key();
        if let Some(wanted) = registration.enforce_index {
            self.enforce_index(&key, wanted)?;
        }
        if let Some(parent) = &registration.job.parent_id {
            let parent = JobKey::new(key.namespace.clone(), parent.clone());
            let token = &registration.job.dispatch_idempotency_token;
            if let Some(child) = self.launched_with(&parent, token) {
                return Err(Rejected::LaunchedAlready {
                    child: child.id.clone(),
                });
            }
        }
        let mut job = registration.job;
        if registration.preserve_counts
            && let Some(current) = self.jobs.get(&key)
        {
            for group in &mut job.task_groups {
                if let Some(earlier) = current.task_group(&group.name) {
                    group.count = earlier.count;
                }
            }
        }
        let job = self.write_version(change, job);
        self.note_launch(change, &job);
        if let Some(submission) = registration.submission {
            self.put_submission(change, &job, submission);
        }
        if let Some(mut eval) = registration.eval {
            eval.job_modify_index = job.job_modify_index;
            self.put_eval(change, eval);
        }
        Ok(())
    }

    pub(in crate::state) fn enforce_index(
        &self,
        key: &JobKey,
        wanted: Index,
    ) -> Result<(), Rejected> {
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
}

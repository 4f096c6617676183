//! Registers a job or a new version of it.

use super::RegisterJob;
use crate::{
    model::{Index, Job, JobKey},
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
        if let Some(old) = self.jobs.get(&key) {
            check_kind(old, &registration.job)?;
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

/// Whether a job may become what is registered under its id: it is placed and launched as before
/// until it is purged.
fn check_kind(old: &Job, job: &Job) -> Result<(), Rejected> {
    let (before, after) = (old.job_type.as_str(), job.job_type.as_str());
    let refusal = if before != after {
        format!("cannot update job from type {before:?} to {after:?}")
    } else if let (true, false) = (old.periodic.is_some(), job.periodic.is_some()) {
        "cannot update periodic job to being non-periodic".to_owned()
    } else if let (false, true) = (old.periodic.is_some(), job.periodic.is_some()) {
        "cannot update non-periodic job to being periodic".to_owned()
    } else if old.dispatched != job.dispatched {
        "field 'Dispatched' is read-only".to_owned()
    } else if let (true, false) = (old.is_parameterized(), job.is_parameterized()) {
        "cannot update parameterized job to being non-parameterized".to_owned()
    } else if let (false, true) = (old.is_parameterized(), job.is_parameterized()) {
        "cannot update non-parameterized job to being parameterized".to_owned()
    } else {
        return Ok(());
    };
    Err(Rejected::WrongKind(refusal))
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{Job, JobType, Parameterized, Periodic},
        state::{Command, RegisterJob, Rejected, Stamp, State},
    };

    fn job(job_type: JobType) -> Job {
        Job {
            id: "web".into(),
            job_type,
            ..Job::default()
        }
    }

    fn periodic() -> Job {
        Job {
            periodic: Some(Box::new(Periodic::default())),
            ..job(JobType::Batch)
        }
    }

    fn parameterized() -> Job {
        Job {
            parameterized_job: Some(Box::new(Parameterized::default())),
            ..job(JobType::Batch)
        }
    }

    /// Two who saw no job of that name register it at a time: the second entry finds the job of the
    /// first.
    fn one_after_the_other(first: Job, second: Job) -> Result<(), Rejected> {
        let mut state = State::default();
        let mut results = [first, second].into_iter().zip(1..).map(|(job, index)| {
            let registration = RegisterJob {
                job,
                ..RegisterJob::default()
            };
            let at = Stamp {
                index,
                ..Stamp::default()
            };
            let command = Command::RegisterJob(Box::new(registration));
            state.apply(at, command).map(drop)
        });
        assert_eq!(results.next(), Some(Ok(())));
        results.next().unwrap()
    }

    #[test]
    fn a_job_keeps_its_kind_however_close_two_registrations_come() {
        for (first, second, expected) in [
            (
                job(JobType::Service),
                job(JobType::Batch),
                "cannot update job from type \"service\" to \"batch\"",
            ),
            (
                job(JobType::Batch),
                periodic(),
                "cannot update non-periodic job to being periodic",
            ),
            (
                periodic(),
                job(JobType::Batch),
                "cannot update periodic job to being non-periodic",
            ),
            (
                job(JobType::Batch),
                parameterized(),
                "cannot update non-parameterized job to being parameterized",
            ),
            (
                parameterized(),
                job(JobType::Batch),
                "cannot update parameterized job to being non-parameterized",
            ),
        ] {
            let refused = one_after_the_other(first.clone(), second).unwrap_err();
            assert_eq!(refused, Rejected::WrongKind(expected.into()));
            assert_eq!(one_after_the_other(first.clone(), first), Ok(()));
        }
    }
}

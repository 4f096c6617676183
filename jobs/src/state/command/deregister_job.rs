//! Stops a job, or removes it.

use super::DeregisterJob;
use crate::{
    model::Job,
    state::{Rejected, Snapshot, change::Change},
};

impl Snapshot {
    pub(in crate::state) fn deregister_job(
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
}

//! Jobs that are launched on request: of those that never run themselves.

use jobs::{
    control::launch::{self, Dispatch, Launch},
    model::{EvalId, Index, Job, JobId, JobKey},
    state::Rejected as JobsRejected,
};

use super::{
    Handle, Written,
    handle::Error,
    log::propose::{ids, now},
    state::Rejected,
};

/// How often a launch by hand is tried whose second somebody else took first.
const TRIES_MAX: usize = 8;

/// A job that was launched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launched {
    /// Its id.
    pub child: JobId,
    /// Evaluation that places it; none for a job that was launched before, or that never runs
    /// itself either.
    pub eval_id: Option<EvalId>,
    /// Index of its registration.
    pub create_index: Index,
    /// Index of its last change.
    pub index: Index,
}

impl From<&Job> for Launched {
    fn from(child: &Job) -> Self {
        Self {
            child: child.id.clone(),
            eval_id: None,
            create_index: child.create_index,
            index: child.modify_index,
        }
    }
}

impl Handle {
    /// Launches a parameterized job. Requests with the same token launch one child, however many
    /// there are at a time.
    ///
    /// # Errors
    /// [`Error`]; what the request lacks is [`Error::Launch`].
    pub async fn dispatch_job(&self, key: &JobKey, request: Dispatch) -> Result<Launched, Error> {
        let launch = launch::dispatch(&self.snapshot().jobs, now(), key, request, &mut ids())?;
        let (child, command) = match launch {
            Launch::Known(child) => return Ok(Launched::from(&*child)),
            Launch::New { child, command } => (child, command),
        };
        match self.write_jobs(*command).await {
            Ok(written) => Ok(Launched {
                child,
                eval_id: written.eval_id,
                create_index: written.index,
                index: written.index,
            }),
            Err(error) => self.launched_meanwhile(key, error),
        }
    }

    /// The child that another request with the same token launched first.
    fn launched_meanwhile(&self, key: &JobKey, error: Error) -> Result<Launched, Error> {
        if let Error::Rejected(Rejected::Jobs(JobsRejected::LaunchedAlready { child })) = &error {
            let snapshot = self.snapshot();
            let child = JobKey::new(key.namespace.clone(), child.clone());
            if let Some(child) = snapshot.jobs.job(&child) {
                return Ok(Launched::from(&**child));
            }
        }
        Err(error)
    }

    /// Launches a periodic job now.
    ///
    /// # Errors
    /// [`Error`]; a job that is not launched at set times is [`Error::Launch`].
    pub async fn launch_now(&self, key: &JobKey) -> Result<Written, Error> {
        let mut tries = 1;
        loop {
            let command = launch::force(&self.snapshot().jobs, now(), key, &mut ids())?;
            match self.write_jobs(command).await {
                Err(Error::Rejected(Rejected::Jobs(JobsRejected::Enforce { .. })))
                    if tries < TRIES_MAX =>
                {
                    tries += 1;
                }
                answer => return answer,
            }
        }
    }
}

use crate::model::{Allocation, ClientStatus, GroupSummary, Job, JobStatus, JobType};
use serde::{Deserialize, Serialize};

/// What a job's status is derived from, counted as rows change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Tally {
    /// Allocations, whatever became of them.
    pub(super) allocs: u64,
    /// Allocations that neither side ended.
    pub(super) live_allocs: u64,
    /// Evaluations that are not over.
    pub(super) open_evals: u64,
    /// Evaluations, whatever became of them.
    pub(super) evals: u64,
    /// Deployments under way.
    pub(super) active_deployments: u64,
}

impl Tally {
    pub(super) fn job_status(&self, job: &Job) -> JobStatus {
        let endless =
            job.job_type == JobType::System || job.is_parent() || self.active_deployments > 0;
        if self.live_allocs > 0 || (endless && !job.stop) {
            JobStatus::Running
        } else if job.stop {
            JobStatus::Dead
        } else if self.open_evals > 0 {
            JobStatus::Pending
        } else if self.evals == 0 && self.allocs == 0 {
            // Either nothing was looked at yet, or what was over has been collected.
            match job.status {
                JobStatus::Dead => JobStatus::Dead,
                JobStatus::Pending | JobStatus::Running => JobStatus::Pending,
            }
        } else {
            JobStatus::Dead
        }
    }
}

/// The counter of `summary` that counts allocations such as `alloc`.
pub(super) fn bucket<'a>(summary: &'a mut GroupSummary, alloc: &Allocation) -> &'a mut u32 {
    match alloc.client_status {
        ClientStatus::Pending => &mut summary.starting,
        ClientStatus::Running => &mut summary.running,
        ClientStatus::Complete => &mut summary.complete,
        ClientStatus::Failed => &mut summary.failed,
        ClientStatus::Lost => &mut summary.lost,
        ClientStatus::Unknown => &mut summary.unknown,
    }
}

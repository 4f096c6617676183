//! How long terminal rows are kept, and whether one may go.

use crate::{
    model::{
        Allocation, ClientStatus, Deployment, Evaluation, Job, JobKey, JobStatus, JobType, Node,
        NodeStatus, Timestamp,
    },
    state::Snapshot,
};
use std::{cmp::Reverse, sync::Arc, time::Duration};

/// Deployments whose rollouts changed are kept so long after the last change, whoever collects:
/// their rows say why.
const TOLD_TIME: Duration = Duration::from_secs(7 * 86_400);
/// So many of a job, the newest.
pub(super) const TOLD_OF_JOB_MAX: usize = 128;

/// How long and how many terminal rows are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcLimits {
    /// Pause between two passes.
    pub interval: Duration,
    /// Terminal evaluations and allocations are kept this long.
    pub eval: Duration,
    /// As `eval`, for batch jobs.
    pub batch_eval: Duration,
    /// Dead jobs are kept this long.
    pub job: Duration,
    /// Terminal deployments are kept this long.
    pub deployment: Duration,
    /// Nodes that are down are kept this long.
    pub node: Duration,
    /// At most this many dead jobs are kept, the newest.
    pub dead_jobs_max: usize,
}

impl Default for GcLimits {
    /// The published thresholds; `dead_jobs_max` is our own.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            eval: Duration::from_secs(3_600),
            batch_eval: Duration::from_secs(86_400),
            job: Duration::from_secs(4 * 3_600),
            deployment: Duration::from_secs(3_600),
            node: Duration::from_secs(86_400),
            dead_jobs_max: 10_000,
        }
    }
}

/// What comes of a look at a row.
pub(super) enum Verdict {
    Delete,
    LookAgain(Timestamp),
    /// It is gone, or not terminal any more: its next change is noted.
    Ignore,
}

impl GcLimits {
    pub(super) fn kept(&self, eval: &Evaluation) -> Duration {
        if is_batch(eval.job_type) {
            self.batch_eval
        } else {
            self.eval
        }
    }

    pub(super) fn node_due(&self, node: &Node) -> Timestamp {
        Timestamp::from(node.status_updated_at) + self.node
    }

    pub(super) fn judge_eval(
        &self,
        now: Timestamp,
        state: &Snapshot,
        eval: &Evaluation,
        looked: &mut usize,
    ) -> Verdict {
        if !eval.status.is_terminal() {
            return Verdict::Ignore;
        }
        let job = state.job(&eval.job_key()).map(|job| &**job);
        let threshold = self.kept(eval);
        let later = now + threshold.max(self.interval);
        let mut ended = eval.modify_time;
        for alloc in state.allocs_of_eval(eval.id) {
            *looked += 1;
            ended = ended.max(alloc.modify_time);
            if remembers(job, eval, alloc) || !alloc_is_over(state, alloc, job) {
                return Verdict::LookAgain(later);
            }
        }
        let due = ended + threshold;
        if due <= now {
            Verdict::Delete
        } else {
            Verdict::LookAgain(due)
        }
    }

    pub(super) fn judge_deployment(
        &self,
        now: Timestamp,
        state: &Snapshot,
        row: &Deployment,
    ) -> Verdict {
        if row.is_active() {
            return Verdict::Ignore;
        }
        let due = row.modify_time + self.deployment;
        let due = told_until(state, row).map_or(due, |until| until.max(due));
        let unused = || state.allocs_of_deployment(row.id).next().is_none();
        let latest = || {
            state
                .latest_deployment(&row.job_key())
                .is_some_and(|latest| latest.id == row.id)
        };
        if due > now {
            Verdict::LookAgain(due)
        } else if unused() && !latest() {
            Verdict::Delete
        } else {
            Verdict::LookAgain(now + self.interval)
        }
    }

    pub(super) fn judge_node(&self, now: Timestamp, state: &Snapshot, node: &Node) -> Verdict {
        if node.status != NodeStatus::Down {
            return Verdict::Ignore;
        }
        let due = self.node_due(node);
        let unused = || state.live_allocs_of_node(node.id).next().is_none();
        if due > now {
            Verdict::LookAgain(due)
        } else if unused() {
            Verdict::Delete
        } else {
            Verdict::LookAgain(now + self.interval)
        }
    }
}

/// Until when a deployment tells why its rollouts went as they did; none if it has nothing to tell,
/// or enough newer ones of its job have.
fn told_until(state: &Snapshot, row: &Deployment) -> Option<Timestamp> {
    let until = row.last_transition()? + TOLD_TIME;
    let newer = told(state, &row.job_key()).filter(|own| own.create_index > row.create_index);
    (newer.count() < TOLD_OF_JOB_MAX).then_some(until)
}

/// Until when some deployment of a job tells that.
pub(super) fn job_told_until(state: &Snapshot, key: &JobKey) -> Option<Timestamp> {
    let last = told(state, key).filter_map(|row| row.last_transition());
    last.max().map(|last| last + TOLD_TIME)
}

/// Deployments of a job that are not kept any more because enough newer ones are; those that are
/// not over, too.
pub(super) fn no_longer_told<'a>(
    state: &'a Snapshot,
    key: &JobKey,
) -> impl Iterator<Item = &'a Arc<Deployment>> + use<'a> {
    let mut all: Vec<&Arc<Deployment>> = told(state, key).collect();
    all.sort_by_key(|row| Reverse(row.create_index));
    all.into_iter().skip(TOLD_OF_JOB_MAX)
}

/// Deployments of a job with something to tell.
fn told<'a>(
    state: &'a Snapshot,
    key: &JobKey,
) -> impl Iterator<Item = &'a Arc<Deployment>> + use<'a> {
    let rows = state.deployments_of_job(key);
    rows.filter(|row| row.last_transition().is_some())
}

fn is_batch(job_type: JobType) -> bool {
    matches!(job_type, JobType::Batch | JobType::Sysbatch)
}

/// True for a job whose rows may go when they are old enough.
pub(super) fn is_collectable(job: &Job) -> bool {
    job.status == JobStatus::Dead && (job.stop || is_batch(job.job_type))
}

/// When the last row of a job ended; none while one is not terminal.
pub(super) fn ended_at(state: &Snapshot, job: &Job) -> Option<Timestamp> {
    let key = job.key();
    let mut ended = job.submit_time;
    for eval in state.evals_of_job(&key) {
        if !eval.status.is_terminal() {
            return None;
        }
        ended = ended.max(eval.modify_time);
    }
    for alloc in state.allocs_of_job(&key) {
        if !alloc.client_terminal() {
            return None;
        }
        ended = ended.max(alloc.modify_time);
    }
    Some(ended)
}

/// The runs of a batch job are remembered as long as the job, so that nothing runs twice. Runs of
/// older versions do not matter any more.
fn remembers(job: Option<&Job>, eval: &Evaluation, alloc: &Allocation) -> bool {
    is_batch(eval.job_type) && job.is_some_and(|job| !job.stop && alloc.job_version == job.version)
}

/// True when nothing depends on the allocation any more.
fn alloc_is_over(state: &Snapshot, alloc: &Allocation, job: Option<&Job>) -> bool {
    if !alloc.client_terminal() {
        return false;
    }
    let Some(job) = job.filter(|job| !job.stop && job.status != JobStatus::Dead) else {
        return true;
    };
    if alloc.server_terminal() || alloc.next_allocation.is_some() {
        return true;
    }
    // A failed one that may still be replaced keeps its history.
    let followup = alloc.followup_eval_id.and_then(|id| state.eval(id));
    let waits = followup.is_some_and(|eval| !eval.status.is_terminal());
    alloc.client_status != ClientStatus::Failed || (!waits && alloc.job_version < job.version)
}

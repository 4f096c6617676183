use super::Action;
use crate::{
    model::{
        AllocId, Allocation, ClientStatus, DeploymentId, EvalId, Evaluation, Job, JobKey,
        JobStatus, JobType,
    },
    state::{Command, Snapshot},
};
use std::collections::BTreeSet;

const SECOND_NS: i64 = 1_000_000_000;
/// Most ids in one log entry, about 256 KiB.
pub const COLLECTED_MAX: usize = 7_281;

/// How long and how many finished rows are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcLimits {
    /// Pause between two passes, nanoseconds.
    pub interval_ns: i64,
    /// Terminal evaluations and allocations are kept this long, nanoseconds.
    pub eval_ns: i64,
    /// As `eval_ns`, for batch jobs.
    pub batch_eval_ns: i64,
    /// Dead jobs are kept this long, nanoseconds.
    pub job_ns: i64,
    /// Terminal deployments are kept this long, nanoseconds.
    pub deployment_ns: i64,
    /// At most this many finished jobs are kept, the newest.
    pub dead_jobs_max: usize,
}

impl Default for GcLimits {
    fn default() -> Self {
        Self {
            interval_ns: 300 * SECOND_NS,
            eval_ns: 3_600 * SECOND_NS,
            batch_eval_ns: 86_400 * SECOND_NS,
            job_ns: 4 * 3_600 * SECOND_NS,
            deployment_ns: 3_600 * SECOND_NS,
            dead_jobs_max: 100_000,
        }
    }
}

/// Deletes terminal rows: by age, and the oldest beyond a number.
#[derive(Debug)]
pub struct Gc {
    limits: GcLimits,
    next_ns: Option<i64>,
}

/// What one pass found.
#[derive(Default)]
struct Found {
    evals: Vec<EvalId>,
    allocs: Vec<AllocId>,
    deployments: Vec<DeploymentId>,
    jobs: Vec<JobKey>,
}

impl Gc {
    /// Collects by these limits. The first tick only starts the interval.
    pub fn new(limits: GcLimits) -> Self {
        Self {
            limits,
            next_ns: None,
        }
    }

    /// What to forget now.
    pub fn on_tick(&mut self, now_ns: i64, state: &Snapshot) -> Vec<Action> {
        let due = self.next_ns.is_some_and(|due| due <= now_ns);
        if due || self.next_ns.is_none() {
            self.next_ns = Some(now_ns.saturating_add(self.limits.interval_ns));
        }
        if due {
            collect(&self.limits, now_ns, state)
        } else {
            Vec::new()
        }
    }

    /// When the next pass is due; at once before the first tick.
    pub fn next_tick(&self) -> Option<i64> {
        Some(self.next_ns.unwrap_or(0))
    }

    /// Everything that is over, regardless of its age.
    pub fn force(&self, now_ns: i64, state: &Snapshot) -> Vec<Action> {
        let limits = GcLimits {
            interval_ns: self.limits.interval_ns,
            eval_ns: 0,
            batch_eval_ns: 0,
            job_ns: 0,
            deployment_ns: 0,
            dead_jobs_max: 0,
        };
        collect(&limits, now_ns, state)
    }
}

fn collect(limits: &GcLimits, now_ns: i64, state: &Snapshot) -> Vec<Action> {
    let mut found = Found::default();
    let jobs = dead_jobs(limits, now_ns, state);
    for key in &jobs {
        take_job(state, key, &mut found);
    }
    let taken: BTreeSet<&JobKey> = jobs.iter().collect();
    for eval in state.evals("") {
        if !taken.contains(&eval.job_key()) && eval_is_over(limits, now_ns, state, eval) {
            found.evals.push(eval.id);
            found
                .allocs
                .extend(state.allocs_of_eval(eval.id).map(|a| a.id));
        }
    }
    for deployment in state.deployments("") {
        let old = deployment.modify_time.saturating_add(limits.deployment_ns) <= now_ns;
        let unused = || state.allocs_of_deployment(deployment.id).next().is_none();
        let latest = || {
            state
                .latest_deployment(&deployment.job_key())
                .is_some_and(|d| d.id == deployment.id)
        };
        if !deployment.is_active() && old && unused() && !latest() {
            found.deployments.push(deployment.id);
        }
    }
    found.jobs = jobs;
    found.into_actions()
}

/// Jobs to forget: old enough, or the oldest beyond the number kept.
fn dead_jobs(limits: &GcLimits, now_ns: i64, state: &Snapshot) -> Vec<JobKey> {
    let mut over: Vec<(i64, &Job)> = Vec::new();
    for job in state.jobs(None, "") {
        if is_collectable(job)
            && let Some(ended) = ended_at(state, job)
        {
            over.push((ended, job));
        }
    }
    over.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
    over.into_iter()
        .enumerate()
        .filter(|(at, (ended, _))| {
            *at >= limits.dead_jobs_max || ended.saturating_add(limits.job_ns) <= now_ns
        })
        .map(|(_, (_, job))| job.key())
        .collect()
}

fn is_collectable(job: &Job) -> bool {
    job.status == JobStatus::Dead
        && (job.stop || matches!(job.job_type, JobType::Batch | JobType::Sysbatch))
}

/// When the last row of a job ended; none while one is not over.
fn ended_at(state: &Snapshot, job: &Job) -> Option<i64> {
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

fn take_job(state: &Snapshot, key: &JobKey, found: &mut Found) {
    found.evals.extend(state.evals_of_job(key).map(|e| e.id));
    found.allocs.extend(state.allocs_of_job(key).map(|a| a.id));
}

fn eval_is_over(limits: &GcLimits, now_ns: i64, state: &Snapshot, eval: &Evaluation) -> bool {
    if !eval.status.is_terminal() {
        return false;
    }
    let job = state.job(&eval.job_key());
    let batch = matches!(eval.job_type, JobType::Batch | JobType::Sysbatch);
    if batch && job.is_some_and(|job| !job.stop) {
        // The runs of a batch job are remembered as long as the job, so that nothing runs twice. Runs
        // of older versions do not matter any more.
        let remembers = state
            .allocs_of_eval(eval.id)
            .any(|a| job.is_some_and(|job| a.job_version == job.version));
        if remembers {
            return false;
        }
    }
    let threshold = if batch {
        limits.batch_eval_ns
    } else {
        limits.eval_ns
    };
    let old = |time: i64| time.saturating_add(threshold) <= now_ns;
    old(eval.modify_time)
        && state
            .allocs_of_eval(eval.id)
            .all(|alloc| old(alloc.modify_time) && alloc_is_over(state, alloc, job.map(|j| &**j)))
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
    let waits = alloc
        .followup_eval_id
        .and_then(|id| state.eval(id))
        .is_some_and(|e| !e.status.is_terminal());
    alloc.client_status != ClientStatus::Failed || (!waits && alloc.job_version < job.version)
}

impl Found {
    fn into_actions(self) -> Vec<Action> {
        let mut actions = Vec::new();
        // Allocations go before the evaluations and jobs that they refer to.
        for allocs in self.allocs.chunks(COLLECTED_MAX) {
            actions.push(entry(&[], allocs, &[], &[]));
        }
        for evals in self.evals.chunks(COLLECTED_MAX) {
            actions.push(entry(evals, &[], &[], &[]));
        }
        for deployments in self.deployments.chunks(COLLECTED_MAX) {
            actions.push(entry(&[], &[], deployments, &[]));
        }
        for jobs in self.jobs.chunks(COLLECTED_MAX) {
            actions.push(entry(&[], &[], &[], jobs));
        }
        actions
    }
}

fn entry(
    evals: &[EvalId],
    allocs: &[AllocId],
    deployments: &[DeploymentId],
    jobs: &[JobKey],
) -> Action {
    Action::Propose(Command::Collect {
        evals: evals.to_vec(),
        allocs: allocs.to_vec(),
        deployments: deployments.to_vec(),
        jobs: jobs.to_vec(),
    })
}

use super::Action;
use crate::state::State;

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

/// Forgets what is over.
#[derive(Debug)]
pub struct Gc {}

impl Gc {
    /// Collects by these limits.
    pub fn new(limits: GcLimits) -> Self {
        todo!()
    }
    /// What to forget now; a pass that finds more than one entry holds asks for the next tick at once.
    pub fn on_tick(&mut self, now_ns: i64, state: &State) -> Vec<Action> {
        todo!()
    }
    /// When the next pass is due.
    pub fn next_tick(&self) -> Option<i64> {
        todo!()
    }
    /// Everything that is over, regardless of its age.
    pub fn force(&self, now_ns: i64, state: &State) -> Vec<Action> {
        todo!()
    }
}

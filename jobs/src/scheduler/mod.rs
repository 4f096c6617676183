//! Decides what should run where: a snapshot and an evaluation in, a plan out.

use crate::{
    ids::Ids,
    model::{AllocMetric, DesiredUpdates, Evaluation, Job, Plan, PlanAnnotations, PlanResult},
    state::State,
};
use std::{collections::BTreeMap, sync::Arc};

/// What a decision may draw on besides the snapshot.
#[derive(Clone, Debug)]
pub struct Context {
    /// Now, nanoseconds since the Unix epoch.
    pub now_ns: i64,
    /// Where ids and tie breaks come from.
    pub ids: Ids,
}

impl Context {
    /// A context for decisions at `now_ns`, fully determined by `seed`.
    pub fn new(now_ns: i64, seed: u64) -> Self {
        Self {
            now_ns,
            ids: Ids::from_seed(seed),
        }
    }
}

/// What the scheduler decided about one evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What to change.
    pub plan: Plan,
    /// The evaluation with its new status, failed groups and queued counts.
    pub eval: Evaluation,
    /// Waits for capacity for what could not be placed.
    pub blocked: Option<Evaluation>,
    /// Look again later.
    pub followups: Vec<Evaluation>,
    /// What the plan does per group.
    pub annotations: PlanAnnotations,
}

/// What a registration would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preview {
    /// What would change per group.
    pub annotations: PlanAnnotations,
    /// Group to the reason why it could not be placed.
    pub failed_tg_allocs: BTreeMap<String, AllocMetric>,
    /// Evaluations that it would create.
    pub created_evals: Vec<Evaluation>,
    /// `job_modify_index` to pass back with the registration; 0 when the job is new.
    pub job_modify_index: u64,
}

/// Decides about one evaluation.
pub fn schedule(snapshot: &State, eval: &Evaluation, cx: &mut Context) -> Outcome {
    todo!()
}

/// Decides about several evaluations, each seeing what the ones before it decided. The results are
/// verified and go into one [`crate::state::Command::ApplyPlans`].
pub fn schedule_batch(
    snapshot: &State,
    evals: &[Arc<Evaluation>],
    cx: &mut Context,
) -> Vec<PlanResult> {
    todo!()
}

/// What registering `job` now would do; nothing is changed.
pub fn preview(snapshot: &State, job: Job, cx: &mut Context) -> Preview {
    todo!()
}

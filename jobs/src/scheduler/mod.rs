//! Decides what should run where: a snapshot and an evaluation in, a plan out.
//!
//! [`schedule`] looks at one evaluation in two steps: `reconcile` compares the job with its
//! allocations and knows nothing of room; the rest finds places, by `feasible` (may it run there),
//! `model::Capacity` and `ports` (is there room) and `rank` (which is best).

mod distinct;
mod feasible;
mod fleet;
mod generic;
mod ports;
mod preempt;
mod rank;
mod ranking;
mod reconcile;
mod spread;
mod system;

pub(crate) use reconcile::{allowed as reschedule_allowed, texts};

use crate::{
    ids::Ids,
    model::{
        AllocMetric, Allocation, EvalStatus, Evaluation, FlatMap, GroupName, Job, JobType, Node,
        NodeId, NodeStatus, NodeUsage, Plan, PlanAnnotations, PlanResult, Room, TaskGroup, Text,
        Timestamp, Trigger,
    },
    state::{Snapshot, Stamp},
};
use feasible::Unfit;
use generic::Report;
use std::sync::Arc;

/// What a decision may draw on besides the snapshot.
#[derive(Clone, Debug)]
pub struct Context {
    /// Now since the Unix epoch.
    pub now: Timestamp,
    /// Where ids and tie breaks come from.
    pub ids: Ids,
    /// Allocations that one plan may place or update, unless they must be placed all at once. What
    /// is left is for another evaluation, so that a plan fits a log entry whatever the job counts.
    pub plan_allocs_max: usize,
}

/// As [`Context::plan_allocs_max`], unless told otherwise.
const PLAN_ALLOCS_MAX: usize = 4096;

impl Context {
    /// A context for decisions at `now`, fully determined by `seed`.
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self {
            now,
            ids: Ids::from_seed(seed),
            plan_allocs_max: PLAN_ALLOCS_MAX,
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
    /// Blocked evaluations of the job that this one makes superfluous, as canceled.
    pub canceled: Vec<Evaluation>,
    /// Look again later.
    pub followups: Vec<Evaluation>,
    /// Evaluations of the jobs whose allocations the plan evicts.
    pub preempted_jobs: Vec<Evaluation>,
    /// What the plan does per group.
    pub annotations: PlanAnnotations,
}

impl Outcome {
    /// The plan as it goes into the log, with every evaluation that comes of it.
    pub fn into_result(self) -> PlanResult {
        let Plan {
            eval_id,
            job,
            placements,
            stops,
            deployment,
            deployment_updates,
            ..
        } = self.plan;
        let mut result = PlanResult {
            eval_id,
            job_version: job.map_or(0, |job| job.version),
            placements: placements.into_values().flatten().collect(),
            stops,
            deployment,
            deployment_updates,
            evals: Vec::new(),
        };
        result.evals.push(self.eval);
        result.evals.extend(self.blocked);
        result.evals.extend(self.canceled);
        result.evals.extend(self.followups);
        result.evals.extend(self.preempted_jobs);
        result
    }
}

/// What a registration would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preview {
    /// What would change per group.
    pub annotations: PlanAnnotations,
    /// Group to the reason why it could not be placed.
    pub failed_tg_allocs: FlatMap<GroupName, AllocMetric>,
    /// Evaluations that it would create.
    pub created_evals: Vec<Evaluation>,
    /// `job_modify_index` to pass back with the registration; 0 when the job is new.
    pub job_modify_index: u64,
}

/// Decides about one evaluation.
pub fn schedule(snapshot: &Snapshot, eval: &Evaluation, cx: &mut Context) -> Outcome {
    // One that never runs itself has nothing to place; what ran under its id before has to go.
    let job = snapshot.job(&eval.job_key());
    decide(snapshot, eval, job.filter(|job| !job.is_parent()), cx)
}

fn decide(
    snapshot: &Snapshot,
    eval: &Evaluation,
    job: Option<&Arc<Job>>,
    cx: &mut Context,
) -> Outcome {
    match eval.job_type {
        JobType::Service | JobType::Batch => generic::process(snapshot, eval, job, cx),
        JobType::System | JobType::Sysbatch => system::process(snapshot, eval, job, cx),
    }
}

/// Decides about several evaluations, each seeing what the ones before it decided. Each result is
/// verified by [`crate::verify`] when its entry is applied; what was overtaken is decided about
/// anew.
pub fn schedule_batch(
    snapshot: &Snapshot,
    evals: &[Arc<Evaluation>],
    cx: &mut Context,
) -> Vec<PlanResult> {
    let mut working = snapshot.clone();
    let at = Stamp {
        index: snapshot.index().saturating_add(1),
        now: cx.now,
    };
    let mut results = Vec::with_capacity(evals.len());
    for (done, eval) in evals.iter().enumerate() {
        let mut result = schedule(&working, eval, cx).into_result();
        for eval in &mut result.evals {
            eval.snapshot_index = snapshot.index();
        }
        if done + 1 < evals.len() {
            working = working.with_plan(at, result.clone());
        }
        results.push(result);
    }
    results
}

/// What registering `job` now would do; nothing is changed.
pub fn preview(snapshot: &Snapshot, job: Job, cx: &mut Context) -> Preview {
    let key = job.key();
    let job_modify_index = snapshot.job(&key).map_or(0, |job| job.job_modify_index);
    let eval = Evaluation {
        id: cx.ids.next_eval(),
        namespace: job.namespace.clone(),
        priority: job.priority,
        job_type: job.job_type,
        triggered_by: Trigger::JobRegister,
        job_id: job.id.clone(),
        status: EvalStatus::Pending,
        ..Evaluation::default()
    };
    let at = Stamp {
        index: snapshot.index().saturating_add(1),
        now: cx.now,
    };
    let working = snapshot.clone().with_job(at, job);
    // Of one that is launched at set times it is told what a launch would do.
    let outcome = decide(&working, &eval, working.job(&key), cx);
    Preview {
        annotations: outcome.annotations,
        failed_tg_allocs: outcome.eval.failed_tg_allocs,
        created_evals: outcome
            .followups
            .into_iter()
            .chain(outcome.blocked)
            .collect(),
        job_modify_index,
    }
}

/// Gives the evaluation its end and makes the one that waits for capacity.
fn conclude(
    snapshot: &Snapshot,
    eval: &Evaluation,
    plan: Plan,
    report: Report,
    followups: Vec<Evaluation>,
    mut annotations: PlanAnnotations,
    cx: &mut Context,
) -> Outcome {
    let Report {
        failed,
        queued,
        postponed,
        filtered,
        preemptions,
    } = report;
    preemptions.annotate(&mut annotations);
    let mut done = eval.clone();
    done.status = EvalStatus::Complete;
    done.status_description = Text::default();
    done.blocked_eval = None;
    done.queued_allocations = queued;
    done.failed_tg_allocs = failed;
    done.plan_annotations = Some(Box::new(annotations.clone()));
    let latest = snapshot.latest_deployment(&eval.job_key());
    if let Some(id) = plan
        .deployment
        .as_ref()
        .map(|deployment| deployment.id)
        .or_else(|| latest.map(|deployment| deployment.id))
    {
        done.deployment_id = Some(id);
    }
    let mut blocked = None;
    let mut waits_for = postponed;
    waits_for.extend(done.failed_tg_allocs.clone());
    done.failed_tg_allocs.extend(filtered);
    if !waits_for.is_empty() {
        if eval.status == EvalStatus::Blocked {
            // It goes on waiting.
            done.status = EvalStatus::Blocked;
            done.status_description.clone_from(&eval.status_description);
            done.failed_tg_allocs = waits_for;
        } else {
            let waiting = blocked_eval(eval, waits_for, cx);
            done.blocked_eval = Some(waiting.id);
            blocked = Some(waiting);
        }
    }
    let canceled = superfluous(snapshot, eval);
    let preempted_jobs = preemptions.evals(snapshot, &mut cx.ids);
    Outcome {
        plan,
        eval: done,
        blocked,
        canceled,
        followups,
        preempted_jobs,
        annotations,
    }
}

/// Goes on with what the plan of `eval` had no room for.
fn next_eval(eval: &Evaluation, cx: &mut Context) -> Evaluation {
    Evaluation {
        status_description: "created to place what the plan had no room for".into(),
        ..following_eval(eval, EvalStatus::Pending, cx)
    }
}

fn blocked_eval(
    eval: &Evaluation,
    waits_for: FlatMap<GroupName, AllocMetric>,
    cx: &mut Context,
) -> Evaluation {
    Evaluation {
        status_description: "created to place remaining allocations".into(),
        failed_tg_allocs: waits_for,
        ..following_eval(eval, EvalStatus::Blocked, cx)
    }
}

/// An evaluation for the allocations that `eval` left unplaced.
fn following_eval(eval: &Evaluation, status: EvalStatus, cx: &mut Context) -> Evaluation {
    Evaluation {
        id: cx.ids.next_eval(),
        namespace: eval.namespace.clone(),
        priority: eval.priority,
        job_type: eval.job_type,
        triggered_by: Trigger::QueuedAllocs,
        job_id: eval.job_id.clone(),
        job_modify_index: eval.job_modify_index,
        status,
        previous_eval: Some(eval.id),
        ..Evaluation::default()
    }
}

/// Other blocked evaluations of the job, canceled: this one saw the same and more.
fn superfluous(snapshot: &Snapshot, eval: &Evaluation) -> Vec<Evaluation> {
    snapshot
        .evals_of_job(&eval.job_key())
        .filter(|other| other.status == EvalStatus::Blocked && other.id != eval.id)
        .map(|other| Evaluation {
            status: EvalStatus::Canceled,
            status_description: format!(
                "existing blocked evaluation exists for job \"{}\"",
                other.job_id
            )
            .into(),
            ..(**other).clone()
        })
        .collect()
}

/// True when the node is down or unknown, so that nothing is heard of its allocations.
fn node_gone(snapshot: &Snapshot, id: NodeId) -> bool {
    snapshot
        .node(id)
        .is_none_or(|node| node.status == NodeStatus::Down)
}

/// True when the allocation's node still suits that form of its group.
///
/// What that tells of the node's class is kept for the evaluation.
fn stays_feasible(
    snapshot: &Snapshot,
    job: &Job,
    group: &TaskGroup,
    alloc: &Allocation,
    unfit: &mut Unfit,
) -> bool {
    let node = snapshot.node(alloc.node_id);
    let Some(node) = node.filter(|node| feasible::in_reach(job, node)) else {
        return false;
    };
    let mut feasibility = feasible::Feasibility::after(job, group, unfit);
    let class = (!node.computed_class.is_empty()).then_some(0);
    let stays = feasibility.objection(node, class).is_none();
    feasibility.teach(group, unfit);
    stays
}

/// The room that one allocation of the group would take on the node beside `used`, or in the place
/// of older or less important ones, which is no room at all; none when the node cannot take it.
/// Used to decide whom to wake.
pub(crate) fn room_for(
    snapshot: &Snapshot,
    job: &Job,
    group: &TaskGroup,
    node: &Arc<Node>,
    used: &NodeUsage,
) -> Option<Room> {
    if !node.is_ready() {
        return None;
    }
    let room = Room::of(group, node);
    let room = if has_room(group, node, used, &room) {
        room
    } else if replaces(snapshot, job, group, node, used, &room)
        || preempt::possible(snapshot, job, group, node, used)
    {
        Room::default()
    } else {
        return None;
    };
    let suits = feasible::in_reach(job, node)
        && feasible::Feasibility::new(job, group)
            .objection(node, None)
            .is_none();
    suits.then_some(room)
}

/// True when an allocation of an older version, stopped, would leave enough room on the node.
fn replaces(
    snapshot: &Snapshot,
    job: &Job,
    group: &TaskGroup,
    node: &Node,
    used: &NodeUsage,
    room: &Room,
) -> bool {
    if job.version == 0 {
        return false;
    }
    let mut old = snapshot
        .allocs_of_job(&job.key())
        .filter(|alloc| alloc.node_id == node.id && alloc.job_version != job.version)
        .filter(|alloc| alloc.task_group == group.name && !alloc.is_terminal());
    old.any(|alloc| {
        let mut used = used.clone();
        used.remove(&alloc.allocated_resources);
        has_room(group, node, &used, room)
    })
}

fn has_room(group: &TaskGroup, node: &Node, used: &NodeUsage, room: &Room) -> bool {
    room.fits(node, used) && (room.ports.is_empty() || ports::allocate(group, node, used).is_ok())
}

/// True when the job could ever run on the node, room aside.
pub(crate) fn suits(job: &Job, node: &Node) -> bool {
    feasible::in_reach(job, node)
        && job.task_groups.iter().any(|group| {
            feasible::Feasibility::new(job, group)
                .objection(node, None)
                .is_none()
        })
}

//! Commands that users give by hand, checked against the state.

use super::triggers;
use crate::{
    ids::Ids,
    model::{
        AllocId, ClientStatus, Deployment, DeploymentId, DeploymentStatus, DeploymentUpdate,
        DesiredTransition, DrainStrategy, Eligibility, Evaluation, GroupName, Index, Job, JobKey,
        NodeId, ScalingEvent, Span, Submission, Timestamp, Trigger,
    },
    scheduler::texts,
    state::{
        Command, DeregisterJob, RegisterJob, Rejected, Revert, ScaleJob, Snapshot, UpdateNodeDrain,
    },
};
use std::collections::BTreeMap;

/// A registration as it is handed in.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// Canonical and valid.
    pub job: Job,
    /// The text that it came from.
    pub submission: Option<Submission>,
    /// Refuse unless the job's `job_modify_index` is this; 0 is "must not exist".
    pub enforce_index: Option<Index>,
    /// Priority of the evaluation instead of the job's.
    pub eval_priority: Option<i32>,
    /// Keep the counts that groups have when the entry is applied.
    pub preserve_counts: bool,
}

/// Registers a job or a new version of it, with the evaluation that looks at it. A job that never
/// runs itself needs none.
pub fn register(registration: Registration, now: Timestamp, ids: &mut Ids) -> Command {
    let Registration {
        mut job,
        submission,
        enforce_index,
        eval_priority,
        preserve_counts,
    } = registration;
    job.submit_time = now;
    let mut eval = triggers::for_job(&job, Trigger::JobRegister, now, ids);
    eval.priority = eval_priority.unwrap_or(eval.priority);
    Command::RegisterJob(Box::new(RegisterJob {
        eval: (!job.is_parent()).then_some(eval),
        job,
        submission,
        enforce_index,
        preserve_counts,
    }))
}

/// Stops a job, or removes it. Whether there is one is decided when the entry is applied.
pub fn deregister(
    state: &Snapshot,
    now: Timestamp,
    key: &JobKey,
    purge: bool,
    eval_priority: Option<i32>,
    ids: &mut Ids,
) -> Command {
    let runs = state.job(key).filter(|job| !job.is_parent());
    let mut eval = runs.map(|job| triggers::for_job(job, Trigger::JobDeregister, now, ids));
    if let (Some(eval), Some(priority)) = (&mut eval, eval_priority) {
        eval.priority = priority;
    }
    Command::DeregisterJob(DeregisterJob {
        namespace: key.namespace.clone(),
        id: key.id.clone(),
        purge,
        submit_time: now,
        eval,
    })
}

/// Looks at a job again. With `force_reschedule`, failed allocations are replaced whatever their
/// policy says.
///
/// # Errors
/// [`Rejected::NoJob`], and [`Rejected::WrongKind`] for one that never runs itself.
pub fn evaluate(
    state: &Snapshot,
    now: Timestamp,
    key: &JobKey,
    force_reschedule: bool,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    let job = state.job(key).ok_or(Rejected::NoJob)?;
    if job.is_parent() {
        let kind = if job.periodic.is_some() {
            "periodic"
        } else {
            "parameterized"
        };
        return Err(Rejected::WrongKind(format!("can't evaluate {kind} job")));
    }
    let eval = triggers::for_job(job, Trigger::JobRegister, now, ids);
    let transition = DesiredTransition {
        force_reschedule: Some(true),
        ..DesiredTransition::default()
    };
    let failed = state.allocs_of_job(key).filter(|alloc| {
        force_reschedule && alloc.client_status == ClientStatus::Failed && !alloc.server_terminal()
    });
    Ok(Command::TransitionAllocs {
        transitions: failed.map(|alloc| (alloc.id, transition.clone())).collect(),
        evals: vec![eval],
    })
}

/// A change of a group's count.
#[derive(Clone, Debug, Default)]
pub struct Scaling {
    /// Group; needed unless the job has only one.
    pub group: GroupName,
    /// New count; none only records the message.
    pub count: Option<i64>,
    /// Free text.
    pub message: String,
    /// The message reports an error.
    pub error: bool,
    /// Free-form data.
    pub meta: serde_json::Map<String, serde_json::Value>,
    /// Refuse unless the job's `job_modify_index` is this.
    pub enforce_index: Option<Index>,
}

/// Changes a group's count, or records why it was not changed. Everything is checked again when the
/// entry is applied.
///
/// # Errors
/// [`Rejected`] when the job or the group is missing, another index is enforced, the count is out
/// of bounds or a deployment of the job is active.
pub fn scale(
    state: &Snapshot,
    now: Timestamp,
    key: &JobKey,
    scaling: Scaling,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    let runs = state.job(key).filter(|job| !job.is_parent());
    let eval = scaling
        .count
        .and(runs)
        .map(|job| triggers::for_job(job, Trigger::JobScaling, now, ids));
    let command = ScaleJob {
        namespace: key.namespace.clone(),
        id: key.id.clone(),
        group: scaling.group,
        count: scaling.count,
        event: ScalingEvent {
            error: scaling.error,
            message: scaling.message,
            meta: scaling.meta,
            ..ScalingEvent::default()
        },
        submit_time: now,
        eval,
        enforce_index: scaling.enforce_index,
    };
    command.check(state)?;
    Ok(Command::ScaleJob(Box::new(command)))
}

/// Changes whether a node takes new allocations; an eligible one is offered to the jobs that want
/// it.
///
/// # Errors
/// [`Rejected::NoNode`].
pub fn set_eligibility(
    state: &Snapshot,
    now: Timestamp,
    node_id: NodeId,
    eligibility: Eligibility,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    state.node(node_id).ok_or(Rejected::NoNode)?;
    let evals = match eligibility {
        Eligibility::Eligible => triggers::for_nodes(state, &[node_id], now, ids),
        Eligibility::Ineligible => Vec::new(),
    };
    Ok(Command::UpdateNodeEligibility {
        node_id,
        eligibility,
        evals,
    })
}

/// What is asked of a drain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainWish {
    /// How long allocations may take to leave, and whether those of system jobs stay; none ends
    /// the drain. Zero is for ever, less is not at all.
    pub drain: Option<(Span, bool)>,
    /// When the drain ends, the node takes new allocations again.
    pub mark_eligible: bool,
    /// What is noted with it.
    pub meta: BTreeMap<String, String>,
}

/// Begins to empty a node, changes how, or ends it; a node that takes allocations again is offered
/// to the jobs that want it.
///
/// # Errors
/// [`Rejected::NoNode`].
pub fn drain_node(
    state: &Snapshot,
    now: Timestamp,
    node_id: NodeId,
    wish: DrainWish,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    state.node(node_id).ok_or(Rejected::NoNode)?;
    let evals = if wish.drain.is_none() && wish.mark_eligible {
        triggers::for_nodes(state, &[node_id], now, ids)
    } else {
        Vec::new()
    };
    let strategy = wish
        .drain
        .map(|(deadline, ignores)| DrainStrategy::new(deadline, ignores, now));
    Ok(Command::UpdateNodeDrain(Box::new(UpdateNodeDrain {
        node_id,
        strategy,
        mark_eligible: wish.mark_eligible,
        meta: wish.meta,
        evals,
        ..UpdateNodeDrain::default()
    })))
}

/// Forgets a node; what it ran counts as lost.
///
/// # Errors
/// [`Rejected::NoNode`].
pub fn purge_node(
    state: &Snapshot,
    now: Timestamp,
    node_id: NodeId,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    state.node(node_id).ok_or(Rejected::NoNode)?;
    let evals = triggers::for_nodes(state, &[node_id], now, ids);
    Ok(Command::DeregisterNode { node_id, evals })
}

/// Evaluations that look at every job of a node again.
///
/// # Errors
/// [`Rejected::NoNode`].
pub fn evaluate_node(
    state: &Snapshot,
    now: Timestamp,
    node_id: NodeId,
    ids: &mut Ids,
) -> Result<Vec<Evaluation>, Rejected> {
    state.node(node_id).ok_or(Rejected::NoNode)?;
    Ok(triggers::for_nodes(state, &[node_id], now, ids))
}

/// The version that a job went back to when the entry at `index` was applied; none when it did not,
/// because the job changed before.
pub fn reverted_version(state: &Snapshot, index: Index, revert: &Revert) -> Option<u64> {
    let written = state.versions(&revert.job.key()).iter().any(|version| {
        version.job_modify_index == index && version.same_specification(&revert.job)
    });
    written.then_some(revert.job.version)
}

/// The evaluation that goes on with a deployment; of the job as the deployment has it when it was
/// purged.
fn watcher_eval(
    state: &Snapshot,
    deployment: &Deployment,
    now: Timestamp,
    ids: &mut Ids,
) -> Option<Evaluation> {
    let key = deployment.job_key();
    let mut eval = triggers::for_key(state, &key, Trigger::DeploymentWatcher, now, ids)?;
    eval.deployment_id = Some(deployment.id);
    Some(eval)
}

/// Promotes canaries; `groups` empty is all.
///
/// # Errors
/// [`Rejected`] when the deployment is over or a group has too few healthy canaries.
pub fn promote(
    state: &Snapshot,
    now: Timestamp,
    id: DeploymentId,
    groups: &[GroupName],
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    let deployment = state.active_deployment(id)?;
    state.check_promotable(deployment, groups)?;
    let eval = watcher_eval(state, deployment, now, ids).ok_or(Rejected::NoJob)?;
    Ok(Command::PromoteDeployment {
        deployment_id: id,
        groups: groups.to_vec(),
        eval,
    })
}

/// Gives a deployment up, and goes back to the last stable version when its groups say so.
///
/// # Errors
/// [`Rejected`] when the deployment is over.
pub fn fail(
    state: &Snapshot,
    now: Timestamp,
    id: DeploymentId,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    let deployment = state.active_deployment(id)?;
    Ok(end_failed(
        state,
        now,
        deployment,
        "Deployment marked as failed",
        ids,
    ))
}

/// The end of a deployment that failed, with what follows from it.
pub(super) fn end_failed(
    state: &Snapshot,
    now: Timestamp,
    deployment: &Deployment,
    reason: &str,
    ids: &mut Ids,
) -> Command {
    let (description, revert) = failure_with_revert(state, deployment, reason, now);
    Command::UpdateDeployment {
        update: DeploymentUpdate {
            deployment_id: deployment.id,
            status: DeploymentStatus::Failed,
            description,
        },
        eval: watcher_eval(state, deployment, now, ids),
        revert,
    }
}

/// The description of a failure, and the version to go back to; that is left out, and the
/// description stands, when the job changes before the entry is applied.
fn failure_with_revert(
    state: &Snapshot,
    deployment: &Deployment,
    reason: &str,
    now: Timestamp,
) -> (String, Option<Box<Revert>>) {
    if !deployment.task_groups.values().any(|g| g.auto_revert) {
        return (reason.into(), None);
    }
    let key = deployment.job_key();
    let stable = state
        .versions(&key)
        .iter()
        .find(|job| job.stable && job.version < deployment.job_version);
    let (Some(stable), Some(current)) = (stable, state.job(&key)) else {
        return (
            format!("{reason} - no stable job version to auto revert to"),
            None,
        );
    };
    let version = stable.version;
    if stable.same_specification(current) {
        return (
            format!(
                "{reason} - not rolling back to stable job version {version} as current job has same specification"
            ),
            None,
        );
    }
    let mut job = (**stable).clone();
    job.stable = false;
    job.submit_time = now;
    let revert = Revert {
        job,
        description: format!("{reason} - rolling back to job version {version}"),
    };
    (
        format!(
            "{reason} - not rolling back to stable job version {version} as the job changed meanwhile"
        ),
        Some(Box::new(revert)),
    )
}

/// Pauses or resumes a deployment.
///
/// # Errors
/// [`Rejected`] when the deployment is over.
pub fn pause(
    state: &Snapshot,
    now: Timestamp,
    id: DeploymentId,
    pause: bool,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    let deployment = state.active_deployment(id)?;
    let (status, description) = if pause {
        (DeploymentStatus::Paused, "Deployment is paused")
    } else {
        (DeploymentStatus::Running, running_text(deployment))
    };
    let eval = if pause {
        None
    } else {
        watcher_eval(state, deployment, now, ids)
    };
    Ok(Command::UpdateDeployment {
        update: DeploymentUpdate {
            deployment_id: id,
            status,
            description: description.into(),
        },
        eval,
        revert: None,
    })
}

fn running_text(deployment: &Deployment) -> &'static str {
    if !deployment.requires_promotion() {
        texts::RUNNING
    } else if deployment.has_auto_promote() {
        texts::AUTO_PROMOTION
    } else {
        texts::NEEDS_PROMOTION
    }
}

/// Sets the health of allocations by hand.
///
/// # Errors
/// [`Rejected`] when the deployment is over or an allocation is not part of it.
pub fn set_health(
    state: &Snapshot,
    now: Timestamp,
    id: DeploymentId,
    healthy: Vec<AllocId>,
    unhealthy: Vec<AllocId>,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    let deployment = state.active_deployment(id)?;
    for &alloc_id in healthy.iter().chain(&unhealthy) {
        let alloc = state.alloc(alloc_id).ok_or(Rejected::NoAlloc)?;
        if alloc.deployment_id != Some(id) {
            return Err(Rejected::NoAlloc);
        }
    }
    let (update, revert) = if unhealthy.is_empty() {
        (None, None)
    } else {
        let reason = "Failed due to unhealthy allocations";
        let (description, revert) = failure_with_revert(state, deployment, reason, now);
        let update = DeploymentUpdate {
            deployment_id: id,
            status: DeploymentStatus::Failed,
            description,
        };
        (Some(update), revert)
    };
    Ok(Command::SetAllocHealth {
        deployment_id: id,
        healthy,
        unhealthy,
        update,
        eval: watcher_eval(state, deployment, now, ids),
        revert,
    })
}

/// Registers an older version as the next one. `enforce_prior` is the version that must be current.
///
/// # Errors
/// [`Rejected`] when the job or the version is missing, or another one is current.
pub fn revert(
    state: &Snapshot,
    now: Timestamp,
    key: &JobKey,
    version: u64,
    enforce_prior: Option<u64>,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    let current = state.job(key).ok_or(Rejected::NoJob)?;
    if let Some(prior) = enforce_prior.filter(|prior| *prior != current.version) {
        return Err(Rejected::PriorVersion {
            wanted: prior,
            found: current.version,
        });
    }
    if current.version == version {
        return Err(Rejected::SameVersion { version });
    }
    let older = state.version(key, version).ok_or(Rejected::NoVersion)?;
    let mut job = (**older).clone();
    job.stable = false;
    job.version_tag = None;
    job.submit_time = now;
    let eval = triggers::for_job(&job, Trigger::JobRegister, now, ids);
    Ok(Command::RegisterJob(Box::new(RegisterJob {
        eval: (!job.is_parent()).then_some(eval),
        job,
        submission: state.submission(key, version).map(|s| (**s).clone()),
        enforce_index: Some(current.job_modify_index),
        preserve_counts: false,
    })))
}

/// Stops an allocation and has another placed.
///
/// # Errors
/// [`Rejected::NoAlloc`].
pub fn stop_alloc(
    state: &Snapshot,
    now: Timestamp,
    alloc_id: AllocId,
    no_shutdown_delay: bool,
    ids: &mut Ids,
) -> Result<Command, Rejected> {
    let alloc = state.alloc(alloc_id).ok_or(Rejected::NoAlloc)?;
    let wish = DesiredTransition {
        migrate: Some(true),
        no_shutdown_delay: no_shutdown_delay.then_some(true),
        ..DesiredTransition::default()
    };
    let key = alloc.job_key();
    let eval = triggers::for_key(state, &key, Trigger::AllocStop, now, ids)
        .unwrap_or_else(|| triggers::for_job(&alloc.job, Trigger::AllocStop, now, ids));
    Ok(Command::TransitionAllocs {
        transitions: BTreeMap::from([(alloc_id, wish)]),
        evals: vec![eval],
    })
}

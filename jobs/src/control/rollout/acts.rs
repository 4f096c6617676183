//! What operators do to a rollout. The next look of the judge takes it from there.

use super::{progress, rollouts::first_row};
use crate::{
    model::{
        Deployment, DeploymentId, DeploymentState, DeploymentStatus, GroupName, Rollout,
        RolloutCause, RolloutPhase, RolloutPolicy, RolloutTransition, Share, Span, Timestamp,
    },
    state::{Command, Rejected, SetRollout, Snapshot},
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A share that stays until somebody goes on.
    SetShare(Share),
    /// The next step, whatever was counted.
    Next,
    /// The step before.
    Back,
    /// The step that it is in goes on, with its own share.
    Resume,
}

/// Who asks, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Who; shown with the transition.
    pub actor: String,
    /// Why; may be empty.
    pub reason: String,
    /// Only if the rollout is still at this revision, 0 for none yet; whatever it is at for none.
    pub revision: Option<u64>,
}

/// Where an act leads, as whoever asked for it saw the rollout. Whatever else moves the rollout
/// before it is written, it leads there and not beyond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    deployment_id: DeploymentId,
    group: GroupName,
    goal: Goal,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// A share.
    Share(Share),
    /// At least this step; the number of steps for the end.
    Onto(u32),
    /// At most this step.
    BackTo(u32),
    /// The step that it is in, with its share.
    Resume,
}

/// Says where an act leads: of a group of a deployment, or of its only group with canaries. With
/// `revision` only if the rollout is still at that one, 0 for none yet.
///
/// # Errors
/// [`Rejected`] when the deployment is over, there is no such group with canaries, several when
/// none is named, nowhere to go, or another revision.
pub fn aim(
    state: &Snapshot,
    id: DeploymentId,
    group: Option<&GroupName>,
    act: Act,
    revision: Option<u64>,
) -> Result<Aim, Rejected> {
    let deployment = state.active_deployment(id)?;
    let mut waiting = deployment
        .task_groups
        .iter()
        .filter(|(name, _)| group.is_none_or(|wanted| wanted == *name))
        .filter(|(_, row)| awaits_promotion(row));
    let first = waiting.next();
    let (name, row) = first.ok_or_else(|| Rejected::NoCanaries {
        group: group.cloned().unwrap_or_default(),
    })?;
    if waiting.next().is_some() {
        return Err(Rejected::WhichGroup);
    }
    let now_at = row.rollout.as_ref().map_or(0, |row| row.revision);
    if revision.is_some_and(|expected| expected != now_at) {
        return Err(Rejected::RolloutMoved { revision: now_at });
    }
    let before = before(row, &policy(state, deployment, name), Timestamp::default());
    let goal = match act {
        Act::SetShare(share) => Goal::Share(share),
        Act::Resume => Goal::Resume,
        Act::Next if before.step_share(before.step).is_none() => return Err(Rejected::NoStep),
        Act::Next if before.phase == RolloutPhase::Warming => Goal::Onto(0),
        Act::Next => Goal::Onto(before.step + 1),
        Act::Back => Goal::BackTo(before.step.checked_sub(1).ok_or(Rejected::FirstStep)?),
    };
    Ok(Aim {
        deployment_id: id,
        group: name.clone(),
        goal,
    })
}

/// Moves a rollout to where it is wanted.
///
/// # Errors
/// [`Rejected`] when the deployment is over, its canaries were promoted meanwhile, or there is no
/// such step.
pub fn act(
    state: &Snapshot,
    now: Timestamp,
    aim: &Aim,
    asked: &Asked,
) -> Result<Command, Rejected> {
    let deployment = state.active_deployment(aim.deployment_id)?;
    let group = deployment.task_groups.get(&aim.group);
    let group = group
        .filter(|row| awaits_promotion(row))
        .ok_or_else(|| Rejected::NoCanaries {
            group: aim.group.clone(),
        })?;
    let policy = policy(state, deployment, &aim.group);
    let before = before(group, &policy, now);
    let mut transition = transition(&policy, &before, aim.goal, now)?;
    transition.actor.clone_from(&asked.actor);
    if !asked.reason.is_empty() {
        transition.reason = format!("{}: {}", transition.reason, asked.reason);
    }
    let elapsed = if transition.step == before.step {
        before.elapsed
    } else {
        Span::ZERO
    };
    let mut rollout = before.after(transition, elapsed);
    rollout.is_manual = matches!(aim.goal, Goal::Share(_));
    if let Goal::Share(share) = aim.goal
        && rollout.steps.is_empty()
    {
        rollout.steps = vec![share];
    }
    Ok(Command::SetRollout(Box::new(SetRollout {
        deployment_id: aim.deployment_id,
        group: aim.group.clone(),
        rollout,
        ..SetRollout::default()
    })))
}

/// Whether a change that a controller decided about goes with what operators did since: nothing is
/// promoted that somebody took back, and no share rises while the deployment is paused.
pub fn still_holds(state: &Snapshot, command: &Command) -> bool {
    let is_running = |row: &Deployment| row.status == DeploymentStatus::Running;
    match command {
        Command::PromoteDeployment {
            deployment_id,
            groups,
            ..
        } => {
            let Some(row) = state.deployment(*deployment_id) else {
                return true;
            };
            let mut chosen = row
                .task_groups
                .iter()
                .filter(|(name, group)| {
                    awaits_promotion(group) && (groups.is_empty() || groups.contains(name))
                })
                .filter_map(|(_, group)| group.rollout.as_ref());
            is_running(row) && chosen.all(|rollout| rollout.phase == RolloutPhase::Passed)
        }
        Command::SetRollout(next) => {
            let Some(row) = state.deployment(next.deployment_id) else {
                return true;
            };
            let before = row.task_groups.get(&next.group);
            let before = before.and_then(|group| group.rollout.as_ref());
            let share = before.map_or(Share::NONE, |rollout| rollout.share);
            is_running(row) || next.rollout.share <= share
        }
        _ => true,
    }
}

fn awaits_promotion(group: &DeploymentState) -> bool {
    group.desired_canaries > 0 && !group.promoted
}

fn policy(state: &Snapshot, deployment: &Deployment, group: &GroupName) -> RolloutPolicy {
    let job = state.version(&deployment.job_key(), deployment.job_version);
    job.and_then(|job| job.task_group(group))
        .map(|group| group.rollout_policy())
        .unwrap_or_default()
}

/// The row as it is, or as it would begin.
fn before(group: &DeploymentState, policy: &RolloutPolicy, now: Timestamp) -> Rollout {
    match group.rollout.as_deref() {
        Some(row) => row.clone(),
        None => Rollout {
            revision: 0,
            ..first_row(policy, now)
        },
    }
}

fn transition(
    policy: &RolloutPolicy,
    before: &Rollout,
    goal: Goal,
    now: Timestamp,
) -> Result<RolloutTransition, Rejected> {
    let same = RolloutTransition {
        at: now,
        phase: RolloutPhase::Judging,
        step: before.step,
        share: before.share,
        cause: RolloutCause::Operator,
        ..RolloutTransition::default()
    };
    let last = u32::try_from(before.steps.len().saturating_sub(1)).unwrap_or(u32::MAX);
    match goal {
        Goal::Share(share) => Ok(RolloutTransition {
            phase: RolloutPhase::Held,
            share,
            reason: format!("the share was set by hand to {share}"),
            ..same
        }),
        Goal::Resume => to_step(before, before.step.min(last), same),
        Goal::BackTo(step) => to_step(before, step.min(before.step), same),
        Goal::Onto(0) if before.phase == RolloutPhase::Warming => {
            let begun = to_step(before, 0, same)?;
            if before.cause == RolloutCause::Gate {
                return Ok(begun);
            }
            let reason = format!("{}, without waiting for the canaries", begun.reason);
            Ok(RolloutTransition { reason, ..begun })
        }
        // It is there already, or further.
        Goal::Onto(step) if step <= before.step && before.step <= last => {
            to_step(before, before.step, same)
        }
        Goal::Onto(step) if step <= before.step => Ok(RolloutTransition {
            phase: before.phase,
            reason: before.reason.clone(),
            ..same
        }),
        Goal::Onto(step) if step <= last => to_step(before, step, same),
        Goal::Onto(_) => Ok(progress::at_last(policy, before, same)),
    }
}

fn to_step(
    before: &Rollout,
    step: u32,
    same: RolloutTransition,
) -> Result<RolloutTransition, Rejected> {
    let share = before.step_share(step).ok_or(Rejected::NoStep)?;
    Ok(RolloutTransition {
        phase: RolloutPhase::Judging,
        step,
        share,
        reason: format!("step {} of {}: {share}", step + 1, before.steps.len()),
        ..same
    })
}

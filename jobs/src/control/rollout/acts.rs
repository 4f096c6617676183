//! What operators do to a rollout. The next look of the judge takes it from there.

use super::{progress, rollouts::first_row};
use crate::{
    model::{
        DeploymentId, GroupName, Rollout, RolloutCause, RolloutPhase, RolloutTransition, Share,
        Span, Timestamp,
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
}

/// Moves the rollout of a group of a deployment; of the only group with canaries without a name.
///
/// # Errors
/// [`Rejected`] when the deployment is over, there is no such group with canaries, several when
/// none is named, or nowhere to go.
pub fn act(
    state: &Snapshot,
    now: Timestamp,
    id: DeploymentId,
    group: Option<&GroupName>,
    act: Act,
    asked: &Asked,
) -> Result<Command, Rejected> {
    let deployment = state.deployment(id).ok_or(Rejected::NoDeployment)?;
    if !deployment.is_active() {
        return Err(Rejected::DeploymentOver {
            id,
            status: deployment.status.as_str().into(),
        });
    }
    let mut waiting = deployment
        .task_groups
        .iter()
        .filter(|(name, _)| group.is_none_or(|wanted| wanted == *name))
        .filter(|(_, row)| row.desired_canaries > 0 && !row.promoted);
    let first = waiting.next();
    let (name, row) = first.ok_or_else(|| Rejected::NoCanaries {
        group: group.cloned().unwrap_or_default(),
    })?;
    if waiting.next().is_some() {
        return Err(Rejected::WhichGroup);
    }
    let job = state.version(&deployment.job_key(), deployment.job_version);
    let policy = job
        .and_then(|job| job.task_group(name))
        .map(|group| group.rollout_policy())
        .unwrap_or_default();
    let before = match row.rollout.as_deref() {
        Some(row) => row.clone(),
        None => Rollout {
            revision: 0,
            ..first_row(&policy, now)
        },
    };
    let same = RolloutTransition {
        at: now,
        actor: asked.actor.clone(),
        phase: RolloutPhase::Judging,
        step: before.step,
        share: before.share,
        cause: RolloutCause::Operator,
        ..RolloutTransition::default()
    };
    let mut transition = match act {
        Act::SetShare(share) => RolloutTransition {
            phase: RolloutPhase::Held,
            share,
            reason: format!("the share was set by hand to {share}"),
            ..same
        },
        Act::Next if before.step_share(before.step).is_none() => return Err(Rejected::NoStep),
        Act::Next if before.phase == RolloutPhase::Warming => to_step(&before, 0, same)?,
        Act::Next => RolloutTransition {
            cause: RolloutCause::Operator,
            ..progress::next_step(&policy, &before, same)
        },
        Act::Back => {
            let step = before.step.checked_sub(1).ok_or(Rejected::NoStep)?;
            to_step(&before, step, same)?
        }
        Act::Resume => {
            let last = u32::try_from(before.steps.len().saturating_sub(1)).unwrap_or(u32::MAX);
            to_step(&before, before.step.min(last), same)?
        }
    };
    if !asked.reason.is_empty() {
        transition.reason = format!("{}: {}", transition.reason, asked.reason);
    }
    let elapsed = if transition.step == before.step {
        before.elapsed
    } else {
        Span::ZERO
    };
    let mut rollout = before.after(transition, elapsed);
    rollout.is_manual = matches!(act, Act::SetShare(_));
    if let Act::SetShare(share) = act
        && rollout.steps.is_empty()
    {
        rollout.steps = vec![share];
    }
    Ok(Command::SetRollout(Box::new(SetRollout {
        deployment_id: id,
        group: name.clone(),
        rollout,
        ..SetRollout::default()
    })))
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

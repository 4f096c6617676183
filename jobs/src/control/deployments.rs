use super::{
    Action, batched, operator,
    rollout::{Observed, Question, Rollouts, Seen, Standing},
    triggers,
};
use crate::{
    ids::Ids,
    model::{
        AllocId, Allocation, Deployment, DeploymentId, DeploymentState, DeploymentStatus,
        DesiredTransition, GroupName, JobKey, Span, Timestamp, Trigger,
    },
    scheduler::reschedule_allowed,
    state::{Applied, Command, Snapshot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Carries deployments to their end: goes on when allocations turn healthy, promotes, fails,
/// reverts.
///
/// Invariant: every active deployment has a deadline here, an evaluation on its way, or waits for a
/// user.
#[derive(Debug)]
pub struct Deployments {
    ids: Ids,
    /// Deployment id to its next deadline.
    deadlines: BTreeMap<DeploymentId, Timestamp>,
    /// The canaries that are judged.
    rollouts: Rollouts,
}

impl Deployments {
    /// Knows no deployment yet; ids of new evaluations come from `ids`.
    pub fn new(ids: Ids) -> Self {
        Self {
            ids,
            deadlines: BTreeMap::new(),
            rollouts: Rollouts::default(),
        }
    }

    /// The jobs whose instances are to be counted, because canaries of theirs are judged; empty
    /// while there are none.
    pub fn judged_jobs(&self, state: &Snapshot) -> BTreeSet<JobKey> {
        self.rollouts.jobs(state)
    }

    /// True while canaries are judged.
    pub fn is_judging(&self) -> bool {
        self.rollouts.is_watching()
    }

    /// How all canaries stand that are judged.
    pub fn standings(&self) -> BTreeMap<(DeploymentId, GroupName), Standing> {
        self.rollouts.standings()
    }

    /// What metrics stores and hooks are to be asked now of canaries that are judged.
    pub fn questions(&self, state: &Snapshot) -> Vec<Question> {
        self.rollouts.questions(state)
    }

    /// What the judge saw in the last look, for a record; empty when it is asked again.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        self.rollouts.take_seen()
    }

    /// Looks at what was counted of instances since the last look.
    pub fn on_counts(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        observed: &Observed,
    ) -> Vec<Action> {
        self.rollouts.on_counts(now, state, observed, &mut self.ids)
    }

    /// Takes up every active deployment of the state; forgets everything else. Each is looked at
    /// again, because a reaction of the former leader may be missing.
    pub fn restore(&mut self, now: Timestamp, state: &Snapshot) -> Vec<Action> {
        self.deadlines.clear();
        self.rollouts.restore(now, state);
        let active: Vec<DeploymentId> = state
            .deployments("")
            .filter(|deployment| deployment.is_active())
            .map(|deployment| deployment.id)
            .collect();
        let actions = active
            .into_iter()
            .flat_map(|id| self.look(now, state, id, true))
            .collect();
        batched(actions)
    }

    /// Looks at the deployments that an entry touched.
    pub fn on_applied(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        applied: &Applied,
    ) -> Vec<Action> {
        let mut health: BTreeSet<DeploymentId> = BTreeSet::new();
        let mut touched: BTreeSet<DeploymentId> = BTreeSet::new();
        for change in &applied.allocs {
            let Some(after) = &change.after else {
                continue;
            };
            let Some(deployment_id) = after.deployment_id else {
                continue;
            };
            let before = change.before.as_ref();
            let before_health = before.and_then(|b| b.healthy());
            let ended = after.client_terminal() && before.is_some_and(|b| !b.client_terminal());
            if after.healthy() != before_health && after.healthy().is_some() || ended {
                health.insert(deployment_id);
            }
        }
        for deployment in &applied.deployments {
            touched.insert(deployment.id);
        }
        touched.retain(|id| !health.contains(id));
        self.rollouts.on_applied(now, state, applied);
        let mut actions = Vec::new();
        for id in touched {
            self.watch(state, id);
            if let Some(deployment) = state.deployment(id) {
                actions.extend(self.promotion(now, state, deployment));
            }
        }
        for id in health {
            actions.extend(self.look(now, state, id, true));
        }
        batched(actions)
    }

    /// Looks at the deployments whose deadline passed.
    pub fn on_tick(&mut self, now: Timestamp, state: &Snapshot) -> Vec<Action> {
        let due: Vec<DeploymentId> = self
            .deadlines
            .iter()
            .filter(|(_, deadline)| **deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        due.into_iter()
            .flat_map(|id| self.look(now, state, id, false))
            .collect()
    }

    /// The next deadline.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.deadlines.values().min().copied()
    }

    /// Notes when the deployment must be looked at next.
    fn watch(&mut self, state: &Snapshot, id: DeploymentId) {
        let next = state
            .deployment(id)
            .filter(|d| d.status == DeploymentStatus::Running)
            .and_then(|d| next_deadline(d));
        match next {
            Some(deadline) => {
                self.deadlines.insert(id, deadline);
            }
            None => {
                self.deadlines.remove(&id);
            }
        }
    }

    /// Decides what follows from the health of a deployment's allocations. `moved` when some
    /// changed.
    fn look(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        id: DeploymentId,
        moved: bool,
    ) -> Vec<Action> {
        self.watch(state, id);
        let Some(deployment) = state.deployment(id).filter(|d| d.is_active()) else {
            return Vec::new();
        };
        let allocs: Vec<&Arc<Allocation>> = state.allocs_of_deployment(id).collect();
        if let Some(reason) = failure(deployment, &allocs, now) {
            // Its end is written once; until then the deadline is no reason to look again.
            self.deadlines.remove(&id);
            let command = operator::end_failed(state, now, deployment, reason, &mut self.ids);
            return vec![Action::Propose(command)];
        }
        if deployment.status == DeploymentStatus::Paused {
            return Vec::new();
        }
        if let Some(promotion) = self.promotion(now, state, deployment) {
            return vec![promotion];
        }
        if !moved {
            return Vec::new();
        }
        let transitions = to_reschedule(deployment, &allocs);
        let Some(mut eval) = triggers::for_key(
            state,
            &deployment.job_key(),
            Trigger::DeploymentWatcher,
            now,
            &mut self.ids,
        ) else {
            return Vec::new();
        };
        eval.deployment_id = Some(id);
        let command = if transitions.is_empty() {
            Command::UpsertEvals(vec![eval])
        } else {
            Command::TransitionAllocs {
                transitions,
                evals: vec![eval],
            }
        };
        vec![Action::Propose(command)]
    }
}

impl Deployments {
    /// Promotes canaries that ask for it by themselves, are healthy, and have passed.
    fn promotion(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        deployment: &Deployment,
    ) -> Option<Action> {
        let wants = deployment.status == DeploymentStatus::Running
            && deployment.requires_promotion()
            && deployment.has_auto_promote();
        if !wants
            || state.check_promotable(deployment, &[]).is_err()
            || !self.rollouts.agree(deployment)
        {
            return None;
        }
        let promoted = operator::promote(state, now, deployment.id, &[], &mut self.ids);
        promoted.ok().map(Action::Propose)
    }
}

fn next_deadline(deployment: &Deployment) -> Option<Timestamp> {
    deployment
        .task_groups
        .values()
        .filter(|group| is_behind(group))
        .map(|group| group.require_progress_by)
        .filter(|deadline| !deadline.is_zero())
        .min()
}

/// True while the group must still make progress by itself: not when it is done, and not while it
/// only waits for a user to promote it.
fn is_behind(group: &DeploymentState) -> bool {
    let canarying = group.desired_canaries > 0 && !group.promoted;
    let wanted = if canarying {
        group.desired_canaries
    } else {
        group.desired_total
    };
    group.healthy_allocs < wanted
}

/// Why the deployment is to be given up; none while it is not.
fn failure(
    deployment: &Deployment,
    allocs: &[&Arc<Allocation>],
    now: Timestamp,
) -> Option<&'static str> {
    let unhealthy = |group: &str| {
        allocs
            .iter()
            .filter(|a| a.task_group == group && a.healthy() == Some(false))
            .filter(|a| a.next_allocation.is_none())
            .any(|a| !can_try_again(a, deployment))
    };
    if deployment.task_groups.keys().any(|group| unhealthy(group)) {
        return Some("Failed due to unhealthy allocations");
    }
    let late = |group: &DeploymentState| {
        let by = group.require_progress_by;
        !by.is_zero() && by <= now && is_behind(group)
    };
    let running = deployment.status == DeploymentStatus::Running;
    (running && deployment.task_groups.values().any(late))
        .then_some("Failed due to progress deadline")
}

/// True when an unhealthy allocation may be replaced within the deployment: its group has a
/// deadline to do so, and its policy permits one more.
fn can_try_again(alloc: &Allocation, deployment: &Deployment) -> bool {
    let has_deadline = deployment
        .task_groups
        .get(&alloc.task_group)
        .is_some_and(|group| group.progress_deadline > Span::ZERO);
    let policy = alloc.group().and_then(|g| g.reschedule_policy.as_ref());
    has_deadline
        && policy.is_some_and(|policy| {
            let tracker = alloc.reschedule_tracker.as_deref();
            reschedule_allowed(policy, tracker, alloc.failed_at())
        })
}

/// Failed allocations of the deployment that may be replaced although it is under way.
fn to_reschedule(
    deployment: &Deployment,
    allocs: &[&Arc<Allocation>],
) -> BTreeMap<AllocId, DesiredTransition> {
    let wish = DesiredTransition {
        reschedule: Some(true),
        ..DesiredTransition::default()
    };
    allocs
        .iter()
        .filter(|a| a.healthy() == Some(false) || a.client_terminal())
        .filter(|a| !a.server_terminal() && a.next_allocation.is_none())
        .filter(|a| a.desired_transition.reschedule != Some(true))
        .filter(|a| can_try_again(a, deployment))
        .map(|a| (a.id, wish.clone()))
        .collect()
}

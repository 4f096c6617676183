use super::{
    counts::{Counts, Row, Side},
    judge::{Judge, Judgment, Totals, Window},
    measured::{Measurement, Reply},
    progress::{self, Facts},
    questions::{Question, Subject},
    sentence,
};
use crate::{
    control::{Action, operator},
    ids::Ids,
    model::{
        AllocId, Allocation, ClientStatus, Deployment, DeploymentId, DeploymentState,
        DeploymentStatus, Evidence, GroupName, JobKey, JudgeMode, Rollout, RolloutPhase,
        RolloutPolicy, RolloutTransition, Share, Span, TaskState, Timestamp,
    },
    state::{Applied, Command, SetRollout, Snapshot},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How often counts are looked at while there are canaries.
pub const LOOK_INTERVAL: Span = Span::from_nanos(250_000_000);
/// After so long a transition is proposed again that was not seen in the state.
const ANSWER_TIMEOUT: Span = Span::from_secs(2);
/// A pause between two looks that is longer than this is no time of a step.
const GAP_MAX: Span = Span::from_secs(3);

/// What was seen of instances since the last look.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Route, instance and what it did.
    pub counts: Vec<(String, AllocId, Counts)>,
    /// Names of ingresses of which nothing was heard.
    pub missing: Vec<String>,
    /// There is no ingress that could count anything.
    pub is_uncounted: bool,
    /// Instances that cannot be used, with the check that says so.
    pub critical: BTreeMap<AllocId, String>,
    /// What metrics stores and hooks answered.
    pub answers: BTreeMap<(DeploymentId, GroupName), Answers>,
    /// Canaries whose share a splitter says, with its name.
    pub splitters: BTreeMap<AllocId, String>,
}

/// What metrics stores and hooks answered of the canaries of a group, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Metrics; may be empty.
    pub measured: Vec<Measurement>,
    /// Hooks; may be empty.
    pub replies: Vec<Reply>,
}

/// How a rollout stands, beyond what its row says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// What both versions did since the step began.
    pub totals: Totals,
    /// The share that canaries have which can be used, in millionths.
    pub effective: u64,
    /// Restarts of tasks of canaries, and of stable instances.
    pub restarts: (u64, u64),
    /// How much of the step's time has passed.
    pub elapsed: Span,
    /// How long the step lasts at least.
    pub hold: Span,
    /// So many good attempts of canaries are missing to pass it.
    pub attempts_missing: u64,
    /// Metrics and hooks that must speak for the canaries before it is passed, and did not yet.
    pub awaited: Vec<String>,
    /// What speaks against the canaries.
    pub table: Vec<Evidence>,
}

/// What the judge saw of a group's canaries in a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Deployment.
    pub deployment_id: DeploymentId,
    /// Group.
    pub group: GroupName,
    /// Job.
    pub job: JobKey,
    /// What the job says of the rollout.
    pub settings: BTreeMap<String, String>,
    /// What was seen.
    pub window: Window,
}

/// The canaries of a group under the eyes of the judge.
#[derive(Debug)]
struct Watched {
    settings: BTreeMap<String, String>,
    policy: RolloutPolicy,
    judge: Judge,
    /// How much of the time of the step has passed.
    elapsed: Span,
    last: Timestamp,
    /// The last revision of the row that was seen, and when its step began.
    revision: u64,
    step_at: Timestamp,
    /// Canaries that run already when they are looked at first began some time ago.
    is_known: bool,
    /// When a transition was proposed that is not in the row yet.
    asked_at: Option<Timestamp>,
    /// When canaries were seen running first, and after how many restarts.
    started: BTreeMap<AllocId, (Timestamp, u64)>,
    /// The share of canaries that could be used at the last look, in millionths.
    effective: u64,
    /// Restarts at the last look, of canaries and of stable instances.
    restarts: (u64, u64),
    /// The share at the last look, and whether metrics say alone how canaries are.
    share: Share,
    goes_by_metrics: bool,
}

/// Judges the canaries of all active deployments. What it knows of counts is lost with the leader:
/// the next one begins the step's time and counts anew, and keeps the share until then.
#[derive(Debug, Default)]
pub struct Rollouts {
    watched: BTreeMap<(DeploymentId, GroupName), Watched>,
    /// What was seen in the last look.
    seen: Vec<Seen>,
}

impl Rollouts {
    /// Takes up the canaries of the state; forgets everything else.
    pub fn restore(&mut self, now: Timestamp, state: &Snapshot) {
        self.watched.clear();
        let active: Vec<DeploymentId> = state
            .deployments("")
            .filter(|deployment| deployment.is_active())
            .map(|deployment| deployment.id)
            .collect();
        for id in active {
            self.watch(now, state, id);
        }
    }

    /// Takes up canaries that an entry brought, and lets go of those that are decided about.
    pub fn on_applied(&mut self, now: Timestamp, state: &Snapshot, applied: &Applied) {
        let touched: BTreeSet<DeploymentId> =
            applied.deployments.iter().map(|row| row.id).collect();
        for id in touched {
            self.watch(now, state, id);
        }
    }

    /// True while there are canaries to look at.
    pub fn is_watching(&self) -> bool {
        !self.watched.is_empty()
    }

    /// The jobs whose instances are to be counted.
    pub fn jobs(&self, state: &Snapshot) -> BTreeSet<JobKey> {
        let deployments = self.watched.keys();
        let rows = deployments.filter_map(|(id, _)| state.deployment(*id));
        rows.map(|row| row.job_key()).collect()
    }

    /// Whether nothing speaks against promoting all groups of a deployment by itself.
    pub fn agree(&self, deployment: &Deployment) -> bool {
        deployment.task_groups.iter().all(|(name, group)| {
            if group.desired_canaries == 0 || group.promoted {
                return true;
            }
            let Some(watched) = self.watched.get(&(deployment.id, name.clone())) else {
                return true;
            };
            let phase = group.rollout.as_ref().map(|rollout| rollout.phase);
            match phase {
                Some(phase) => phase == RolloutPhase::Passed,
                None => !watched.policy.is_governed(),
            }
        })
    }

    /// How all canaries stand.
    pub fn standings(&self) -> BTreeMap<(DeploymentId, GroupName), Standing> {
        let standing = |(key, watched): (&(DeploymentId, GroupName), &Watched)| {
            let standing = Standing {
                totals: watched.judge.totals().clone(),
                effective: watched.effective,
                restarts: watched.restarts,
                elapsed: watched.elapsed,
                hold: watched.policy.hold,
                attempts_missing: if watched.goes_by_metrics {
                    0
                } else {
                    watched.judge.attempts_missing()
                },
                awaited: watched.judge.awaited(watched.share),
                table: watched.judge.table(),
            };
            (key.clone(), standing)
        };
        self.watched.iter().map(standing).collect()
    }

    /// What metrics stores and hooks are to be asked now.
    pub fn questions(&self, state: &Snapshot) -> Vec<Question> {
        let watched = self.watched.iter();
        let questions = watched
            .filter(|(_, own)| !own.policy.metrics.is_empty() || !own.policy.hooks.is_empty())
            .filter_map(|((id, name), own)| own.questions(state, state.deployment(*id)?, name));
        questions.flatten().collect()
    }

    /// What the judge saw in the last look; empty when it is asked again.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// Looks at what was counted since the last look.
    pub fn on_counts(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        observed: &Observed,
        ids: &mut Ids,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        self.seen.clear();
        for ((id, name), watched) in &mut self.watched {
            let Some(deployment) = state.deployment(*id).filter(|row| row.is_active()) else {
                continue;
            };
            let Some(group) = deployment.task_groups.get(name) else {
                continue;
            };
            let canaries = Canaries {
                state,
                deployment,
                name,
                group,
            };
            let (window, action) = watched.look(now, &canaries, observed, ids);
            actions.extend(action);
            self.seen.push(Seen {
                deployment_id: *id,
                group: name.clone(),
                job: deployment.job_key(),
                settings: watched.settings.clone(),
                window,
            });
        }
        actions
    }

    fn watch(&mut self, now: Timestamp, state: &Snapshot, id: DeploymentId) {
        let Some(deployment) = state.deployment(id).filter(|row| row.is_active()) else {
            self.watched.retain(|(of, _), _| *of != id);
            return;
        };
        for (name, group) in &deployment.task_groups {
            let key = (id, name.clone());
            if group.desired_canaries == 0 || group.promoted {
                self.watched.remove(&key);
                continue;
            }
            if let Some(watched) = self.watched.get_mut(&key) {
                watched.on_row(group.rollout.as_deref());
                continue;
            }
            let job = state.version(&deployment.job_key(), deployment.job_version);
            let Some(settings) = job
                .and_then(|job| job.task_group(name))
                .map(|group| group.rollout_settings())
            else {
                continue;
            };
            let (policy, _) = RolloutPolicy::of_meta(&settings);
            if policy.judge == JudgeMode::Off {
                continue;
            }
            let row = group.rollout.as_deref();
            let mut judge = Judge::new(policy.clone());
            for canary in row.iter().flat_map(|row| &row.ejected) {
                judge.eject(*canary);
            }
            let watched = Watched {
                settings,
                judge,
                policy,
                elapsed: row.map_or(Span::ZERO, |row| row.elapsed),
                last: now,
                revision: row.map_or(0, |row| row.revision),
                step_at: row.map_or_else(Timestamp::default, |row| row.step_at),
                is_known: false,
                asked_at: None,
                started: BTreeMap::new(),
                effective: 0,
                restarts: (0, 0),
                share: Share::NONE,
                goes_by_metrics: false,
            };
            self.watched.insert(key, watched);
        }
    }
}

/// A group of a deployment with its canaries.
struct Canaries<'a> {
    state: &'a Snapshot,
    deployment: &'a Arc<Deployment>,
    name: &'a GroupName,
    group: &'a DeploymentState,
}

impl Canaries<'_> {
    fn all(&self) -> impl Iterator<Item = &Arc<Allocation>> {
        let allocs = self.state.allocs_of_deployment(self.deployment.id);
        allocs.filter(|alloc| alloc.task_group == *self.name && alloc.is_canary())
    }

    fn alive(&self) -> impl Iterator<Item = &Arc<Allocation>> {
        self.all().filter(|alloc| !alloc.is_terminal())
    }

    /// The version that an allocation runs, if it is of this group. A canary of a deployment that
    /// was given up is neither the new one nor a stable one.
    fn side(&self, alloc: &Allocation) -> Option<Side> {
        let is_own = alloc.task_group == *self.name
            && alloc.job_id == self.deployment.job_id
            && alloc.namespace == self.deployment.namespace;
        if !is_own {
            return None;
        }
        match alloc.is_canary() {
            false => Some(Side::Stable),
            true => (alloc.deployment_id == Some(self.deployment.id)).then_some(Side::Canary),
        }
    }
}

impl Watched {
    /// The row changed, by a transition of the judge or of somebody else.
    fn on_row(&mut self, row: Option<&Rollout>) {
        let Some(row) = row.filter(|row| row.revision != self.revision) else {
            return;
        };
        self.revision = row.revision;
        self.asked_at = None;
        for canary in &row.ejected {
            self.judge.eject(*canary);
        }
        if row.step_at != self.step_at {
            self.step_at = row.step_at;
            self.judge.begin_step();
        }
        self.elapsed = row.elapsed;
    }

    fn look(
        &mut self,
        now: Timestamp,
        canaries: &Canaries<'_>,
        observed: &Observed,
        ids: &mut Ids,
    ) -> (Window, Option<Action>) {
        let row = match canaries.group.rollout.as_deref() {
            Some(row) => row.clone(),
            None => first_row(&self.policy, now),
        };
        self.note_starts(now, canaries);
        self.note_shares(canaries, observed);
        let mut window = self.window(now, canaries, observed, &row);
        window.is_waiting = self.asked_at.is_some_and(|at| now - at < ANSWER_TIMEOUT);
        self.share = row.share;
        let judgment = self.judge.add(&window);
        self.run_clock(now, &row);
        if window.is_waiting {
            return (window, None);
        }
        let facts = self.facts(canaries, observed, &row);
        self.goes_by_metrics = progress::goes_by_metrics(&self.policy, &facts);
        let action = self
            .next_row(now, canaries, &row, (&facts, &judgment))
            .map(|next| {
                self.asked_at = Some(now);
                Action::Propose(command(now, canaries, next, ids))
            });
        (window, action)
    }

    fn questions(
        &self,
        state: &Snapshot,
        deployment: &Deployment,
        name: &GroupName,
    ) -> Option<Vec<Question>> {
        let row = deployment.task_groups.get(name)?.rollout.as_deref()?;
        let key = deployment.job_key();
        let group = state.version(&key, deployment.job_version)?;
        let group = group.task_group(name)?;
        let mut earlier = state.versions(&key).iter();
        let stable = earlier.find(|job| job.stable && job.version < deployment.job_version);
        let subject = Subject {
            deployment,
            group: name,
            service: group.rollout_service().unwrap_or_default(),
            stable_version: stable.map(|job| job.version),
            policy: &self.policy,
            rollout: row,
            judge: &self.judge,
            elapsed: self.elapsed,
        };
        Some(subject.questions())
    }

    /// The row to write; none while it stays as it is.
    fn next_row(
        &self,
        now: Timestamp,
        canaries: &Canaries<'_>,
        row: &Rollout,
        (facts, judgment): (&Facts, &Judgment),
    ) -> Option<Rollout> {
        if canaries.group.rollout.is_none() && self.policy.is_governed() {
            return Some(row.clone());
        }
        match self.transition(now, row, facts, judgment) {
            Some(transition) => {
                let elapsed = self.elapsed_after(row, &transition);
                Some(row.after(transition, elapsed))
            }
            None => self.shared_again(now, canaries, row, facts),
        }
    }

    fn transition(
        &self,
        now: Timestamp,
        row: &Rollout,
        facts: &Facts,
        judgment: &Judgment,
    ) -> Option<RolloutTransition> {
        let table = || self.judge.table();
        progress::next(
            &self.policy,
            row,
            self.elapsed,
            facts,
            (judgment, &table),
            now,
        )
    }

    /// How much of the time of a step has passed after a transition: nothing of a new one.
    fn elapsed_after(&self, row: &Rollout, transition: &RolloutTransition) -> Span {
        let begins = transition.step != row.step || row.phase == RolloutPhase::Warming;
        if begins { Span::ZERO } else { self.elapsed }
    }

    /// The same row once more when a canary came that does not have its share yet.
    fn shared_again(
        &self,
        now: Timestamp,
        canaries: &Canaries<'_>,
        row: &Rollout,
        facts: &Facts,
    ) -> Option<Rollout> {
        let is_under_way = row.phase != RolloutPhase::Warming && !row.is_over();
        if !self.policy.is_governed() || !is_under_way || facts.healthy < facts.wanted {
            return None;
        }
        let lacks = |alloc: &&Arc<Allocation>| {
            alloc.traffic_share() != row.share_of(alloc.id, canaries.group.desired_canaries)
        };
        let alloc = canaries.alive().find(lacks)?;
        let transition = RolloutTransition {
            at: now,
            actor: progress::JUDGE.into(),
            phase: row.phase,
            step: row.step,
            share: row.share,
            cause: row.cause,
            reason: format!(
                "canary {} gets its part of the share",
                sentence::short(&alloc.id.to_string())
            ),
            ..RolloutTransition::default()
        };
        Some(row.after(transition, self.elapsed))
    }

    fn run_clock(&mut self, now: Timestamp, row: &Rollout) {
        let passed = now - self.last;
        self.last = now;
        let runs = matches!(row.phase, RolloutPhase::Judging | RolloutPhase::Baking);
        if runs && self.asked_at.is_none() && passed > Span::ZERO && passed <= GAP_MAX {
            self.elapsed = self.elapsed + passed;
        }
    }

    fn note_shares(&mut self, canaries: &Canaries<'_>, observed: &Observed) {
        let usable = canaries
            .alive()
            .filter(|alloc| !observed.critical.contains_key(&alloc.id));
        let shares = usable.filter_map(|alloc| alloc.traffic_share());
        self.effective = shares.map(u64::from).sum();
        let of_job = canaries.state.allocs_of_job(&canaries.deployment.job_key());
        let stable = of_job
            .filter(|alloc| !alloc.is_terminal())
            .filter(|alloc| canaries.side(alloc) == Some(Side::Stable));
        self.restarts = (
            canaries.alive().map(|alloc| restarts(alloc)).sum(),
            stable.map(|alloc| restarts(alloc)).sum(),
        );
    }

    fn note_starts(&mut self, now: Timestamp, canaries: &Canaries<'_>) {
        let mut alive = BTreeSet::new();
        for alloc in canaries.alive() {
            alive.insert(alloc.id);
            if alloc.client_status != ClientStatus::Running {
                continue;
            }
            let restarts = restarts(alloc);
            let started = self.started.entry(alloc.id).or_insert_with(|| {
                // A new leader did not see it start: it did so at its creation or soon after.
                let was_missed = !self.is_known && alloc.healthy() == Some(true);
                let at = if was_missed { alloc.create_time } else { now };
                (at, restarts)
            });
            if started.1 != restarts {
                *started = (now, restarts);
            }
        }
        self.started.retain(|id, _| alive.contains(id));
        self.is_known = true;
    }

    fn window(
        &self,
        now: Timestamp,
        canaries: &Canaries<'_>,
        observed: &Observed,
        row: &Rollout,
    ) -> Window {
        let rows = observed.counts.iter().filter_map(|(route, id, counts)| {
            let alloc = canaries.state.alloc(*id)?;
            let side = canaries.side(alloc)?;
            let warms = |(at, _): &(Timestamp, u64)| now - *at < self.policy.warmup;
            Some(Row {
                route: route.clone(),
                alloc_id: *id,
                side,
                is_warming: self.started.get(id).is_some_and(warms),
                counts: counts.clone(),
            })
        });
        let key = (canaries.deployment.id, canaries.name.clone());
        let answers = observed.answers.get(&key).cloned().unwrap_or_default();
        Window {
            starts: self.last,
            ends: now,
            share: row.share,
            missing: observed.missing.clone(),
            is_waiting: false,
            rows: rows.collect(),
            measured: answers.measured,
            replies: answers.replies,
        }
    }

    fn facts(&self, canaries: &Canaries<'_>, observed: &Observed, row: &Rollout) -> Facts {
        let healthy = canaries
            .alive()
            .filter(|alloc| alloc.healthy() == Some(true))
            .count();
        let counted = || {
            canaries
                .alive()
                .filter(|alloc| !row.ejected.contains(&alloc.id))
        };
        let critical = counted().find_map(|alloc| {
            let check = observed.critical.get(&alloc.id)?;
            let id = alloc.id.to_string();
            Some(format!(
                "canary {} is critical: {check}",
                sentence::short(&id)
            ))
        });
        let wanted = canaries.group.desired_canaries;
        let healthy = u32::try_from(healthy).unwrap_or(u32::MAX);
        let unusable = critical.or_else(|| {
            (healthy < wanted).then(|| format!("{healthy} of {wanted} canaries are healthy"))
        });
        Facts {
            wanted,
            healthy,
            fatal: canaries.all().find_map(|alloc| self.fatal(alloc)),
            unusable,
            is_uncounted: observed.is_uncounted,
            is_paused: canaries.deployment.status == DeploymentStatus::Paused,
            splitter: canaries
                .alive()
                .find_map(|alloc| observed.splitters.get(&alloc.id))
                .filter(|_| !self.policy.ignores_splitter)
                .cloned(),
            auto_revert: canaries.group.auto_revert,
        }
    }

    /// What is wrong with a canary whatever is counted.
    fn fatal(&self, alloc: &Allocation) -> Option<String> {
        let id = alloc.id.to_string();
        let canary = sentence::short(&id);
        let was_killed = |state: &TaskState| {
            state.events.iter().any(|event| {
                let killed = |(key, value): (&_, &_)| {
                    let (key, value): (&crate::model::Text, &crate::model::Text) = (key, value);
                    &**key == "oom_killed" && &**value == "true"
                };
                event.details.iter().any(killed)
            })
        };
        for (task, state) in &alloc.task_states {
            if was_killed(state) {
                return Some(format!(
                    "task {task} of canary {canary} was killed for memory"
                ));
            }
            if state.restarts >= self.policy.restarts {
                return Some(format!(
                    "task {task} of canary {canary} was restarted {} times",
                    state.restarts
                ));
            }
        }
        None
    }
}

/// The row of canaries of which nothing was written yet.
pub(super) fn first_row(policy: &RolloutPolicy, now: Timestamp) -> Rollout {
    if policy.is_governed() {
        return Rollout::new(policy.steps.clone(), now);
    }
    Rollout {
        phase: RolloutPhase::Passed,
        ..Rollout::default()
    }
}

fn restarts(alloc: &Allocation) -> u64 {
    alloc.task_states.values().map(|state| state.restarts).sum()
}

/// Writes the row; an abort ends the deployment in the same entry.
fn command(now: Timestamp, canaries: &Canaries<'_>, rollout: Rollout, ids: &mut Ids) -> Command {
    let end = rollout.is_over().then(|| {
        let reason = format!("Failed due to rollout: {}", rollout.reason);
        operator::end_failed(canaries.state, now, canaries.deployment, &reason, ids)
    });
    let (update, eval, revert) = match end {
        Some(Command::UpdateDeployment {
            update,
            eval,
            revert,
        }) => (Some(update), eval, revert),
        _ => (None, None, None),
    };
    Command::SetRollout(Box::new(SetRollout {
        deployment_id: canaries.deployment.id,
        group: canaries.name.clone(),
        rollout,
        update,
        eval,
        revert,
    }))
}

//! A rollout with made-up traffic, second by second.

use super::super::{
    counts::{Counts, Row, Side, Times},
    judge::{Judge, Window},
    measured::{Measurement, Reply},
    progress::{self, Facts},
    questions::{ASK_INTERVAL, Question, Subject, What},
    rollouts::first_row,
};
use crate::model::{
    AllocId, Deployment, GroupName, Rollout, RolloutPhase, RolloutPolicy, RolloutTransition, Share,
    Span, Timestamp,
};
use std::collections::BTreeMap;

/// A look at the counts.
pub(super) const LOOK: Span = Span::from_nanos(250_000_000);

/// Numbers that look random and are the same each time (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub(super) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many attempts there are before one that happens with that chance.
    pub(super) fn until(&mut self, chance: f64) -> u64 {
        if chance <= 0.0 {
            return u64::MAX;
        }
        if chance >= 1.0 {
            return 0;
        }
        let part = 1.0 - self.part();
        (part.ln() / (1.0 - chance).ln()) as u64
    }
}

/// How a version answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    /// This part fails.
    pub(super) failed: f64,
    /// This part is refused before anything is answered.
    pub(super) broken: f64,
    /// This part is 3xx.
    pub(super) elsewhere: f64,
    /// This part is 4xx.
    pub(super) refused: f64,
    /// So many times as long as usual.
    pub(super) slow: f64,
}

/// What is asked, and how it is answered.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    /// Requests per second.
    pub(super) rate: f64,
    pub(super) stable: Answers,
    pub(super) canary: Answers,
    /// Routes with their part of the requests.
    pub(super) routes: Vec<(String, f64)>,
    /// Canaries answer badly only here, if it is set.
    pub(super) bad_route: Option<String>,
    /// So many canaries, of which the first so many answer badly; all of them unless it is set.
    pub(super) canaries: usize,
    pub(super) bad_canaries: Option<usize>,
    /// Canaries were started a moment ago.
    pub(super) is_warming: bool,
    pub(super) missing: Vec<String>,
    /// How long answers take is counted.
    pub(super) timed: bool,
    /// What metrics are; without a value nobody answers, and it is not asked without an entry.
    pub(super) metrics: BTreeMap<String, Option<f64>>,
    /// The status that hooks answer, likewise.
    pub(super) hooks: BTreeMap<String, Option<u16>>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            rate: 0.0,
            stable: Answers::default(),
            canary: Answers::default(),
            routes: vec![("/".into(), 1.0)],
            bad_route: None,
            canaries: 1,
            bad_canaries: None,
            is_warming: false,
            missing: Vec::new(),
            timed: false,
            metrics: BTreeMap::new(),
            hooks: BTreeMap::new(),
        }
    }
}

pub(super) fn canary(at: usize) -> AllocId {
    AllocId::named(&format!("canary-{at}"))
}

fn stable() -> AllocId {
    AllocId::named("stable")
}

/// A rollout under way.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) policy: RolloutPolicy,
    pub(super) row: Rollout,
    pub(super) judge: Judge,
    pub(super) elapsed: Span,
    pub(super) now: Timestamp,
    pub(super) facts: Facts,
    pub(super) numbers: Numbers,
    /// Parts of requests that are owed: to all, and to canaries.
    owed: (f64, f64),
    turn: usize,
    step_at: Timestamp,
    /// When metrics and hooks were asked last.
    asked: BTreeMap<String, Timestamp>,
    /// When the first bad attempt of a canary was.
    pub(super) first_bad: Option<Timestamp>,
}

impl Trial {
    pub(super) fn new(policy: RolloutPolicy, seed: u64) -> Self {
        // Noon.
        let now = Timestamp::from_secs(1_800_014_400);
        Self {
            judge: Judge::new(policy.clone()),
            row: first_row(&policy, now),
            policy,
            elapsed: Span::ZERO,
            now,
            facts: Facts {
                wanted: 1,
                healthy: 1,
                ..Facts::default()
            },
            numbers: Numbers(seed),
            owed: (0.0, 0.0),
            turn: 0,
            step_at: now,
            asked: BTreeMap::new(),
            first_bad: None,
        }
    }

    /// With steps only.
    pub(super) fn of_steps(steps: &str, seed: u64) -> Self {
        let mut policy = RolloutPolicy::default();
        policy.set("rollout_steps", steps).expect("steps");
        Self::new(policy, seed)
    }

    /// The next look.
    pub(super) fn look(&mut self, traffic: &Traffic) -> Option<RolloutTransition> {
        let window = self.window(traffic);
        self.take(&window)
    }

    /// Takes a window into account and makes the transition that follows.
    pub(super) fn take(&mut self, window: &Window) -> Option<RolloutTransition> {
        self.now = window.ends;
        let judgment = self.judge.add(window);
        if matches!(self.row.phase, RolloutPhase::Judging | RolloutPhase::Baking) {
            self.elapsed = self.elapsed + (window.ends - window.starts);
        }
        let table = || self.judge.table();
        let transition = progress::next(
            &self.policy,
            &self.row,
            self.elapsed,
            &self.facts,
            (&judgment, &table),
            self.now,
        )?;
        self.carry_out(transition.clone());
        Some(transition)
    }

    pub(super) fn carry_out(&mut self, transition: RolloutTransition) {
        if transition.step != self.row.step || self.row.phase == RolloutPhase::Warming {
            self.elapsed = Span::ZERO;
        }
        if let Some(ejected) = transition.ejects {
            self.judge.eject(ejected);
        }
        self.row = self.row.after(transition, self.elapsed);
        if self.row.step_at != self.step_at {
            self.step_at = self.row.step_at;
            self.judge.begin_step();
        }
    }

    /// Somebody lets it go on.
    pub(super) fn next(&mut self) -> RolloutTransition {
        let same = RolloutTransition {
            at: self.now,
            actor: "ada".into(),
            phase: RolloutPhase::Judging,
            step: self.row.step,
            share: self.row.share,
            ..RolloutTransition::default()
        };
        let transition = if self.row.phase == RolloutPhase::Warming {
            RolloutTransition {
                share: self.row.steps[0],
                reason: "step 1".into(),
                ..same
            }
        } else {
            progress::next_step(&self.policy, &self.row, same)
        };
        self.carry_out(transition.clone());
        transition
    }

    /// Looks until a transition holds or the time is over.
    pub(super) fn until(
        &mut self,
        traffic: &Traffic,
        most: Span,
        mut holds: impl FnMut(&RolloutTransition) -> bool,
    ) -> Option<RolloutTransition> {
        let ends = self.now + most;
        while self.now < ends {
            if let Some(transition) = self.look(traffic)
                && holds(&transition)
            {
                return Some(transition);
            }
        }
        None
    }

    pub(super) fn window(&mut self, traffic: &Traffic) -> Window {
        let starts = self.now;
        let ends = starts + LOOK;
        self.owed.0 += traffic.rate * LOOK.to_std().as_secs_f64();
        let requests = self.owed.0 as u64;
        self.owed.0 -= requests as f64;
        let left = traffic.canaries.saturating_sub(self.row.ejected.len());
        let whole = Share::WHOLE.ten_thousandths();
        let share = f64::from(self.row.share.ten_thousandths()) / f64::from(whole);
        // Without steps canaries take their turn.
        let share = if self.row.steps.is_empty() && !self.row.is_over() {
            0.2
        } else {
            share
        };
        let share = share * left as f64 / traffic.canaries.max(1) as f64;
        let mut counts: BTreeMap<(String, AllocId), (Side, Counts)> = BTreeMap::new();
        for _ in 0..requests {
            self.owed.1 += share;
            let to_canary = self.owed.1 >= 1.0;
            let route = self.route(traffic);
            let (id, side, answers) = if to_canary {
                self.owed.1 -= 1.0;
                let at = self.next_canary(traffic);
                let is_bad = traffic.bad_canaries.is_none_or(|bad| at < bad)
                    && traffic.bad_route.as_ref().is_none_or(|bad| *bad == route);
                let answers = if is_bad {
                    traffic.canary
                } else {
                    traffic.stable
                };
                (canary(at), Side::Canary, answers)
            } else {
                (stable(), Side::Stable, traffic.stable)
            };
            let (_, counts) = counts
                .entry((route, id))
                .or_insert_with(|| (side, Counts::default()));
            if self.answer(counts, answers, traffic.timed) && to_canary {
                self.first_bad.get_or_insert(ends);
            }
        }
        let rows = counts
            .into_iter()
            .map(|((route, alloc_id), (side, counts))| Row {
                route,
                alloc_id,
                side,
                is_warming: traffic.is_warming && side == Side::Canary,
                counts,
            });
        let rows = rows.collect();
        let (measured, replies) = self.answers(traffic);
        Window {
            starts,
            ends,
            share: self.row.share,
            missing: traffic.missing.clone(),
            is_waiting: false,
            rows,
            measured,
            replies,
        }
    }

    /// What is asked right now.
    pub(super) fn questions(&self) -> Vec<Question> {
        let subject = Subject {
            deployment: &Deployment::default(),
            group: &GroupName::from("web"),
            service: "shop",
            stable_version: None,
            policy: &self.policy,
            rollout: &self.row,
            judge: &self.judge,
            elapsed: self.elapsed,
        };
        subject.questions()
    }

    /// What is due of it, answered at once.
    fn answers(&mut self, traffic: &Traffic) -> (Vec<Measurement>, Vec<Reply>) {
        let (at, mut measured, mut replies) = (self.now, Vec::new(), Vec::new());
        for question in self.questions() {
            let is_due = |asked: &Timestamp| at - *asked >= ASK_INTERVAL;
            let name = question.name;
            if !self.asked.get(&name).is_none_or(is_due) {
                continue;
            }
            match question.what {
                What::Metric { .. } => {
                    let Some(value) = traffic.metrics.get(&name).copied() else {
                        continue;
                    };
                    measured.push(Measurement {
                        name: name.clone(),
                        at,
                        value,
                        problem: value.map_or_else(|| "nobody answers".into(), |_| String::new()),
                    });
                }
                What::Hook { .. } => {
                    let Some(status) = traffic.hooks.get(&name).copied() else {
                        continue;
                    };
                    let is_good = status.is_some_and(|status| status < 300);
                    replies.push(Reply {
                        name: name.clone(),
                        at,
                        status,
                        said: if is_good { "" } else { "not now" }.into(),
                    });
                }
            }
            self.asked.insert(name, at);
        }
        (measured, replies)
    }

    fn route(&mut self, traffic: &Traffic) -> String {
        if let [(only, _)] = traffic.routes.as_slice() {
            return only.clone();
        }
        let mut part = self.numbers.part();
        for (route, share) in &traffic.routes {
            if part < *share {
                return route.clone();
            }
            part -= share;
        }
        traffic.routes[0].0.clone()
    }

    fn next_canary(&mut self, traffic: &Traffic) -> usize {
        loop {
            self.turn = (self.turn + 1) % traffic.canaries;
            if !self.row.ejected.contains(&canary(self.turn)) {
                return self.turn;
            }
        }
    }

    /// Counts an answer; true if it is a bad one.
    fn answer(&mut self, counts: &mut Counts, answers: Answers, timed: bool) -> bool {
        counts.attempts += 1;
        let part = self.numbers.part();
        let mut edge = answers.broken;
        if part < edge {
            counts.failed += 1;
            counts.broken += 1;
            return true;
        }
        edge += answers.failed;
        if part < edge {
            counts.failed += 1;
            return true;
        }
        edge += answers.elsewhere;
        if part < edge {
            counts.elsewhere += 1;
            return true;
        }
        edge += answers.refused;
        if part < edge {
            counts.refused += 1;
            return true;
        }
        if timed {
            // Half of them take 20 ms, a hundredth more than 64 ms.
            let normal = (-2.0 * (1.0 - self.numbers.part()).ln()).sqrt()
                * (std::f64::consts::TAU * self.numbers.part()).cos();
            let slow = if answers.slow > 0.0 {
                answers.slow
            } else {
                1.0
            };
            let micros = 20_000.0 * slow * (0.5 * normal).exp();
            let bucket = (micros.ln() / 1.02_f64.ln()).ceil();
            let longest = 1.02_f64.powf(bucket) as u64;
            counts.times.add(&Times::new([(longest, 1)]));
        }
        false
    }
}

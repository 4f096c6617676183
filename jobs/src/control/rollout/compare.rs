//! Canaries beside stable instances: of all routes together, of a route, or of one canary alone.

use super::{
    counts::{Counts, Times},
    sequential::{Block, Limit, SequentialTest, Suspicion},
};
use crate::model::{Evidence, LatencyLimit, OtherAnswers, RolloutCause, RolloutPolicy, Timestamp};

/// Before so many answers of stable instances nobody knows how long half of them take.
const MEDIAN_ANSWERS_MIN: u64 = 200;
/// Nor how long all but a hundredth take.
const TAIL_ANSWERS_MIN: u64 = 1_000;

/// A kind of bad attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// No answer, or one that says that the server failed.
    Failed,
    /// An answer that took too long.
    Slow(LatencyLimit),
    /// An answer that sends elsewhere, `3xx`, or that refuses, `4xx`.
    Answered(u16),
}

impl Kind {
    /// Its name in tables.
    pub fn metric(self) -> String {
        match self {
            Self::Failed => "failed".into(),
            Self::Slow(limit) => format!("slow-p{}", limit.per_mille / 10),
            Self::Answered(hundred) => format!("{hundred}xx"),
        }
    }

    /// What a transition for it comes from.
    pub fn cause(self) -> RolloutCause {
        match self {
            Self::Failed => RolloutCause::Failed,
            Self::Slow(_) => RolloutCause::Slow,
            Self::Answered(_) => RolloutCause::Answers,
        }
    }
}

/// What speaks against canaries, with what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is bad.
    pub kind: Kind,
    /// The line of the table.
    pub evidence: Evidence,
}

/// What both versions did in some time.
#[derive(Clone, Debug, Default)]
pub(super) struct Both {
    /// Canaries.
    pub canary: Counts,
    /// Stable instances.
    pub stable: Counts,
}

impl Both {
    fn add(&mut self, other: &Self) {
        self.canary.add(&other.canary);
        self.stable.add(&other.stable);
    }
}

/// One kind with its test.
#[derive(Clone, Debug)]
struct Class {
    kind: Kind,
    /// It may end a rollout, not only hold it.
    may_fail: bool,
    test: SequentialTest,
    /// The time from which on answers were slow last, in microseconds.
    slow_us: u64,
}

/// The tests of all kinds of bad attempts.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    classes: Vec<Class>,
    /// What a block that is not full holds, since when.
    open: Both,
    opened: Option<Timestamp>,
    /// How long answers of stable instances took in earlier blocks.
    times: Times,
}

impl Comparison {
    /// Nothing was seen yet.
    pub(super) fn new(policy: &RolloutPolicy) -> Self {
        let above = Limit::AboveStable {
            points: policy.errors.points,
            ratio: policy.errors.ratio,
        };
        let class = |kind, may_fail, limit| Class {
            kind,
            may_fail,
            test: SequentialTest::new(limit),
            slow_us: 0,
        };
        let mut classes = vec![class(Kind::Failed, true, above)];
        for &limit in &policy.latency {
            let part = f64::from(1000_u32.saturating_sub(limit.per_mille)) / 1000.0;
            classes.push(class(Kind::Slow(limit), true, Limit::Fixed(part)));
        }
        if policy.answers != OtherAnswers::Ignore {
            let may_fail = policy.answers == OtherAnswers::Fail;
            for hundred in [3, 4] {
                classes.push(class(Kind::Answered(hundred), may_fail, above));
            }
        }
        Self {
            classes,
            open: Both::default(),
            opened: None,
            times: Times::default(),
        }
    }

    /// Takes what was counted in a window into account. With `alone`, canaries have all requests,
    /// so that nothing can be compared.
    pub(super) fn add(&mut self, window: &Both, alone: bool, starts: Timestamp, ends: Timestamp) {
        let since = *self.opened.get_or_insert(starts);
        self.open.add(window);
        let is_full = self.open.canary.attempts > 0 && (alone || self.open.stable.attempts > 0);
        if !is_full {
            // What stable instances do without canaries is known all the same.
            return;
        }
        let mut both = std::mem::take(&mut self.open);
        self.opened = None;
        if alone {
            both.stable = Counts::default();
        }
        for class in &mut self.classes {
            class.add(&both, &self.times, since, ends);
        }
        self.times.add(&both.stable.times);
        self.times.bound();
    }

    /// What suffices to give up.
    pub(super) fn failure(&self) -> Option<Finding> {
        let classes = self.classes.iter().filter(|class| class.may_fail);
        classes
            .filter_map(|class| Some(class.finding(class.test.failure()?)))
            .next()
    }

    /// What makes canaries suspect.
    pub(super) fn suspicion(&self) -> Option<Finding> {
        let mut classes = self.classes.iter();
        classes.find_map(|class| Some(class.finding(class.test.suspicion()?)))
    }

    /// All that is known, a line for each kind.
    pub(super) fn lines(&self) -> Vec<Evidence> {
        let lines = self.classes.iter().filter_map(|class| {
            let suspicion = class.test.failure().or_else(|| class.test.suspicion())?;
            Some(class.finding(suspicion).evidence)
        });
        lines.collect()
    }

    /// The rate of failed attempts of stable instances, 0 to 1.
    pub(super) fn stable_rate(&self) -> f64 {
        self.classes
            .first()
            .map_or(0.0, |class| class.test.stable_rate())
    }

    /// Forgets what speaks against canaries.
    pub(super) fn forget_canaries(&mut self) {
        for class in &mut self.classes {
            class.test.forget_canaries();
        }
        self.open = Both::default();
        self.opened = None;
    }
}

impl Class {
    fn add(&mut self, both: &Both, stable: &Times, starts: Timestamp, ends: Timestamp) {
        let block = match self.kind {
            Kind::Failed => Block {
                canary: both.canary.attempts,
                canary_bad: both.canary.failed,
                stable: both.stable.attempts,
                stable_bad: both.stable.failed,
            },
            Kind::Answered(hundred) => Block {
                canary: both.canary.attempts,
                canary_bad: both.canary.answered(hundred),
                stable: both.stable.attempts,
                stable_bad: both.stable.answered(hundred),
            },
            Kind::Slow(limit) => {
                let enough = if limit.per_mille > 900 {
                    TAIL_ANSWERS_MIN
                } else {
                    MEDIAN_ANSWERS_MIN
                };
                if stable.all() < enough {
                    return;
                }
                let Some(usual) = stable.quantile(limit.per_mille) else {
                    return;
                };
                self.slow_us = (usual as f64 * limit.ratio) as u64;
                let block = Block {
                    canary: both.canary.times.all(),
                    canary_bad: both.canary.times.beyond(self.slow_us),
                    stable: both.stable.times.all(),
                    stable_bad: both.stable.times.beyond(self.slow_us),
                };
                if block.canary == 0 {
                    return;
                }
                block
            }
        };
        self.test.add(block, starts, ends);
    }

    fn finding(&self, suspicion: &Suspicion) -> Finding {
        Finding {
            kind: self.kind,
            evidence: Evidence {
                metric: self.kind.metric(),
                route: String::new(),
                instance: String::new(),
                since: suspicion.since,
                canary_bad: suspicion.counts.canary_bad,
                canary_attempts: suspicion.counts.canary,
                stable_bad: suspicion.counts.stable_bad,
                stable_attempts: suspicion.counts.stable,
                limit: suspicion.limit,
                value: None,
                slow_us: self.slow_us,
                worse: suspicion.worse,
                beyond: suspicion.beyond,
            },
        }
    }
}

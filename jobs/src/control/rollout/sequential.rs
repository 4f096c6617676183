//! One sequential test: do canaries end more attempts badly than stable instances in the same
//! seconds, and more than is allowed?
//!
//! Evidence is the logarithm of a likelihood ratio, added up over blocks of attempts. For any rate
//! that both versions share, even one that jumps from block to block, the exponential of a block's
//! evidence averages at most 1: an outage of both adds nothing, and looking often needs no
//! correction. A block adds a bounded amount, so that one burst is not enough.

use crate::model::{Span, Timestamp};

/// From here on the evidence that canaries are worse suffices.
pub(super) const WORSE_AT: f64 = 14.0;
/// From here on the evidence that they are beyond the limit suffices.
pub(super) const BEYOND_AT: f64 = 7.0;
/// From here on a canary is suspect, with half as much evidence that it is beyond the limit.
const SUSPECT_AT: f64 = 7.0;
/// Below this it is not any more.
const CLEARED_AT: f64 = 3.5;
/// Nor after so many good attempts in a row.
const CLEARED_AFTER: u64 = 52;
/// Evidence is not added up for ever, where it is no reason to give up.
const EVIDENCE_MAX: f64 = 2.0 * WORSE_AT;
/// The most evidence that a block adds.
const BLOCK_MAX: f64 = WORSE_AT / 3.0;
/// So many bad attempts at least.
const BAD_MIN: u64 = 3;
/// No rate is taken for higher.
const RATE_MAX: f64 = 0.98;
/// Nor for lower.
const RATE_MIN: f64 = 1e-6;
/// After so long, what stable instances did counts half.
const HALF_LIFE: f64 = 60.0;
/// What is known of stable instances before anything was seen: bad attempts, all attempts.
const PRIOR: (f64, f64) = (0.5, 500.0);
/// How long attempts are looked at together to see whether bad ones come in clumps.
const CLUMP_WINDOW: Span = Span::from_secs(5);
/// So many windows are remembered, and so many even ones are taken for granted at first.
const CLUMP_WINDOWS: f64 = 60.0;
const CLUMP_PRIOR: f64 = 4.0;

/// Attempts of both versions in the same seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Of canaries.
    pub canary: u64,
    /// Of those, bad ones; never more.
    pub canary_bad: u64,
    /// Of stable instances.
    pub stable: u64,
    /// Of those, bad ones; never more.
    pub stable_bad: u64,
}

impl Block {
    /// Adds the attempts of another one.
    pub(super) fn add(&mut self, other: Self) {
        self.canary = self.canary.saturating_add(other.canary);
        self.canary_bad = self.canary_bad.saturating_add(other.canary_bad);
        self.stable = self.stable.saturating_add(other.stable);
        self.stable_bad = self.stable_bad.saturating_add(other.stable_bad);
    }
}

/// How many bad attempts are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// More than stable instances have: by points (0 to 1) or by a factor, whichever is more.
    AboveStable {
        /// Points.
        points: f64,
        /// Factor.
        ratio: f64,
    },
    /// A part of all attempts, 0 to 1.
    Fixed(f64),
}

/// The rate of bad attempts of stable instances, where the last minute counts most.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    bad: f64,
    all: f64,
    half_life: f64,
    at: Timestamp,
}

impl Rate {
    /// Nothing is known yet.
    pub(super) fn new(half_life_secs: f64) -> Self {
        Self {
            bad: 0.0,
            all: 0.0,
            half_life: half_life_secs,
            at: Timestamp::default(),
        }
    }

    /// The rate, 0 to 1.
    pub(super) fn value(&self) -> f64 {
        ((PRIOR.0 + self.bad) / (PRIOR.1 + self.all)).clamp(RATE_MIN, RATE_MAX)
    }

    /// The rate without what is assumed at first, and of how many attempts.
    pub(super) fn seen(&self) -> (f64, f64) {
        let rate = if self.all > 0.0 {
            self.bad / self.all
        } else {
            0.0
        };
        (rate, self.all)
    }

    /// Adds attempts; what was before fades.
    pub(super) fn add(&mut self, all: u64, bad: u64, now: Timestamp) {
        self.fade(now);
        self.all += all as f64;
        self.bad += bad as f64;
    }

    /// Lets what was seen fade until that time.
    pub(super) fn fade(&mut self, now: Timestamp) {
        if !self.at.is_zero() {
            let factor = 0.5_f64.powf(now.since(self.at).as_secs_f64() / self.half_life);
            self.all *= factor;
            self.bad *= factor;
        }
        self.at = self.at.max(now);
    }
}

/// How much the bad attempts of stable instances come in clumps: 1 when they do not.
#[derive(Clone, Debug, Default)]
struct Clumping {
    since: Option<Timestamp>,
    bad: f64,
    expected: f64,
    variance: f64,
    sum: f64,
    windows: f64,
}

impl Clumping {
    fn factor(&self) -> f64 {
        let mean = (self.sum + CLUMP_PRIOR) / (self.windows + CLUMP_PRIOR);
        (mean - 0.5).max(1.0)
    }

    fn add(&mut self, block: Block, rate: f64, starts: Timestamp, ends: Timestamp) {
        let since = *self.since.get_or_insert(starts);
        let all = block.stable as f64;
        self.bad += block.stable_bad as f64;
        self.expected += all * rate;
        self.variance += all * rate * (1.0 - rate);
        if ends - since < CLUMP_WINDOW || self.expected < 1.0 {
            return;
        }
        let off = self.bad - self.expected;
        let keep = 1.0 - 1.0 / CLUMP_WINDOWS;
        self.sum = self.sum * keep + off * off / self.variance.max(RATE_MIN);
        self.windows = self.windows * keep + 1.0;
        self.since = None;
        self.bad = 0.0;
        self.expected = 0.0;
        self.variance = 0.0;
    }
}

/// The evidence for one alternative: canaries have this much higher a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Suspicion {
    /// Evidence that canaries are worse than stable instances, 0 or more.
    pub worse: f64,
    /// Evidence that they are beyond the limit, 0 or more.
    pub beyond: f64,
    /// When `worse` was 0 last.
    pub since: Timestamp,
    /// Attempts since then.
    pub counts: Block,
    /// The limit that counted last.
    pub limit: f64,
}

impl Suspicion {
    /// True when it suffices to give up. Without stable attempts the limit alone must do.
    fn suffices(&self, is_alone: bool) -> bool {
        let enough = if is_alone {
            self.beyond >= WORSE_AT
        } else {
            self.worse >= WORSE_AT && self.beyond >= BEYOND_AT
        };
        enough && self.counts.canary_bad >= BAD_MIN
    }
}

/// The test of one kind of bad attempt.
#[derive(Clone, Debug)]
pub(super) struct SequentialTest {
    limit: Limit,
    rate: Rate,
    clumping: Clumping,
    suspicions: [Suspicion; ALTERNATIVES],
    is_alone: bool,
    is_suspect: bool,
    /// Good attempts of canaries since the last bad one.
    good_since: u64,
}

const ALTERNATIVES: usize = 5;
/// The last alternatives are crude enough for clumps not to matter.
const DAMPED: usize = 3;

impl SequentialTest {
    /// A test that has seen nothing.
    pub(super) fn new(limit: Limit) -> Self {
        Self {
            limit,
            rate: Rate::new(HALF_LIFE),
            clumping: Clumping::default(),
            suspicions: Default::default(),
            is_alone: false,
            is_suspect: false,
            good_since: 0,
        }
    }

    /// The rate of stable instances, 0 to 1.
    pub(super) fn stable_rate(&self) -> f64 {
        self.rate.value()
    }

    /// The part of attempts that may be bad, 0 to 1.
    pub(super) fn limit(&self) -> f64 {
        let stable = self.rate.value();
        let limit = match self.limit {
            Limit::AboveStable { points, ratio } => (stable * ratio).max(stable + points),
            Limit::Fixed(limit) => limit,
        };
        limit.clamp(RATE_MIN, RATE_MAX)
    }

    /// Takes a block into account. Without stable attempts, canaries are held against the limit
    /// alone.
    pub(super) fn add(&mut self, block: Block, starts: Timestamp, ends: Timestamp) {
        let stable = self.rate.value();
        let limit = self.limit();
        self.is_alone = block.stable == 0;
        let is_quiet = |suspicion: &Suspicion| suspicion.worse == 0.0 && suspicion.beyond == 0.0;
        // Without bad attempts of canaries evidence only falls.
        if block.canary_bad > 0 || !self.suspicions.iter().all(is_quiet) {
            let damping = self.clumping.factor();
            let alternatives = alternatives(stable).into_iter().enumerate();
            for (suspicion, (at, alternative)) in self.suspicions.iter_mut().zip(alternatives) {
                let damping = if at < DAMPED { damping } else { 1.0 };
                weigh(
                    suspicion,
                    block,
                    (stable, alternative, limit),
                    damping,
                    starts,
                );
            }
        }
        if !self.is_alone {
            self.clumping.add(block, stable, starts, ends);
            self.rate.add(block.stable, block.stable_bad, ends);
        }
        self.good_since = if block.canary_bad > 0 {
            0
        } else {
            self.good_since.saturating_add(block.canary)
        };
        let edge = if self.is_suspect {
            CLEARED_AT
        } else {
            SUSPECT_AT
        };
        self.is_suspect = self.good_since < CLEARED_AFTER && self.strongest(edge).is_some();
    }

    /// The alternative with the most evidence, of those with so much.
    fn strongest(&self, edge: f64) -> Option<&Suspicion> {
        let has_so_much = |suspicion: &&Suspicion| {
            (self.is_alone || suspicion.worse >= edge) && suspicion.beyond >= edge / 2.0
        };
        let enough = self.suspicions.iter().filter(has_so_much);
        enough.max_by(|a, b| (a.worse + a.beyond).total_cmp(&(b.worse + b.beyond)))
    }

    /// The alternative that suffices to give up; none while there is none.
    pub(super) fn failure(&self) -> Option<&Suspicion> {
        let mut found = self.suspicions.iter();
        found.find(|suspicion| suspicion.suffices(self.is_alone))
    }

    /// The strongest alternative, while the canaries are suspect.
    pub(super) fn suspicion(&self) -> Option<&Suspicion> {
        self.strongest(CLEARED_AT).filter(|_| self.is_suspect)
    }

    /// Forgets what speaks against canaries, and keeps what is known of stable instances.
    pub(super) fn forget_canaries(&mut self) {
        self.suspicions = Default::default();
        self.is_suspect = false;
    }
}

/// The rates that canaries may have if they are worse, from little to far: the last is a fuse.
fn alternatives(stable: f64) -> [f64; ALTERNATIVES] {
    [
        stable + stable.max(0.005),
        stable + (3.0 * stable).max(0.03),
        stable + 0.15,
        (stable + 0.2).max(0.5),
        (stable + 0.3).max(0.95),
    ]
    .map(|rate| rate.min(RATE_MAX))
}

/// Adds the evidence of a block for one alternative.
fn weigh(
    suspicion: &mut Suspicion,
    block: Block,
    (stable, alternative, limit): (f64, f64, f64),
    damping: f64,
    starts: Timestamp,
) {
    let (canary, of_stable) = (block.canary as f64, block.stable as f64);
    let both = (canary * alternative + of_stable * stable) / (canary + of_stable);
    let worse = if alternative > stable && canary + of_stable > 0.0 {
        of_rate(block.canary, block.canary_bad, alternative, both)
            + of_rate(block.stable, block.stable_bad, stable, both)
    } else {
        0.0
    };
    let far = alternative
        .max(1.5 * limit)
        .max(limit + 0.002)
        .min(RATE_MAX);
    let beyond = if far > limit {
        of_rate(block.canary, block.canary_bad, far, limit)
    } else {
        0.0
    };
    if suspicion.worse == 0.0 && (block.stable > 0 || suspicion.beyond == 0.0) {
        suspicion.since = starts;
        suspicion.counts = Block::default();
    }
    suspicion.counts.add(block);
    suspicion.limit = limit;
    let sum = |before: f64, more: f64| {
        (before + (more / damping).min(BLOCK_MAX)).clamp(0.0, EVIDENCE_MAX)
    };
    suspicion.worse = sum(suspicion.worse, worse);
    suspicion.beyond = sum(suspicion.beyond, beyond);
}

/// How much likelier attempts are at one rate than at another, as a logarithm.
fn of_rate(all: u64, bad: u64, rate: f64, than: f64) -> f64 {
    let mut evidence = 0.0;
    if bad > 0 {
        evidence += bad as f64 * (rate / than).ln();
    }
    if all > bad {
        evidence += (all - bad) as f64 * ((1.0 - rate) / (1.0 - than)).ln();
    }
    evidence
}

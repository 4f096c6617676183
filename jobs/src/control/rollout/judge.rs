//! What was counted, window by window, to a judgment: routes singly and summed, canaries one by
//! one, both versions failing, nobody asking.

use super::{
    compare::{Both, Comparison, Finding},
    counts::{Counts, Row, Side},
    measured::{Measurement, Measures, Opinion, Reply},
    sequential::Rate,
};
use crate::model::{AllocId, Evidence, RolloutPolicy, Share, Span, Timestamp, is_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many routes of a service are looked at singly.
const ROUTES_MAX: usize = 64;
/// So many canaries are looked at singly.
const CANARIES_MAX: usize = 64;
/// So many canaries at least before one of them may be left out.
const OUTLIER_OF_MIN: usize = 3;
/// After so long without a request at the earliest, there is no traffic.
const SILENCE_MIN: Span = Span::from_nanos(1_250_000_000);
/// And after so many usual pauses between requests.
const SILENCE_PAUSES: f64 = 8.0;
/// After so many seconds at the latest.
const SILENCE_MAX: f64 = 900.0;
/// Both versions fail when stable instances fail this part of what they are asked,
const BOTH_MIN: f64 = 0.1;
/// and so many times what they usually do,
const BOTH_TIMES: f64 = 3.0;
/// and canaries at least this part of that.
const BOTH_ALIKE: f64 = 0.5;
/// What is usual, and what is now: half-lives in seconds.
const USUAL: f64 = 600.0;
const NOW: f64 = 1.0;
/// So many attempts of canaries are needed to pass a step, however good they are.
pub const ATTEMPTS_MIN: u64 = 52;
/// A step is passed when canaries fail at most so much more than stable instances.
const PASS_WITHIN: f64 = 0.05;
/// One-sided 95 %.
const Z: f64 = 1.645;

/// What all ingresses counted in a moment, and what metrics stores and hooks answered in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// When it began.
    pub starts: Timestamp,
    /// When it ended.
    pub ends: Timestamp,
    /// The share that canaries had, as configured.
    pub share: Share,
    /// Ingresses of which nothing was heard; may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// A transition was on its way to the log, so that nothing was decided.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_waiting: bool,
    /// What was counted; may be empty.
    pub rows: Vec<Row>,
    /// What metrics were, in the order in which it came; mostly empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Measurement>,
    /// What hooks answered, in that order; mostly empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Reply>,
}

/// What is thought of the canaries after a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgment {
    /// Enough to give up.
    pub failure: Option<Finding>,
    /// Enough to wait.
    pub suspicion: Option<Finding>,
    /// One of several canaries is bad, the others are not: it is to be left out.
    pub outlier: Option<(AllocId, Finding)>,
    /// Stable instances fail as well.
    pub both_failing: Option<Evidence>,
    /// Since when nobody asks.
    pub silent_since: Option<Timestamp>,
    /// Ingresses of which nothing was heard.
    pub missing: Vec<String>,
    /// The step is passed as far as counts go.
    pub passes: bool,
    /// What metrics and hooks say.
    pub opinion: Opinion,
}

/// What both versions did since the step began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Canaries.
    pub canary: Counts,
    /// Stable instances.
    pub stable: Counts,
}

/// The judge of a group's canaries. It is told what was counted; it has no clock.
#[derive(Clone, Debug)]
pub struct Judge {
    policy: RolloutPolicy,
    summed: Comparison,
    routes: BTreeMap<String, Comparison>,
    canaries: BTreeMap<AllocId, Comparison>,
    /// Canaries that are left out.
    ejected: Vec<AllocId>,
    usual: Rate,
    stable_now: Rate,
    canary_now: Rate,
    /// Since when both fail.
    both_failing: Option<Timestamp>,
    pace: Pace,
    measures: Measures,
    /// Since the step began.
    totals: Totals,
}

/// How often requests come.
#[derive(Clone, Debug)]
struct Pace {
    requests: Rate,
    began: Option<Timestamp>,
    last: Option<Timestamp>,
    /// There was a request.
    asked: bool,
}

impl Pace {
    fn add(&mut self, requests: u64, window: &Window) {
        let began = *self.began.get_or_insert(window.starts);
        self.requests.add(requests, 0, window.ends);
        self.asked |= requests > 0;
        if requests > 0 || self.last.is_none() {
            self.last = Some(if requests > 0 { window.ends } else { began });
        }
    }

    fn silent_since(&self, now: Timestamp) -> Option<Timestamp> {
        let (began, last) = (self.began?, self.last?);
        let (_, requests) = self.requests.seen();
        let least = SILENCE_MIN.to_std().as_secs_f64();
        let patience = if self.asked {
            // What fades is as if it had been watched for so long.
            let watched = now.since(began).as_secs_f64().max(1.0);
            let counted = (60.0 / std::f64::consts::LN_2) * (1.0 - 0.5_f64.powf(watched / 60.0));
            let pause = counted / requests.max(0.1);
            (SILENCE_PAUSES * pause).clamp(least, SILENCE_MAX)
        } else {
            least
        };
        (now.since(last).as_secs_f64() >= patience).then_some(last)
    }
}

impl Judge {
    /// Nothing was seen yet.
    pub fn new(policy: RolloutPolicy) -> Self {
        Self {
            summed: Comparison::new(&policy),
            measures: Measures::new(&policy),
            policy,
            routes: BTreeMap::new(),
            canaries: BTreeMap::new(),
            ejected: Vec::new(),
            usual: Rate::new(USUAL),
            stable_now: Rate::new(NOW),
            canary_now: Rate::new(NOW),
            both_failing: None,
            pace: Pace {
                requests: Rate::new(60.0),
                began: None,
                last: None,
                asked: false,
            },
            totals: Totals::default(),
        }
    }

    /// What both versions did since the step began.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// A step begins: what canaries did before does not count for it.
    pub fn begin_step(&mut self) {
        self.totals = Totals::default();
        self.measures.begin_step();
    }

    /// Metrics and hooks that did not speak for canaries with a share since the step began.
    pub fn awaited(&self, share: Share) -> Vec<String> {
        self.measures.awaited(share)
    }

    /// True once a hook let the rollout on since the step began.
    pub fn lets_on(&self, hook: &str) -> bool {
        self.measures.lets_on(hook)
    }

    /// Leaves a canary out: what it did does not count any more.
    pub fn eject(&mut self, canary: AllocId) {
        if self.ejected.contains(&canary) {
            return;
        }
        self.ejected.push(canary);
        self.canaries.remove(&canary);
        self.summed.forget_canaries();
        for route in self.routes.values_mut() {
            route.forget_canaries();
        }
    }

    /// Takes a window into account.
    pub fn add(&mut self, window: &Window) -> Judgment {
        let alone = window.share == Share::WHOLE;
        let mut all = Both::default();
        let mut routes: BTreeMap<&str, Both> = BTreeMap::new();
        let mut canaries: BTreeMap<AllocId, Counts> = BTreeMap::new();
        let mut requests = 0;
        for row in &window.rows {
            requests += row.counts.attempts;
            if self.ejected.contains(&row.alloc_id) {
                continue;
            }
            let counts = row.counted();
            let of_route = routes.entry(&row.route).or_default();
            for both in [&mut all, of_route] {
                let side = match row.side {
                    Side::Canary => &mut both.canary,
                    Side::Stable => &mut both.stable,
                };
                side.add(&counts);
            }
            if row.side == Side::Canary {
                canaries.entry(row.alloc_id).or_default().add(&counts);
            }
        }
        self.totals.canary.add(&all.canary);
        self.totals.stable.add(&all.stable);
        self.pace.add(requests, window);
        self.watch_both(&all, window.ends);
        self.measures
            .add(window.starts, &window.measured, &window.replies);
        self.compare(&all, &routes, &canaries, alone, window);
        self.judgment(window)
    }

    fn compare(
        &mut self,
        all: &Both,
        routes: &BTreeMap<&str, Both>,
        canaries: &BTreeMap<AllocId, Counts>,
        alone: bool,
        window: &Window,
    ) {
        let (starts, ends) = (window.starts, window.ends);
        self.summed.add(all, alone, starts, ends);
        for (route, both) in routes {
            if !self.routes.contains_key(*route) && self.routes.len() >= ROUTES_MAX {
                continue;
            }
            let of_route = self.routes.entry((*route).to_owned());
            let of_route = of_route.or_insert_with(|| Comparison::new(&self.policy));
            of_route.add(both, alone, starts, ends);
        }
        for canary in canaries.keys() {
            if !self.canaries.contains_key(canary) && self.canaries.len() < CANARIES_MAX {
                self.canaries.insert(*canary, Comparison::new(&self.policy));
            }
        }
        if self.canaries.len() < 2 {
            return;
        }
        let nothing = Counts::default();
        for (canary, comparison) in &mut self.canaries {
            let both = Both {
                canary: canaries.get(canary).unwrap_or(&nothing).clone(),
                stable: all.stable.clone(),
            };
            comparison.add(&both, alone, starts, ends);
        }
    }

    /// Do stable instances fail as well, much more than usual?
    fn watch_both(&mut self, all: &Both, ends: Timestamp) {
        let (stable, canary) = (&all.stable, &all.canary);
        self.stable_now.add(stable.attempts, stable.failed, ends);
        self.canary_now.add(canary.attempts, canary.failed, ends);
        let (stable_rate, of_stable) = self.stable_now.seen();
        let (canary_rate, of_canary) = self.canary_now.seen();
        let usual = self.usual.value();
        let edge = BOTH_MIN.max(BOTH_TIMES * usual)
            * if self.both_failing.is_some() {
                0.8
            } else {
                1.0
            };
        let fails = stable_rate >= edge;
        // Who began to fail with the others goes on with them, whatever a few attempts say.
        let begins =
            || of_stable >= 3.0 && of_canary >= 0.3 && canary_rate >= BOTH_ALIKE * stable_rate;
        self.both_failing = match self.both_failing {
            Some(since) if fails => Some(since),
            None if fails && begins() => Some(ends),
            _ => None,
        };
        // What both do for long is usual.
        let is_usual = |since: Timestamp| ends.since(since).as_secs_f64() > USUAL;
        if self.both_failing.is_none_or(is_usual) {
            self.usual.add(stable.attempts, stable.failed, ends);
        } else {
            self.usual.fade(ends);
        }
    }

    fn judgment(&self, window: &Window) -> Judgment {
        let mut failure = self.failure();
        let outlier = self.outlier(failure.is_some());
        if outlier.is_some() {
            failure = None;
        }
        let both_failing = self.both_failing.map(|since| {
            let (canary, stable) = (self.canary_now.seen(), self.stable_now.seen());
            Evidence {
                metric: "failed".into(),
                since,
                canary_bad: (canary.0 * canary.1).round() as u64,
                canary_attempts: canary.1.round() as u64,
                stable_bad: (stable.0 * stable.1).round() as u64,
                stable_attempts: stable.1.round() as u64,
                limit: BOTH_MIN.max(BOTH_TIMES * self.usual.value()),
                ..Evidence::default()
            }
        });
        let is_silent = window.share > Share::NONE;
        Judgment {
            suspicion: self.suspicion(),
            failure,
            outlier,
            both_failing,
            silent_since: self.pace.silent_since(window.ends).filter(|_| is_silent),
            missing: window.missing.clone(),
            passes: self.attempts_missing() == 0,
            opinion: self.measures.opinion(window.share),
        }
    }

    /// Of all together and of each route, what suffices to give up.
    fn failure(&self) -> Option<Finding> {
        let of_routes = || self.of_routes(Comparison::failure);
        let summed = self.summed.failure();
        // A route that fails alone is named, even if all together fail by it.
        match of_routes() {
            Some(of_route) => Some(of_route),
            None => summed.or_else(|| self.of_canaries(Comparison::failure)),
        }
    }

    fn suspicion(&self) -> Option<Finding> {
        let of_route = self.of_routes(Comparison::suspicion);
        of_route
            .or_else(|| self.summed.suspicion())
            .or_else(|| self.of_canaries(Comparison::suspicion))
    }

    fn of_routes(&self, find: impl Fn(&Comparison) -> Option<Finding>) -> Option<Finding> {
        if self.routes.len() < 2 {
            return None;
        }
        let found: Vec<(&String, Finding)> = self
            .routes
            .iter()
            .filter_map(|(route, comparison)| Some((route, find(comparison)?)))
            .collect();
        // When all routes are bad, none of them is named.
        if found.len() == self.routes.len() {
            return None;
        }
        let (route, mut finding) = found.into_iter().next()?;
        finding.evidence.route.clone_from(route);
        Some(finding)
    }

    fn of_canaries(&self, find: impl Fn(&Comparison) -> Option<Finding>) -> Option<Finding> {
        if self.canaries.len() < 2 {
            return None;
        }
        let (canary, mut finding) = self
            .canaries
            .iter()
            .find_map(|(canary, comparison)| Some((canary, find(comparison)?)))?;
        finding.evidence.instance = canary.to_string();
        Some(finding)
    }

    /// The one bad canary among good ones.
    fn outlier(&self, fails: bool) -> Option<(AllocId, Finding)> {
        if self.canaries.len() < OUTLIER_OF_MIN || !self.ejected.is_empty() {
            return None;
        }
        let is_bad = |comparison: &Comparison| {
            comparison.failure().is_some() || comparison.suspicion().is_some()
        };
        let mut bad = self
            .canaries
            .iter()
            .filter(|(_, comparison)| is_bad(comparison));
        let (canary, comparison) = bad.next()?;
        if bad.next().is_some() {
            return None;
        }
        let suspected = || comparison.suspicion().filter(|_| fails);
        let mut finding = comparison.failure().or_else(suspected)?;
        finding.evidence.instance = canary.to_string();
        Some((*canary, finding))
    }

    /// Everything that speaks against canaries, a line for each.
    pub fn table(&self) -> Vec<Evidence> {
        let mut lines = self.summed.lines();
        lines.extend(self.measures.lines());
        if self.routes.len() > 1 {
            for (route, comparison) in &self.routes {
                lines.extend(comparison.lines().into_iter().map(|mut line| {
                    line.route.clone_from(route);
                    line
                }));
            }
        }
        if self.canaries.len() > 1 {
            for (canary, comparison) in &self.canaries {
                lines.extend(comparison.lines().into_iter().map(|mut line| {
                    line.instance = canary.to_string();
                    line
                }));
            }
        }
        lines.truncate(TABLE_MAX);
        lines
    }

    /// The rate of failed attempts of stable instances, 0 to 1.
    pub fn stable_rate(&self) -> f64 {
        self.summed.stable_rate()
    }

    /// So many good attempts of canaries are missing to pass the step.
    pub fn attempts_missing(&self) -> u64 {
        let canary = &self.totals.canary;
        let allowed = self.stable_rate() + PASS_WITHIN;
        let passes = |more: u64| {
            let attempts = canary.attempts + more;
            attempts >= ATTEMPTS_MIN && wilson_upper(canary.failed, attempts) <= allowed
        };
        if passes(0) {
            return 0;
        }
        // Few failures at most, so that this ends soon; else it is said roughly.
        let mut more = 1;
        while !passes(more) && more < MISSING_MAX {
            more *= 2;
        }
        let (mut below, mut above) = (more / 2, more);
        while below + 1 < above {
            let middle = below.midpoint(above);
            if passes(middle) {
                above = middle;
            } else {
                below = middle;
            }
        }
        above
    }
}

/// No more lines in a table.
const TABLE_MAX: usize = 32;
/// No more attempts are said to be missing.
const MISSING_MAX: u64 = 1 << 20;

/// The highest rate that so many bad of all attempts leave possible, one-sided 95 % (Wilson).
fn wilson_upper(bad: u64, all: u64) -> f64 {
    let (bad, all) = (bad as f64, all as f64);
    if all == 0.0 {
        return 1.0;
    }
    let rate = bad / all;
    let z2 = Z * Z;
    let center = rate + z2 / (2.0 * all);
    let spread = Z * (rate * (1.0 - rate) / all + z2 / (4.0 * all * all)).sqrt();
    (center + spread) / (1.0 + z2 / all)
}

//! How a new version of a group gets its requests, step by step, and what became of it.

use super::{AllocId, HookCall, MetricLimit, Span, Timestamp, hook_call, is_default};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A part of the requests of a service, in ten-thousandths: 0.01 % is the smallest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Share(u32);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const WHOLE: Self = Self(10_000);

    /// So many percent.
    pub const fn of_percent(percent: u32) -> Self {
        if percent >= 100 {
            return Self::WHOLE;
        }
        Self(percent * 100)
    }

    /// So many ten-thousandths, at most all.
    pub const fn of_ten_thousandths(parts: u32) -> Self {
        if parts > Self::WHOLE.0 {
            return Self::WHOLE;
        }
        Self(parts)
    }

    /// Its ten-thousandths, 0 to 10,000.
    pub const fn ten_thousandths(self) -> u32 {
        self.0
    }

    /// Reads a percentage such as `5`, `0.25` or `25%`.
    ///
    /// # Errors
    /// A sentence that says what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = text.trim();
        let number = number.strip_suffix('%').unwrap_or(number).trim();
        let wrong =
            || format!("{text:?} must be a percentage from 0 to 100 with at most two decimals");
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(decimals) || whole.len() > 3 || decimals.len() > 2 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let hundredths: u32 = format!("{decimals:0<2}").parse().map_err(|_| wrong())?;
        let parts = whole * 100 + hundredths;
        if parts > Self::WHOLE.0 {
            return Err(wrong());
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match (hundredths, hundredths % 10) {
            (0, _) => write!(f, "{whole} %"),
            (_, 0) => write!(f, "{whole}.{} %", hundredths / 10),
            _ => write!(f, "{whole}.{hundredths:02} %"),
        }
    }
}

/// Where the rollout of a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPhase {
    /// Its canaries are placed and turn healthy; they get no requests by share.
    #[default]
    Warming,
    /// Canaries have the share of a step and are compared with stable ones.
    Judging,
    /// As judging, but its clock stands: something is doubtful, or somebody holds it.
    Held,
    /// As judging, but its clock stands for lack of requests.
    Frozen,
    /// All steps passed; the old version stands by.
    Baking,
    /// All steps passed; the canaries may be promoted.
    Passed,
    /// Given up: the share is 0 for good.
    Aborted,
}

impl RolloutPhase {
    /// All of them, in the order in which a rollout comes by.
    pub const ALL: [Self; 7] = [
        Self::Warming,
        Self::Judging,
        Self::Held,
        Self::Frozen,
        Self::Baking,
        Self::Passed,
        Self::Aborted,
    ];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warming => "warming",
            Self::Judging => "judging",
            Self::Held => "held",
            Self::Frozen => "frozen",
            Self::Baking => "baking",
            Self::Passed => "passed",
            Self::Aborted => "aborted",
        }
    }
}

/// What a transition comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutCause {
    /// The way through the steps.
    #[default]
    Progress,
    /// More attempts failed than with stable instances.
    Failed,
    /// Answers took longer than those of stable instances.
    Slow,
    /// Other answers than those of stable instances.
    Answers,
    /// Stable instances fail as well.
    BothFailing,
    /// What some ingresses counted is missing, or what was asked for.
    Missing,
    /// Nobody sends requests.
    NoTraffic,
    /// Tasks were restarted or killed, or checks are critical.
    Unhealthy,
    /// Somebody decided it.
    Operator,
    /// It waits for somebody to let it go on.
    Gate,
    /// A metric is beyond its limit.
    Metric,
    /// A hook speaks against it.
    Hook,
    /// The deployment ended.
    Deployment,
}

impl RolloutCause {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Progress => "progress",
            Self::Failed => "failed",
            Self::Slow => "slow",
            Self::Answers => "answers",
            Self::BothFailing => "both_failing",
            Self::Missing => "missing",
            Self::NoTraffic => "no_traffic",
            Self::Unhealthy => "unhealthy",
            Self::Operator => "operator",
            Self::Gate => "gate",
            Self::Metric => "metric",
            Self::Hook => "hook",
            Self::Deployment => "deployment",
        }
    }
}

/// One line of what a verdict rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Evidence {
    /// What was compared: `failed`, `slow-p50`, `slow-p99`, `3xx` or `4xx`; or `metric NAME`, which
    /// has nothing but `since`, `value` and `limit`.
    pub metric: String,
    /// Host and path of the route; empty for all together.
    pub route: String,
    /// The canary; empty for all together.
    pub instance: String,
    /// When the attempts begin that count.
    #[serde(with = "super::rfc3339")]
    pub since: Timestamp,
    /// Bad attempts of canaries.
    pub canary_bad: u64,
    /// All attempts of canaries.
    pub canary_attempts: u64,
    /// Bad attempts of stable instances.
    pub stable_bad: u64,
    /// All attempts of stable instances.
    pub stable_attempts: u64,
    /// The part of attempts that may be bad, 0 to 1; of a metric, the limit that it is beyond.
    pub limit: f64,
    /// What a metric is, in its own unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// From so many microseconds on an answer is slow; 0 for other metrics.
    pub slow_us: u64,
    /// Natural logarithm of how much likelier it is that canaries are worse than stable ones.
    pub worse: f64,
    /// The same for being beyond the limit.
    pub beyond: f64,
}

/// A change of a rollout, as it was decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RolloutTransition {
    /// The revision of the rollout that it made.
    pub revision: u64,
    /// When.
    #[serde(with = "super::rfc3339")]
    pub at: Timestamp,
    /// Who: `judge`, or who asked for it.
    pub actor: String,
    /// Where it went.
    pub phase: RolloutPhase,
    /// The step, counted from 0.
    pub step: u32,
    /// The share.
    pub share: Share,
    /// What it comes from.
    pub cause: RolloutCause,
    /// A sentence.
    pub reason: String,
    /// What the sentence rests on; may be empty.
    pub evidence: Vec<Evidence>,
    /// A canary that gets no requests from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejects: Option<AllocId>,
}

/// The way of a group's canaries to all requests. Writer: the leader's controller, and operators;
/// each change is an entry of the log.
///
/// Invariants:
/// 1. `aborted` is final, and its share is 0.
/// 2. The share is more than 0 only after warming.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Rollout {
    /// How often it changed: each change makes the next one.
    pub revision: u64,
    /// Where it is.
    pub phase: RolloutPhase,
    /// The step, counted from 0; the number of steps when all of them passed.
    pub step: u32,
    /// The share of all canaries together, if all of them are well.
    pub share: Share,
    /// The shares of the steps, rising; empty when canaries take their turn with everybody else.
    pub steps: Vec<Share>,
    /// The share was set by hand: it stays until somebody goes on.
    pub is_manual: bool,
    /// What the phase comes from.
    pub cause: RolloutCause,
    /// Why it is where it is, in a sentence.
    pub reason: String,
    /// When the step began.
    #[serde(with = "super::rfc3339")]
    pub step_at: Timestamp,
    /// When the phase began.
    #[serde(with = "super::rfc3339")]
    pub phase_at: Timestamp,
    /// How much of the step's time had passed then.
    pub elapsed: Span,
    /// Canaries that get no requests because they are worse than the others.
    #[serde(skip_serializing_if = "is_default")]
    pub ejected: BTreeSet<AllocId>,
    /// Oldest first, at most [`Rollout::TRANSITIONS_MAX`].
    pub transitions: Vec<RolloutTransition>,
}

impl Rollout {
    /// How many transitions are kept; the first one is kept too.
    pub const TRANSITIONS_MAX: usize = 64;

    /// A rollout that begins.
    pub fn new(steps: Vec<Share>, now: Timestamp) -> Self {
        Self {
            revision: 1,
            steps,
            reason: "canaries are placed and turn healthy".into(),
            step_at: now,
            phase_at: now,
            ..Self::default()
        }
    }

    /// The same after a transition. One that follows an abort changes nothing.
    #[must_use]
    pub fn after(&self, transition: RolloutTransition, elapsed: Span) -> Self {
        let mut next = self.clone();
        if self.is_over() {
            return next;
        }
        next.revision += 1;
        if transition.step != self.step || transition.share != self.share {
            next.step_at = transition.at;
        }
        next.phase = transition.phase;
        next.step = transition.step;
        next.share = transition.share;
        if next.phase == RolloutPhase::Aborted {
            next.share = Share::NONE;
        }
        next.cause = transition.cause;
        next.reason.clone_from(&transition.reason);
        next.phase_at = transition.at;
        next.elapsed = elapsed;
        next.ejected.extend(transition.ejects);
        if next.transitions.len() >= Self::TRANSITIONS_MAX {
            next.transitions.remove(1);
        }
        next.transitions.push(RolloutTransition {
            revision: next.revision,
            ..transition
        });
        next
    }

    /// True when nothing will change any more, except that the deployment ends.
    pub fn is_over(&self) -> bool {
        self.phase == RolloutPhase::Aborted
    }

    /// The share of a step; none beyond the last one.
    pub fn step_share(&self, step: u32) -> Option<Share> {
        let at = usize::try_from(step).ok()?;
        self.steps.get(at).copied()
    }

    /// The share of a canary of so many, in millionths and rounded down; none when canaries take
    /// their turn with everybody else.
    pub fn share_of(&self, canary: AllocId, canaries: u32) -> Option<u32> {
        if self.steps.is_empty() && self.phase != RolloutPhase::Aborted {
            return None;
        }
        if self.ejected.contains(&canary) {
            return Some(0);
        }
        Some(self.share.ten_thousandths() * 100 / canaries.max(1))
    }
}

/// What the judge may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgeMode {
    /// Holds and aborts.
    #[default]
    On,
    /// Says what it would do.
    Observe,
    /// Nothing: neither steps nor verdicts.
    Off,
}

/// A limit of latency: so many times a quantile of stable answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyLimit {
    /// The quantile, in thousandths: 500 or 990.
    pub per_mille: u32,
    /// So many times that of stable instances.
    pub ratio: f64,
}

/// How much worse than stable ones canaries may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorLimit {
    /// So much more of all attempts, 0 to 1.
    pub points: f64,
    /// Or so many times the rate of stable instances, whichever is more.
    pub ratio: f64,
}

impl Default for ErrorLimit {
    fn default() -> Self {
        Self {
            points: 0.002,
            ratio: 1.25,
        }
    }
}

/// What becomes of canaries that give other answers than stable instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherAnswers {
    /// The rollout waits.
    #[default]
    Hold,
    /// It is given up.
    Fail,
    /// Nothing.
    Ignore,
}

/// Where a rollout waits until somebody lets it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Before the first step.
    Start,
    /// Before each further step.
    Increase,
    /// Before the canaries may be promoted, or the old version stands by.
    Promote,
}

impl Gate {
    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Increase => "increase",
            Self::Promote => "promote",
        }
    }
}

/// How a group's canaries are let in, as the job says it.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutPolicy {
    /// The shares, rising; empty when canaries take their turn with everybody else.
    pub steps: Vec<Share>,
    /// How long a step lasts at least.
    pub hold: Span,
    /// How long the old version stands by after the last step.
    pub bake: Span,
    /// How long an instance may answer badly after its start.
    pub warmup: Span,
    /// So many restarts of a canary's task are too many.
    pub restarts: u64,
    /// What the judge may do.
    pub judge: JudgeMode,
    /// The limit of failed attempts.
    pub errors: ErrorLimit,
    /// The limits of latency; may be empty.
    pub latency: Vec<LatencyLimit>,
    /// What other answers mean.
    pub answers: OtherAnswers,
    /// Where it waits for somebody; may be empty.
    pub gates: BTreeSet<Gate>,
    /// Metrics by name, at most [`RolloutPolicy::ASKED_MAX`].
    pub metrics: BTreeMap<String, MetricLimit>,
    /// Hooks by name, at most as many.
    pub hooks: BTreeMap<String, HookCall>,
    /// What keeps a client with a version, as data planes read it; none for nothing.
    pub sticky: Option<String>,
    /// A splitter that tells canaries and others apart is not obeyed; otherwise it says their
    /// shares and the rollout waits.
    pub ignores_splitter: bool,
    /// Where each transition is told, an `http` or `https` URL; none for nowhere.
    pub notify: Option<String>,
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            hold: Span::from_secs(60),
            bake: Span::ZERO,
            warmup: Span::from_secs(10),
            restarts: 2,
            judge: JudgeMode::On,
            errors: ErrorLimit::default(),
            latency: Vec::new(),
            answers: OtherAnswers::Hold,
            gates: BTreeSet::new(),
            metrics: BTreeMap::new(),
            hooks: BTreeMap::new(),
            sticky: None,
            ignores_splitter: false,
            notify: None,
        }
    }
}

impl RolloutPolicy {
    /// How the keys begin that hold it in the `meta` of a service.
    pub const PREFIX: &'static str = "rollout_";

    /// How the keys go on that hold a metric; its name follows.
    pub const METRIC: &'static str = "metric_";

    /// How the keys go on that hold a hook; its name follows.
    pub const HOOK: &'static str = "hook_";

    /// The most metrics of a group, and the most hooks.
    pub const ASKED_MAX: usize = 16;

    /// What `steps = "auto"` means.
    pub const AUTO_STEPS: [Share; 3] = [
        Share::of_percent(5),
        Share::of_percent(25),
        Share::of_percent(50),
    ];

    /// Canaries get a share of their own, step by step.
    pub fn is_governed(&self) -> bool {
        !self.steps.is_empty() && self.judge != JudgeMode::Off
    }

    /// Takes over one setting.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead; nothing is changed then.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
        let value = text.trim();
        let setting = key.strip_prefix(Self::PREFIX).unwrap_or(key);
        if let Some(name) = setting.strip_prefix(Self::METRIC) {
            return asked(&mut self.metrics, key, name, MetricLimit::parse(value));
        }
        if let Some(name) = setting.strip_prefix(Self::HOOK) {
            return asked(&mut self.hooks, key, name, HookCall::parse(value));
        }
        match setting {
            "steps" => self.steps = steps(value)?,
            "hold" => self.hold = span(key, value)?,
            "bake" => self.bake = span(key, value)?,
            "warmup" => self.warmup = span(key, value)?,
            "restarts" => {
                self.restarts = value
                    .parse()
                    .ok()
                    .filter(|count| (1..=1000).contains(count))
                    .ok_or_else(|| {
                        format!("{key} is {text:?}; it must be a number from 1 to 1000")
                    })?;
            }
            "judge" => {
                self.judge = match value {
                    "on" => JudgeMode::On,
                    "observe" => JudgeMode::Observe,
                    "off" => JudgeMode::Off,
                    _ => {
                        return Err(format!(
                            "{key} is {text:?}; it must be \"on\", \"observe\" or \"off\""
                        ));
                    }
                };
            }
            "errors" => self.errors = errors(key, value)?,
            "latency" => self.latency = latency(key, value)?,
            "answers" => {
                self.answers = match value {
                    "hold" => OtherAnswers::Hold,
                    "fail" => OtherAnswers::Fail,
                    "ignore" => OtherAnswers::Ignore,
                    _ => {
                        return Err(format!(
                            "{key} is {text:?}; it must be \"hold\", \"fail\" or \"ignore\""
                        ));
                    }
                };
            }
            "gates" => self.gates = gates(key, value)?,
            "sticky" => self.sticky = sticky(key, value)?,
            "splitter" => {
                self.ignores_splitter = match value {
                    "hold" => false,
                    "ignore" => true,
                    _ => {
                        return Err(format!(
                            "{key} is {text:?}; it must be \"hold\" or \"ignore\""
                        ));
                    }
                };
            }
            "notify" => self.notify = Some(url(key, value)?),
            _ => {
                return Err(format!(
                    "{key} is no setting of a rollout; there are {}",
                    Self::KEYS
                        .map(|key| format!("{}{key}", Self::PREFIX))
                        .join(", ")
                ));
            }
        }
        Ok(())
    }

    /// The names of the settings, without the prefix; `NAME` is what a metric or hook is called.
    pub const KEYS: [&'static str; 15] = [
        "steps",
        "hold",
        "bake",
        "warmup",
        "restarts",
        "judge",
        "errors",
        "latency",
        "answers",
        "metric_NAME",
        "hook_NAME",
        "gates",
        "sticky",
        "splitter",
        "notify",
    ];

    /// Whether a metric or hook may be called so.
    ///
    /// # Errors
    /// What it must be.
    pub fn check_name(name: &str) -> Result<(), String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain) {
            return Ok(());
        }
        Err(format!(
            "{name:?} is no name; it must be 1 to {NAME_BYTES_MAX} letters, digits, _ or -"
        ))
    }

    /// The text of a setting as others may see it: without what identifies somebody at an address.
    pub fn shown(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("://") {
            let ends = after.find(|c: char| c == '/' || c.is_whitespace());
            let (host, behind) = after.split_at(ends.unwrap_or(after.len()));
            out.push_str(before);
            out.push_str("://");
            out.push_str(host.rsplit_once('@').map_or(host, |(_, host)| host));
            rest = behind;
        }
        out.push_str(rest);
        out
    }

    /// Reads what the `meta` of a service says; other keys are left alone.
    ///
    /// Returns what could be read, and for each key that could not, what to write instead.
    pub fn of_meta<'a>(
        meta: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> (Self, Vec<(String, String)>) {
        let mut policy = Self::default();
        let mut problems = Vec::new();
        for (key, value) in meta {
            if key.starts_with(Self::PREFIX)
                && let Err(problem) = policy.set(key, value)
            {
                problems.push((key.clone(), problem));
            }
        }
        (policy, problems)
    }
}

/// Longest name of a metric or hook, bytes.
const NAME_BYTES_MAX: usize = 64;

/// Takes over what is asked under a name.
fn asked<T>(
    all: &mut BTreeMap<String, T>,
    key: &str,
    name: &str,
    found: Result<T, String>,
) -> Result<(), String> {
    let checked = RolloutPolicy::check_name(name).and(found);
    let found = checked.map_err(|problem| format!("{key}: {problem}"))?;
    if !all.contains_key(name) && all.len() >= RolloutPolicy::ASKED_MAX {
        let most = RolloutPolicy::ASKED_MAX;
        return Err(format!(
            "{key} is one too many; a group has at most {most} of them"
        ));
    }
    all.insert(name.to_owned(), found);
    Ok(())
}

/// Rising percentages with commas between, or `auto`.
fn steps(text: &str) -> Result<Vec<Share>, String> {
    if text == "auto" {
        return Ok(RolloutPolicy::AUTO_STEPS.to_vec());
    }
    let shares: Result<Vec<Share>, String> = text.split(',').map(Share::parse).collect();
    shares
        .ok()
        .filter(|shares| shares.is_sorted_by(|a, b| a < b))
        .ok_or_else(|| {
            format!(
                "{STEPS_META} is {text:?}; it must be percentages from 0 to 100, each more than the one before, \
                 such as \"5,25,50\", or \"auto\"",
                STEPS_META = super::STEPS_META
            )
        })
}

fn span(key: &str, text: &str) -> Result<Span, String> {
    let span = Span::parse(text).ok();
    span.filter(|span| *span >= Span::ZERO && *span <= Span::from_secs(7 * 24 * 3600))
        .ok_or_else(|| {
            format!("{key} is {text:?}; it must be a time such as \"2m\", at most \"168h\"")
        })
}

/// `+0.2pt,1.25x`, either alone or both.
fn errors(key: &str, text: &str) -> Result<ErrorLimit, String> {
    let wrong = || {
        format!(
            "{key} is {text:?}; it must say how much worse than stable is allowed, such as \"+0.2pt,1.25x\""
        )
    };
    let mut limit = ErrorLimit {
        points: 0.0,
        ratio: 1.0,
    };
    for part in text.split(',').map(str::trim) {
        if let Some(points) = part.strip_suffix("pt") {
            let points = points.trim().trim_start_matches('+');
            let points: f64 = points.parse().map_err(|_| wrong())?;
            if !(0.0..=100.0).contains(&points) {
                return Err(wrong());
            }
            limit.points = points / 100.0;
        } else {
            limit.ratio = ratio(part).ok_or_else(wrong)?;
        }
    }
    if limit.points == 0.0 && limit.ratio <= 1.0 {
        return Err(wrong());
    }
    Ok(limit)
}

/// `p99<1.3x`, several with commas between.
fn latency(key: &str, text: &str) -> Result<Vec<LatencyLimit>, String> {
    let wrong = || {
        format!(
            "{key} is {text:?}; it must say how much slower than stable is allowed, such as \"p99<1.3x\" or \
             \"p50<1.2x,p99<1.5x\""
        )
    };
    let one = |part: &str| -> Option<LatencyLimit> {
        let (quantile, times) = part.trim().split_once('<')?;
        let per_mille = match quantile.trim() {
            "p50" => 500,
            "p99" => 990,
            _ => return None,
        };
        Some(LatencyLimit {
            per_mille,
            ratio: ratio(times).filter(|ratio| *ratio > 1.0)?,
        })
    };
    let limits: Option<Vec<LatencyLimit>> = text.split(',').map(one).collect();
    let limits = limits.ok_or_else(wrong)?;
    let names: BTreeSet<u32> = limits.iter().map(|limit| limit.per_mille).collect();
    if names.len() < limits.len() {
        return Err(wrong());
    }
    Ok(limits)
}

/// `start`, `increase` and `promote`, several with commas between.
fn gates(key: &str, text: &str) -> Result<BTreeSet<Gate>, String> {
    let one = |part: &str| match part.trim() {
        "start" => Some(Gate::Start),
        "increase" => Some(Gate::Increase),
        "promote" => Some(Gate::Promote),
        _ => None,
    };
    let gates: Option<BTreeSet<Gate>> = text.split(',').map(one).collect();
    gates.ok_or_else(|| {
        format!(
            "{key} is {text:?}; it must be \"start\", \"increase\" or \"promote\", or several with commas between"
        )
    })
}

/// `cookie`, `cookie:NAME`, `header:NAME`, `ip` or `none`.
fn sticky(key: &str, text: &str) -> Result<Option<String>, String> {
    let is_name = |name: &str| {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !name.is_empty() && name.bytes().all(is_token)
    };
    let is_known = match text.split_once(':') {
        None => ["none", "cookie", "ip"].contains(&text),
        Some((kind, name)) => ["cookie", "header"].contains(&kind) && is_name(name),
    };
    if !is_known {
        return Err(format!(
            "{key} is {text:?}; it must be \"none\", \"cookie\", \"cookie:NAME\", \"header:NAME\" or \"ip\""
        ));
    }
    Ok(Some(text.to_owned()).filter(|text| text != "none"))
}

fn url(key: &str, text: &str) -> Result<String, String> {
    if hook_call::is_url(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{key} is {text:?}; it must be a URL such as \"https://hooks.example.com/x\""
    ))
}

fn ratio(text: &str) -> Option<f64> {
    let number: f64 = text.trim().strip_suffix('x')?.trim().parse().ok()?;
    (1.0..=1000.0).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::HookPoint;
    use super::*;

    fn set(key: &str, value: &str) -> Result<RolloutPolicy, String> {
        let mut policy = RolloutPolicy::default();
        policy.set(key, value).map(|()| policy)
    }

    #[test]
    fn shares_are_percentages_of_two_decimals() {
        for (text, parts, shown) in [
            ("5", 500, "5 %"),
            ("0.01", 1, "0.01 %"),
            ("12.5", 1250, "12.5 %"),
            (" 25% ", 2500, "25 %"),
            ("100", 10_000, "100 %"),
        ] {
            let share = Share::parse(text).unwrap();
            assert_eq!(
                (share.ten_thousandths(), share.to_string()),
                (parts, shown.into())
            );
        }
        for text in ["", "-1", "101", "100.01", "1.234", "1.", ".5", "a", "1e1"] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_are_read() {
        let percent = Share::of_percent;
        let steps = set("rollout_steps", "1, 5,25").unwrap().steps;
        assert_eq!(steps, [percent(1), percent(5), percent(25)]);
        assert_eq!(
            set("rollout_steps", "auto").unwrap().steps,
            RolloutPolicy::AUTO_STEPS
        );
        assert_eq!(
            set("rollout_hold", "2m").unwrap().hold,
            Span::from_secs(120)
        );
        let errors = set("rollout_errors", "+0.2pt,1.25x").unwrap().errors;
        assert_eq!((errors.points, errors.ratio), (0.002, 1.25));
        let latency = set("rollout_latency", "p50<1.2x, p99<1.5x")
            .unwrap()
            .latency;
        assert_eq!(
            latency
                .iter()
                .map(|l| (l.per_mille, l.ratio))
                .collect::<Vec<_>>(),
            [(500, 1.2), (990, 1.5)]
        );
        assert!(set("rollout_splitter", "ignore").unwrap().ignores_splitter);
        for (key, value) in [
            ("rollout_steps", "25,5"),
            ("rollout_steps", ""),
            ("rollout_steps", "5;25"),
            ("rollout_hold", "soon"),
            ("rollout_hold", "-1s"),
            ("rollout_errors", "2"),
            ("rollout_errors", "+0pt"),
            ("rollout_latency", "p95<2x"),
            ("rollout_latency", "p99<1x"),
            ("rollout_latency", "p99<2x,p99<3x"),
            ("rollout_judge", "maybe"),
            ("rollout_answers", "x"),
            ("rollout_restarts", "0"),
            ("rollout_notify", "hooks.example.com"),
            ("rollout_notify", "https://"),
            ("rollout_notify", "https://a b"),
            ("rollout_gates", "start,end"),
            ("rollout_sticky", "body"),
            ("rollout_sticky", "cookie:"),
            ("rollout_splitter", "obey"),
            ("rollout_else", "1"),
        ] {
            let problem = set(key, value).unwrap_err();
            assert!(problem.contains(key), "{problem}");
        }
    }

    #[test]
    fn metrics_and_hooks_have_names_and_are_not_too_many() {
        let mut policy = RolloutPolicy::default();
        for at in 0..RolloutPolicy::ASKED_MAX {
            policy
                .set(&format!("rollout_metric_m-{at}"), "<1 http://p up")
                .unwrap();
            policy
                .set(&format!("hook_h_{at}"), "start http://ci")
                .unwrap();
        }
        policy.set("metric_m-0", "<2 http://p up").unwrap();
        assert_eq!(policy.metrics["m-0"].max, Some(2.0));
        assert_eq!(policy.hooks["h_1"].on, HookPoint::Start);
        for (key, value, part) in [
            (
                "rollout_metric_more",
                "<1 http://p up",
                "at most 16 of them",
            ),
            ("rollout_hook_more", "start http://ci", "at most 16 of them"),
            ("rollout_metric_", "<1 http://p up", "\"\" is no name"),
            (
                "rollout_metric_a.b",
                "<1 http://p up",
                "letters, digits, _ or -",
            ),
            (
                "rollout_metric_m-0",
                "1 http://p up",
                "must begin with a limit",
            ),
            (
                "rollout_hook_h_0",
                "never http://ci",
                "it must be \"start\"",
            ),
        ] {
            let problem = policy.set(key, value).unwrap_err();
            assert!(
                problem.starts_with(key) && problem.contains(part),
                "{problem}"
            );
        }
        assert_eq!(policy.metrics["m-0"].max, Some(2.0));
    }

    #[test]
    fn who_asks_is_not_shown() {
        for (text, shown) in [
            ("<1 http://ada:pass@p:9090/x a@b", "<1 http://p:9090/x a@b"),
            ("start https://a@b@ci", "start https://ci"),
            ("p99<1.3x", "p99<1.3x"),
        ] {
            assert_eq!(RolloutPolicy::shown(text), shown);
        }
    }

    #[test]
    fn an_abort_is_final_and_transitions_are_bounded() {
        let mut rollout = Rollout::new(RolloutPolicy::AUTO_STEPS.to_vec(), Timestamp::from_secs(1));
        let to = |phase, share| RolloutTransition {
            phase,
            share,
            ..RolloutTransition::default()
        };
        for _ in 0..100 {
            rollout = rollout.after(to(RolloutPhase::Judging, Share::of_percent(5)), Span::ZERO);
        }
        assert_eq!(rollout.transitions.len(), Rollout::TRANSITIONS_MAX);
        let id = AllocId::named("a");
        assert_eq!(rollout.share_of(id, 3), Some(16_666));
        let aborted = rollout.after(to(RolloutPhase::Aborted, Share::of_percent(5)), Span::ZERO);
        assert_eq!(aborted.share, Share::NONE);
        let later = aborted.after(to(RolloutPhase::Judging, Share::of_percent(25)), Span::ZERO);
        assert_eq!(later, aborted);
    }
}

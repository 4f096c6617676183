//! What metrics and hooks say of canaries, answer by answer. One that speaks against them makes a
//! rollout wait, two in a row end it; no answer makes it wait and never ends it.

use super::sentence;
use crate::model::{
    Evidence, Gate, HookPoint, MetricLimit, RolloutCause, RolloutPolicy, Share, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many answers in a row against canaries are enough to give them up.
const BAD_MAX: u32 = 2;

/// What a metric was when it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The metric.
    pub name: String,
    /// When it was asked for.
    pub at: Timestamp,
    /// What it is; none if nobody could tell.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "number_as_text"
    )]
    pub value: Option<f64>,
    /// Why there is no value; empty if there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// What a hook answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The hook.
    pub name: String,
    /// When it was asked.
    pub at: Timestamp,
    /// The status of its answer; none without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How the body of a refusal begins, or why there is no answer; at most 256 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}

/// What is wrong with canaries: where it comes from, a sentence, and what that rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trouble {
    /// What it comes from.
    pub cause: RolloutCause,
    /// A sentence.
    pub reason: String,
    /// May be empty.
    pub evidence: Vec<Evidence>,
}

/// The hook that a gate waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// Its name.
    pub hook: String,
    /// What it said last, if it said something.
    pub said: Option<String>,
}

/// What metrics and hooks say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinion {
    /// Enough to give up.
    pub failure: Option<Trouble>,
    /// Enough to wait.
    pub doubt: Option<Trouble>,
    /// All that must speak for the canaries did so since the step began.
    pub agrees: bool,
    /// Gates that a hook keeps closed.
    pub closed: BTreeMap<Gate, Awaited>,
}

/// The answers of a metric or hook.
#[derive(Clone, Debug, Default)]
struct Course {
    /// Bad ones since the last good one.
    bad: u32,
    /// When the first of them was asked for.
    since: Timestamp,
    /// What the last one of them said.
    said: String,
    /// The same of a metric.
    value: f64,
    /// A good one was asked for and came since the step began.
    is_good: bool,
    /// Why the last one said nothing.
    problem: Option<String>,
}

impl Course {
    fn good(&mut self, is_of_step: bool) {
        self.bad = 0;
        self.problem = None;
        self.is_good |= is_of_step;
    }

    fn bad(&mut self, at: Timestamp) {
        if self.bad == 0 {
            self.since = at;
        }
        self.bad = self.bad.saturating_add(1);
        self.problem = None;
        self.is_good = false;
    }

    fn nothing(&mut self, problem: &str) {
        self.problem = Some(problem.to_owned());
    }

    fn begin_step(&mut self) {
        self.is_good = false;
        self.problem = None;
    }
}

/// The metrics and hooks of a group's canaries.
#[derive(Clone, Debug)]
pub(super) struct Measures {
    metrics: BTreeMap<String, (MetricLimit, Course)>,
    hooks: BTreeMap<String, (HookPoint, Course)>,
    /// When the step began; none until a window tells.
    began: Option<Timestamp>,
}

impl Measures {
    /// Nothing was heard yet.
    pub(super) fn new(policy: &RolloutPolicy) -> Self {
        let metrics = policy.metrics.iter();
        let metrics = metrics.map(|(name, own)| (name.clone(), (own.clone(), Course::default())));
        let hooks = policy.hooks.iter();
        let hooks = hooks.map(|(name, own)| (name.clone(), (own.on, Course::default())));
        Self {
            metrics: metrics.collect(),
            hooks: hooks.collect(),
            began: None,
        }
    }

    /// A step begins: each of them must speak for the canaries again.
    pub(super) fn begin_step(&mut self) {
        self.began = None;
        let courses = self.metrics.values_mut().map(|(_, course)| course);
        let courses = courses.chain(self.hooks.values_mut().map(|(_, course)| course));
        courses.for_each(Course::begin_step);
    }

    /// Takes what was heard in a window into account that began at `starts`.
    pub(super) fn add(&mut self, starts: Timestamp, measured: &[Measurement], replies: &[Reply]) {
        let began = *self.began.get_or_insert(starts);
        for own in measured {
            let Some((limit, course)) = self.metrics.get_mut(&own.name) else {
                continue;
            };
            match own.value.filter(|value| value.is_finite()) {
                None => course.nothing(&own.problem),
                Some(value) => match limit.beyond(value) {
                    None => course.good(own.at >= began),
                    Some(beyond) => {
                        course.bad(own.at);
                        course.value = value;
                        course.said = sentence::beyond(&own.name, value, beyond);
                    }
                },
            }
        }
        for own in replies {
            let Some((on, course)) = self.hooks.get_mut(&own.name) else {
                continue;
            };
            // Yes means the opposite at only one of them.
            match own.status {
                None if *on == HookPoint::Abort => {}
                None => course.nothing(&own.said),
                Some(status) if (200..300).contains(&status) == (*on != HookPoint::Abort) => {
                    course.good(own.at >= began);
                }
                Some(status) => {
                    course.bad(own.at);
                    course.said = sentence::refusal(status, &own.said);
                }
            }
        }
    }

    /// What all of them say of canaries that have a share.
    pub(super) fn opinion(&self, share: Share) -> Opinion {
        Opinion {
            failure: self.failure(),
            doubt: self.doubt(share),
            agrees: self.awaited(share).is_empty(),
            closed: self.closed(),
        }
    }

    /// Names of those that did not speak for the canaries yet, with what they are. Without a share
    /// there is nothing to be measured.
    pub(super) fn awaited(&self, share: Share) -> Vec<String> {
        let metrics = self.metrics.iter();
        let metrics = metrics
            .filter(|(_, (_, course))| share > Share::NONE && !course.is_good)
            .map(|(name, _)| format!("metric {name}"));
        let hooks = self.hooks.iter();
        let hooks = hooks
            .filter(|(_, (on, course))| *on == HookPoint::Step && !course.is_good)
            .map(|(name, _)| format!("hook {name}"));
        metrics.chain(hooks).collect()
    }

    /// True once a hook let the rollout on since the step began.
    pub(super) fn lets_on(&self, hook: &str) -> bool {
        let own = self.hooks.get(hook);
        own.is_some_and(|(_, course)| course.is_good)
    }

    /// The metrics that are beyond their limits, a line for each.
    pub(super) fn lines(&self) -> Vec<Evidence> {
        let metrics = self.metrics.iter();
        let lines = metrics.filter_map(|(name, (limit, course))| {
            line(name, limit, course).filter(|_| course.bad > 0)
        });
        lines.collect()
    }

    fn failure(&self) -> Option<Trouble> {
        let stop = self
            .hooks
            .iter()
            .find(|(_, (on, course))| *on == HookPoint::Abort && course.bad > 0);
        if let Some((name, _)) = stop {
            return Some(Trouble {
                cause: RolloutCause::Hook,
                reason: format!("hook {name} asks for it"),
                evidence: Vec::new(),
            });
        }
        let against = self.against(BAD_MAX, true)?;
        Some(Trouble {
            reason: format!(
                "{}, {} times in a row since {}",
                against.trouble.reason,
                against.bad,
                sentence::time_of_day(against.since)
            ),
            ..against.trouble
        })
    }

    fn doubt(&self, share: Share) -> Option<Trouble> {
        if let Some(against) = self.against(1, share > Share::NONE) {
            return Some(Trouble {
                reason: format!("suspect: {}", against.trouble.reason),
                ..against.trouble
            });
        }
        let missing = |reason: String| Trouble {
            cause: RolloutCause::Missing,
            reason,
            evidence: Vec::new(),
        };
        let mut metrics = self.metrics.iter().filter(|_| share > Share::NONE);
        let of_metric = metrics.find_map(|(name, (_, course))| {
            let problem = course.problem.as_ref()?;
            Some(missing(format!("metric {name} has no value: {problem}")))
        });
        let mut steps = self.steps();
        of_metric.or_else(|| {
            steps.find_map(|(name, course)| {
                let problem = course.problem.as_ref()?;
                Some(missing(format!("hook {name} does not answer: {problem}")))
            })
        })
    }

    /// The first metric or hook that spoke against the canaries so often in a row.
    fn against(&self, times: u32, with_metrics: bool) -> Option<Against> {
        let mut metrics = self.metrics.iter().filter(|_| with_metrics);
        let of_metric = metrics.find_map(|(name, (limit, course))| {
            let evidence = line(name, limit, course);
            let own = Against::new(RolloutCause::Metric, course, evidence);
            own.filter(|own| own.bad >= times)
        });
        let mut steps = self.steps();
        of_metric.or_else(|| {
            steps.find_map(|(name, course)| {
                let mut own = Against::new(RolloutCause::Hook, course, None)?;
                own.trouble.reason = format!("hook {name} {}", course.said);
                Some(own).filter(|own| own.bad >= times)
            })
        })
    }

    fn steps(&self) -> impl Iterator<Item = (&String, &Course)> {
        let steps = self.hooks.iter();
        steps.filter_map(|(name, (on, course))| (*on == HookPoint::Step).then_some((name, course)))
    }

    fn closed(&self) -> BTreeMap<Gate, Awaited> {
        let mut closed = BTreeMap::new();
        for (name, (on, course)) in &self.hooks {
            let Some(gate) = on.gate().filter(|_| !course.is_good) else {
                continue;
            };
            let silent = course.problem.as_ref();
            let silent = silent.map(|problem| format!("does not answer: {problem}"));
            let refused = || Some(course.said.clone()).filter(|_| course.bad > 0);
            closed.entry(gate).or_insert_with(|| Awaited {
                hook: name.clone(),
                said: silent.or_else(refused),
            });
        }
        closed
    }
}

/// What speaks against canaries right now.
struct Against {
    trouble: Trouble,
    bad: u32,
    since: Timestamp,
}

impl Against {
    fn new(cause: RolloutCause, course: &Course, evidence: Option<Evidence>) -> Option<Self> {
        (course.bad > 0).then(|| Self {
            trouble: Trouble {
                cause,
                reason: course.said.clone(),
                evidence: evidence.into_iter().collect(),
            },
            bad: course.bad,
            since: course.since,
        })
    }
}

fn line(name: &str, limit: &MetricLimit, course: &Course) -> Option<Evidence> {
    let beyond = limit.beyond(course.value)?;
    Some(Evidence {
        metric: format!("metric {name}"),
        since: course.since,
        limit: beyond.limit(),
        value: Some(course.value),
        ..Evidence::default()
    })
}

/// A number as text, so that it is read as exactly what was written.
mod number_as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        number: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => serializer.serialize_str(&number.to_string()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let number = text.map(|text| text.parse().map_err(D::Error::custom));
        number.transpose()
    }
}

//! Judgment, health and time to the next transition of a rollout. Nobody but this and an operator
//! raises a share, and nothing follows an abort.

use super::{
    judge::Judgment,
    measured::{Awaited, Trouble},
    sentence,
};
use crate::model::{
    Evidence, Gate, JudgeMode, Rollout, RolloutCause, RolloutPhase, RolloutPolicy,
    RolloutTransition, Share, Span, Timestamp,
};

/// Who acts when nobody asked.
pub const JUDGE: &str = "judge";
/// How the reason begins that the judge gives when it may only observe.
pub const WOULD_HAVE: &str = "would have aborted: ";
/// How the reason ends when it waits at a gate for somebody.
const LET_ON: &str = "it waits for `trivet rollout next`";
/// Why it stands still where nobody counts and no metric is asked.
const UNCOUNTED: &str = "no counts by version: promote by hand or add a metric";
/// A phase lasts so long at least, unless the rollout is given up.
const DWELL: Span = Span::SECOND;

/// What is known of the canaries beside what was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// So many canaries are wanted.
    pub wanted: u32,
    /// So many of them are healthy.
    pub healthy: u32,
    /// Why it must be given up whatever is counted, in a sentence.
    pub fatal: Option<String>,
    /// Why it must wait, in a sentence: a canary cannot be used right now.
    pub unusable: Option<String>,
    /// Nobody counts what canaries do.
    pub is_uncounted: bool,
    /// The deployment is paused.
    pub is_paused: bool,
    /// The splitter that says the shares of the versions instead.
    pub splitter: Option<String>,
    /// On failure, the job goes back.
    pub auto_revert: bool,
}

/// The transition to make now; none while it stays as it is. `elapsed` is how much of the time of
/// the step, or of standing by, has passed; `table` is everything that speaks against canaries.
pub fn next(
    policy: &RolloutPolicy,
    rollout: &Rollout,
    elapsed: Span,
    facts: &Facts,
    (judgment, table): (&Judgment, &dyn Fn() -> Vec<Evidence>),
    now: Timestamp,
) -> Option<RolloutTransition> {
    if rollout.is_over() || policy.judge == JudgeMode::Off {
        return None;
    }
    let same = RolloutTransition {
        at: now,
        actor: JUDGE.into(),
        phase: rollout.phase,
        step: rollout.step,
        share: rollout.share,
        ..RolloutTransition::default()
    };
    if let Some(trouble) = failure(facts, judgment, table) {
        let given_up = fail(policy, rollout, facts, trouble, same.clone());
        if given_up.is_some() || policy.judge == JudgeMode::On {
            return given_up;
        }
    }
    if let Some((canary, finding)) = &judgment.outlier
        && policy.judge == JudgeMode::On
        && policy.is_governed()
    {
        return Some(RolloutTransition {
            cause: finding.kind.cause(),
            reason: format!("{}; it gets no more requests", sentence::finding(finding)),
            evidence: vec![finding.evidence.clone()],
            ejects: Some(*canary),
            ..same
        });
    }
    if rollout.phase == RolloutPhase::Warming && policy.is_governed() && !rollout.is_manual {
        return begin(policy, rollout, (facts, judgment), same);
    }
    let doubt = doubt(policy, rollout, facts, judgment);
    let found = match doubt {
        Some((phase, trouble)) => {
            (phase != rollout.phase || is_news(rollout, &trouble)).then_some(RolloutTransition {
                phase,
                cause: trouble.cause,
                reason: trouble.reason,
                evidence: trouble.evidence,
                ..same
            })
        }
        None => advance(policy, rollout, elapsed, (facts, judgment), same),
    };
    found.filter(|_| now - rollout.phase_at >= DWELL)
}

/// Whether a trouble is another one than what the row says. Operators may have several reasons, one
/// after the other; what they said of a share that they set stays.
fn is_news(rollout: &Rollout, trouble: &Trouble) -> bool {
    let is_other = || !rollout.is_manual && trouble.reason != rollout.reason;
    trouble.cause != rollout.cause || (trouble.cause == RolloutCause::Operator && is_other())
}

/// What suffices to give up.
fn failure(
    facts: &Facts,
    judgment: &Judgment,
    table: &dyn Fn() -> Vec<Evidence>,
) -> Option<Trouble> {
    if let Some(reason) = &facts.fatal {
        return Some(Trouble {
            cause: RolloutCause::Unhealthy,
            reason: reason.clone(),
            evidence: Vec::new(),
        });
    }
    let of_counts = judgment.failure.as_ref().map(|finding| Trouble {
        cause: finding.kind.cause(),
        reason: sentence::finding(finding),
        evidence: vec![finding.evidence.clone()],
    });
    let mut trouble = of_counts.or_else(|| judgment.opinion.failure.clone())?;
    let mut others = table();
    others.retain(|line| !trouble.evidence.contains(line));
    trouble.evidence.extend(others);
    Some(trouble)
}

/// Gives up, or says that it would.
fn fail(
    policy: &RolloutPolicy,
    rollout: &Rollout,
    facts: &Facts,
    trouble: Trouble,
    same: RolloutTransition,
) -> Option<RolloutTransition> {
    let told = RolloutTransition {
        cause: trouble.cause,
        reason: trouble.reason,
        evidence: trouble.evidence,
        ..same
    };
    if policy.judge == JudgeMode::Observe {
        let was_said = |said: &RolloutTransition| said.reason.starts_with(WOULD_HAVE);
        let reason = format!("{WOULD_HAVE}{}", told.reason);
        return (!rollout.transitions.iter().any(was_said))
            .then_some(RolloutTransition { reason, ..told });
    }
    if policy.is_governed() || facts.auto_revert {
        return Some(RolloutTransition {
            phase: RolloutPhase::Aborted,
            share: Share::NONE,
            ..told
        });
    }
    // Nobody asked for more than what the original does, so that it is only not promoted.
    let is_said = rollout.phase == RolloutPhase::Held && rollout.cause == told.cause;
    (!is_said).then_some(RolloutTransition {
        phase: RolloutPhase::Held,
        ..told
    })
}

/// True where nobody counts, so that metrics say alone how canaries are.
pub(super) fn goes_by_metrics(policy: &RolloutPolicy, facts: &Facts) -> bool {
    facts.is_uncounted && !policy.metrics.is_empty()
}

/// What keeps a gate closed.
enum Closed {
    /// Somebody must let it on.
    Somebody,
    /// A hook must.
    Hook(Awaited),
}

/// What keeps a gate closed: its hooks first, then who must let it on.
fn closed(policy: &RolloutPolicy, gate: Gate, judgment: &Judgment) -> Option<Closed> {
    let hook = judgment.opinion.closed.get(&gate);
    let hook = hook.map(|hook| Closed::Hook(hook.clone()));
    let somebody = || policy.gates.contains(&gate).then_some(Closed::Somebody);
    hook.or_else(somebody)
}

/// The transition that says what it waits for; none once that is said. What a hook said is said
/// once, however often and whatever it answers.
fn wait(
    rollout: &Rollout,
    done: &str,
    closed: &Closed,
    same: RolloutTransition,
) -> Option<RolloutTransition> {
    const WHICH: &str = ", which ";
    let (waits, said) = match closed {
        Closed::Somebody => (format!("{done}; {LET_ON}"), None),
        Closed::Hook(hook) => (
            format!("{done}; it waits for hook {}", hook.hook),
            hook.said.as_ref(),
        ),
    };
    if rollout.cause == RolloutCause::Gate {
        let rest = rollout.reason.strip_prefix(&waits);
        let says_all = rest.is_some_and(|rest| rest.starts_with(WHICH));
        if says_all || (rest == Some("") && said.is_none()) {
            return None;
        }
    }
    let said = said.map_or_else(String::new, |said| format!("{WHICH}{said}"));
    Some(RolloutTransition {
        cause: RolloutCause::Gate,
        reason: format!("{waits}{said}"),
        ..same
    })
}

/// The first step, as soon as all canaries are healthy.
fn begin(
    policy: &RolloutPolicy,
    rollout: &Rollout,
    (facts, judgment): (&Facts, &Judgment),
    same: RolloutTransition,
) -> Option<RolloutTransition> {
    let is_ready = facts.wanted > 0 && facts.healthy >= facts.wanted && facts.unusable.is_none();
    if !is_ready || facts.is_paused {
        return None;
    }
    if let Some(closed) = closed(policy, Gate::Start, judgment) {
        return wait(rollout, "the canaries are healthy", &closed, same);
    }
    let share = rollout.steps.first().copied().unwrap_or_default();
    if let Some(splitter) = &facts.splitter {
        return Some(RolloutTransition {
            phase: RolloutPhase::Held,
            step: 0,
            share,
            cause: RolloutCause::Operator,
            reason: sentence::controlled(splitter),
            ..same
        });
    }
    Some(RolloutTransition {
        phase: RolloutPhase::Judging,
        step: 0,
        share,
        reason: format!("step 1 of {}: {share}", rollout.steps.len()),
        ..same
    })
}

/// Why it must wait, and in which phase.
fn doubt(
    policy: &RolloutPolicy,
    rollout: &Rollout,
    facts: &Facts,
    judgment: &Judgment,
) -> Option<(RolloutPhase, Trouble)> {
    let told = |cause, reason: String, evidence: Vec<Evidence>| Trouble {
        cause,
        reason,
        evidence,
    };
    let held = |cause, reason: String| Some((RolloutPhase::Held, told(cause, reason, Vec::new())));
    let suspicion = || {
        let finding = judgment.suspicion.as_ref()?;
        let trouble = told(
            finding.kind.cause(),
            format!("suspect: {}", sentence::finding(finding)),
            vec![finding.evidence.clone()],
        );
        Some((RolloutPhase::Held, trouble))
    };
    if rollout.is_manual {
        let reason = format!("the share was set by hand to {}", rollout.share);
        return held(RolloutCause::Operator, reason);
    }
    if !policy.is_governed() {
        return suspicion().filter(|_| policy.judge == JudgeMode::On);
    }
    if facts.is_paused {
        return held(RolloutCause::Operator, "the deployment is paused".into());
    }
    if let Some(splitter) = &facts.splitter {
        return held(RolloutCause::Operator, sentence::controlled(splitter));
    }
    if let Some(reason) = &facts.unusable {
        return held(RolloutCause::Unhealthy, reason.clone());
    }
    if !judgment.missing.is_empty() {
        let reason = format!(
            "nothing is heard of the ingress of {}",
            judgment.missing.join(", ")
        );
        return held(RolloutCause::Missing, reason);
    }
    if policy.judge == JudgeMode::On {
        if let Some(evidence) = &judgment.both_failing {
            let reason = sentence::both_failing(evidence);
            let trouble = told(RolloutCause::BothFailing, reason, vec![evidence.clone()]);
            return Some((RolloutPhase::Held, trouble));
        }
        if let Some(found) = suspicion() {
            return Some(found);
        }
    }
    let says = judgment.opinion.doubt.as_ref();
    let says = says.filter(|_| policy.judge == JudgeMode::On);
    let held = says.map(|trouble| (RolloutPhase::Held, trouble.clone()));
    let is_known = |(_, trouble): &(_, Trouble)| trouble.cause != RolloutCause::Missing;
    // Without requests there is often nothing to be measured.
    let of_value = held.clone().filter(is_known);
    let of_silence = || silence(policy, rollout, facts, judgment);
    of_value.or_else(of_silence).or(held)
}

/// Why it stands still when nobody sends requests.
fn silence(
    policy: &RolloutPolicy,
    rollout: &Rollout,
    facts: &Facts,
    judgment: &Judgment,
) -> Option<(RolloutPhase, Trouble)> {
    let since = judgment
        .silent_since
        .filter(|_| rollout.phase != RolloutPhase::Passed)
        .filter(|_| !goes_by_metrics(policy, facts))?;
    let reason = if facts.is_uncounted {
        UNCOUNTED.to_owned()
    } else {
        format!(
            "no requests since {}; it goes on with the next ones",
            sentence::time_of_day(since)
        )
    };
    let trouble = Trouble {
        cause: RolloutCause::NoTraffic,
        reason,
        evidence: Vec::new(),
    };
    Some((RolloutPhase::Frozen, trouble))
}

/// Where it goes when nothing is doubtful.
fn advance(
    policy: &RolloutPolicy,
    rollout: &Rollout,
    elapsed: Span,
    (facts, judgment): (&Facts, &Judgment),
    same: RolloutTransition,
) -> Option<RolloutTransition> {
    let steps = u32::try_from(rollout.steps.len()).unwrap_or(u32::MAX);
    if rollout.step >= steps {
        let is_over = steps == 0 || elapsed >= policy.bake;
        return at_end(policy, rollout, is_over, same);
    }
    let counts = rollout.share == Share::NONE || judgment.passes || goes_by_metrics(policy, facts);
    let agree = policy.judge == JudgeMode::Observe || (counts && judgment.opinion.agrees);
    if elapsed >= policy.hold && agree {
        let gate = if rollout.step + 1 < steps {
            Gate::Increase
        } else {
            Gate::Promote
        };
        let Some(closed) = closed(policy, gate, judgment) else {
            return Some(next_step(policy, rollout, same));
        };
        let passed = format!("step {} of {steps} passed", rollout.step + 1);
        let held = RolloutTransition {
            phase: RolloutPhase::Held,
            ..same
        };
        return wait(rollout, &passed, &closed, held);
    }
    (rollout.phase != RolloutPhase::Judging).then(|| RolloutTransition {
        phase: RolloutPhase::Judging,
        reason: format!(
            "step {} of {steps} goes on: {}",
            rollout.step + 1,
            rollout.share
        ),
        ..same
    })
}

/// The step after the one it is in; the end after the last one.
pub(super) fn next_step(
    policy: &RolloutPolicy,
    rollout: &Rollout,
    same: RolloutTransition,
) -> RolloutTransition {
    let step = rollout.step.saturating_add(1);
    let steps = rollout.steps.len();
    match rollout.step_share(step) {
        Some(share) => RolloutTransition {
            phase: RolloutPhase::Judging,
            step,
            share,
            reason: format!("step {} of {steps}: {share}", step + 1),
            ..same
        },
        None => at_last(policy, rollout, same),
    }
}

/// The end of all steps.
pub(super) fn at_last(
    policy: &RolloutPolicy,
    rollout: &Rollout,
    same: RolloutTransition,
) -> RolloutTransition {
    let (phase, reason) = if policy.bake > Span::ZERO {
        let reason = format!(
            "all steps passed; the old version stands by for {}",
            policy.bake
        );
        (RolloutPhase::Baking, reason)
    } else {
        (RolloutPhase::Passed, "all steps passed".to_owned())
    };
    RolloutTransition {
        phase,
        step: u32::try_from(rollout.steps.len()).unwrap_or(u32::MAX),
        share: rollout.steps.last().copied().unwrap_or(rollout.share),
        reason,
        ..same
    }
}

fn at_end(
    policy: &RolloutPolicy,
    rollout: &Rollout,
    is_over: bool,
    same: RolloutTransition,
) -> Option<RolloutTransition> {
    let (phase, reason) = match (is_over, policy.is_governed()) {
        (true, true) => (RolloutPhase::Passed, "all steps passed"),
        (true, false) => (RolloutPhase::Passed, "nothing speaks against the canaries"),
        (false, _) => (RolloutPhase::Baking, "the old version stands by"),
    };
    (phase != rollout.phase).then(|| RolloutTransition {
        phase,
        reason: reason.into(),
        ..same
    })
}

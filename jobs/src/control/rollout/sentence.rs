//! What is said of a decision, in a sentence.

use super::compare::{Finding, Kind};
use crate::model::{Beyond, Evidence, Span, Timestamp};

/// The time of day, in UTC.
pub fn time_of_day(at: Timestamp) -> String {
    let seconds = at.as_nanos().div_euclid(1_000_000_000).rem_euclid(86_400);
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// `canary failed 7 of 7 since 12:03:41, stable 0 of 133`.
pub(super) fn finding(finding: &Finding) -> String {
    let evidence = &finding.evidence;
    let who = if evidence.instance.is_empty() {
        "canary".to_owned()
    } else {
        format!("canary {}", short(&evidence.instance))
    };
    let did = match finding.kind {
        Kind::Failed => "failed".to_owned(),
        Kind::Answered(hundred) => format!("answered {hundred}xx"),
        Kind::Slow(limit) => format!(
            "took longer than {} ({} x stable p{}) for",
            Span::from_nanos(
                i64::try_from(evidence.slow_us)
                    .unwrap_or(i64::MAX)
                    .saturating_mul(1000)
            ),
            limit.ratio,
            limit.per_mille / 10
        ),
    };
    let place = if evidence.route.is_empty() {
        String::new()
    } else {
        format!(" on {}", evidence.route)
    };
    format!("{who} {did} {}{place}", counts(evidence))
}

fn counts(evidence: &Evidence) -> String {
    format!(
        "{} of {} since {}, stable {} of {}",
        evidence.canary_bad,
        evidence.canary_attempts,
        time_of_day(evidence.since),
        evidence.stable_bad,
        evidence.stable_attempts
    )
}

/// `both failing: …`.
pub(super) fn both_failing(evidence: &Evidence) -> String {
    format!(
        "both failing: canary {} of {} in the last seconds, stable {} of {}",
        evidence.canary_bad,
        evidence.canary_attempts,
        evidence.stable_bad,
        evidence.stable_attempts
    )
}

/// `metric errors is 0.5, above its limit 0.2`.
pub(super) fn beyond(metric: &str, value: f64, beyond: Beyond) -> String {
    let side = match beyond {
        Beyond::Below(_) => "below",
        Beyond::Above(_) => "above",
    };
    let limit = beyond.limit();
    format!(
        "metric {metric} is {}, {side} its limit {limit}",
        rounded(value, limit)
    )
}

/// A number with six digits, unless it would look like another one.
fn rounded(value: f64, other: f64) -> f64 {
    let short = format!("{value:.5e}").parse().unwrap_or(value);
    if short == other { value } else { short }
}

/// What a hook did: `answered 503: not now`.
pub(super) fn refusal(status: u16, said: &str) -> String {
    if said.is_empty() {
        format!("answered {status}")
    } else {
        format!("answered {status}: {said}")
    }
}

/// Who says the shares of the versions instead.
pub(super) fn controlled(splitter: &str) -> String {
    format!("splitter {splitter:?} controls these versions")
}

/// The part of an id that people read.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_said_shortly_and_never_looks_like_its_limit() {
        for (value, limit, said) in [
            (0.1 + 0.2, Beyond::Above(0.2), "0.3, above its limit 0.2"),
            (
                0.200_000_01,
                Beyond::Above(0.2),
                "0.20000001, above its limit 0.2",
            ),
            (
                1_234_567.0,
                Beyond::Below(2e6),
                "1234570, below its limit 2000000",
            ),
            (-1.5, Beyond::Below(0.0), "-1.5, below its limit 0"),
        ] {
            let text = beyond("errors", value, limit);
            assert_eq!(text, format!("metric errors is {said}"));
        }
    }
}

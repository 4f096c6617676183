//! What is said of a decision, in a sentence.

use super::compare::{Finding, Kind};
use crate::model::{Evidence, Span, Timestamp};

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

/// The part of an id that people read.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

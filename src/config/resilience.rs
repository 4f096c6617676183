//! What follows from failures of targets: how often and for what requests are retried, when a
//! target rests, and how long requests wait.

use super::Problem;
use jobs::model::Span;
use std::time::Duration;

const SOURCE: &str = "configuration";
/// The longest time that requests may be held or wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What follows from failures of targets, where a route does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resilience {
    /// Statuses of answers that count as failures.
    pub retry_on: Vec<u16>,
    /// How many of a hundred requests may be repeated after something of them was sent.
    pub retry_percent: u32,
    /// How many a second may be beside those.
    pub retries_per_second: u32,
    /// Failures in a row after which a target rests; 0 for never.
    pub eject_after: u32,
    /// How long, the first time.
    pub eject_time: Duration,
    /// How long requests wait for a target when there is none.
    pub hold: Duration,
    /// How many requests of a route wait.
    pub pending_max: u32,
    /// How long, for a target that has time for them.
    pub pending_time: Duration,
}

/// Reads it from the settings of the ingress.
pub(super) fn resolve<'a>(
    setting: &dyn Fn(&str) -> Option<&'a str>,
    problems: &mut Vec<Problem>,
) -> Resilience {
    let mut number = |name: &str, default: u32, most: u32| {
        let Some(text) = setting(name) else {
            return default;
        };
        match text.parse() {
            Ok(number) if number <= most => number,
            _ => {
                let message =
                    format!("`ingress.{name}` is `{text}`; it must be a number up to {most}");
                problems.push(Problem::new(SOURCE, message));
                default
            }
        }
    };
    let retry_percent = number("retry_percent", 20, 100);
    let retries_per_second = number("retries_per_second", 10, 1_000_000);
    let eject_after = number("eject_after", 5, 1_000_000);
    let pending_max = number("pending_max", 1000, 1_000_000);
    let mut time =
        |name: &str, default| setting(name).map_or(default, |text| duration(name, text, problems));
    let second = Duration::from_secs(1);
    let hold = time("hold", Duration::ZERO);
    let pending_time = time("pending_time", second);
    let eject_time = time("eject_time", 10 * second);
    Resilience {
        retry_on: statuses(setting("retry_on").unwrap_or_default(), problems),
        retry_percent,
        retries_per_second,
        eject_after,
        eject_time,
        hold,
        pending_max,
        pending_time,
    }
}

fn duration(name: &str, text: &str, problems: &mut Vec<Problem>) -> Duration {
    match Span::parse(text).map(|span| (span >= Span::ZERO).then(|| span.to_std())) {
        Ok(Some(time)) if time <= WAIT_MAX => return time,
        _ => {}
    }
    let message =
        format!("`ingress.{name}` is `{text}`; it must be a duration such as `10s`, at most `60s`");
    problems.push(Problem::new(SOURCE, message));
    Duration::ZERO
}

/// Statuses with commas between.
fn statuses(written: &str, problems: &mut Vec<Problem>) -> Vec<u16> {
    let mut found = Vec::new();
    for text in written.split(',').map(str::trim) {
        match text.parse() {
            Ok(status @ 400..600) => found.push(status),
            _ if written.is_empty() => {}
            _ => {
                let message = format!(
                    "`ingress.retry_on` has `{text}`; it must name statuses from `400` to `599`"
                );
                problems.push(Problem::new(SOURCE, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(settings: &[(&str, &'static str)]) -> (Resilience, Vec<String>) {
        let mut problems = Vec::new();
        let setting = |name: &str| {
            let own = settings.iter().find(|(own, _)| *own == name);
            own.map(|(_, value)| *value)
        };
        let found = resolve(&setting, &mut problems);
        (found, problems.into_iter().map(|own| own.message).collect())
    }

    #[test]
    fn defaults_stand_and_what_is_wrong_is_named() {
        let (found, problems) = resolved(&[]);
        assert_eq!(
            (found.eject_after, found.hold, problems.len()),
            (5, Duration::ZERO, 0)
        );
        let (found, problems) = resolved(&[
            ("retry_on", "502, 200"),
            ("retry_percent", "101"),
            ("hold", "2m"),
            ("pending_time", "soon"),
            ("eject_time", "30s"),
        ]);
        assert_eq!(found.retry_on, [502]);
        assert_eq!(found.eject_time, Duration::from_secs(30));
        assert_eq!(problems.len(), 4, "{problems:?}");
        for name in ["retry_percent", "retry_on", "hold", "pending_time"] {
            let name = format!("`ingress.{name}`");
            assert!(
                problems.iter().any(|text| text.contains(&name)),
                "{problems:?}"
            );
        }
    }
}

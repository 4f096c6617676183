use jobs::model::{RestartPolicy, Timestamp};
use std::time::Duration;

/// Largest part of the delay that is added at random.
const JITTER_SHARE: u32 = 4;

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ended by itself with exit code 0.
    Success,
    /// It ended by itself with another exit code or by a signal.
    Failure,
    /// It never ran, and trying again gives the same.
    Unrecoverable,
    /// It never ran, and trying again may help.
    Recoverable,
    /// Its health check kept failing, and it was stopped for that.
    Unhealthy,
    /// Somebody asked for a restart.
    Requested,
}

/// What to do with the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Start it again after the pause.
    Restart {
        /// Pause.
        after: Duration,
        /// Why it takes so long; empty for the usual pause.
        reason: &'static str,
    },
    /// It has done its work.
    Done,
    /// It failed for good.
    Fail {
        /// Why, as published.
        reason: String,
    },
}

/// Counts restarts within the policy's interval and decides about the next one.
///
/// Source: restart policy, jobs API. Time is an argument.
#[derive(Clone, Debug)]
pub(super) struct Restarts {
    policy: RestartPolicy,
    ends_on_success: bool,
    count: u32,
    window_start: Option<Timestamp>,
    seed: u64,
}

impl Restarts {
    /// A tracker for a task; `ends_on_success` for tasks that are done when they exit with 0.
    pub(super) fn new(policy: RestartPolicy, ends_on_success: bool, seed: u64) -> Self {
        Self {
            policy,
            ends_on_success,
            count: 0,
            window_start: None,
            seed,
        }
    }

    /// Restarts counted in the current interval and when that began, to be kept across agent
    /// restarts.
    pub(super) fn counted(&self) -> (u32, Option<Timestamp>) {
        (self.count, self.window_start)
    }

    /// Goes on where [`Restarts::counted`] left off.
    pub(super) fn resume(&mut self, counted: (u32, Option<Timestamp>)) {
        (self.count, self.window_start) = counted;
    }

    /// Decides after `outcome` at `now`.
    pub(super) fn decide(&mut self, now: Timestamp, outcome: Outcome) -> Decision {
        match outcome {
            Outcome::Requested => {
                return Decision::Restart {
                    after: Duration::ZERO,
                    reason: "",
                };
            }
            Outcome::Success if self.ends_on_success => return Decision::Done,
            Outcome::Unrecoverable if self.policy.attempts > 0 => {
                return Decision::Fail {
                    reason: "Error was unrecoverable".into(),
                };
            }
            Outcome::Success
            | Outcome::Failure
            | Outcome::Unrecoverable
            | Outcome::Recoverable
            | Outcome::Unhealthy => {}
        }
        if self.policy.attempts == 0 {
            return Decision::Fail {
                reason: "Policy allows no restarts".into(),
            };
        }
        let start = match self.window_start {
            Some(start) if now - start < self.policy.interval => start,
            _ => {
                self.count = 0;
                self.window_start = Some(now);
                now
            }
        };
        self.count = self.count.saturating_add(1);
        if self.count <= self.policy.attempts {
            return Decision::Restart {
                after: self.policy.delay.to_std() + self.jitter(),
                reason: "",
            };
        }
        if self.policy.mode == "delay" {
            let left = (start + self.policy.interval).since(now);
            return Decision::Restart {
                after: left + self.jitter(),
                reason: "Exceeded allowed attempts, applying a delay",
            };
        }
        Decision::Fail {
            reason: format!(
                "Exceeded allowed attempts {} in interval {} and mode is \"fail\"",
                self.policy.attempts, self.policy.interval
            ),
        }
    }

    fn jitter(&mut self) -> Duration {
        // A linear congruential step (Knuth's MMIX constants); its high bits are good enough to
        // spread load.
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let most = self.policy.delay.to_std() / JITTER_SHARE;
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos((self.seed >> 33) % most.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::Span;

    /// Runs `at second, outcome` lines through a tracker and compares the decisions.
    fn check(policy: &str, ends_on_success: bool, script: &[(i64, Outcome, &str)]) {
        let parts: Vec<&str> = policy.split(' ').collect();
        let number = |place: usize| parts[place].parse::<i64>().unwrap();
        let policy = RestartPolicy {
            attempts: u32::try_from(number(0)).unwrap(),
            interval: Span::from_secs(number(1)),
            delay: Span::from_secs(number(2)),
            mode: parts[3].into(),
            ..RestartPolicy::default()
        };
        let mut restarts = Restarts::new(policy, ends_on_success, 7);
        for (at, outcome, expected) in script {
            let decision = match restarts.decide(Timestamp::from_secs(*at), *outcome) {
                Decision::Done => "done".to_owned(),
                Decision::Fail { reason } => reason,
                Decision::Restart { after, reason } => {
                    let seconds = after.as_secs();
                    let word = if reason.is_empty() { "" } else { " delayed" };
                    let bounds = number(2).unsigned_abs();
                    if reason.is_empty() && *outcome != Outcome::Requested {
                        assert!(seconds >= bounds && seconds <= bounds + bounds / 4);
                        format!("restart{word}")
                    } else {
                        format!("restart in {}{word}", seconds / 10 * 10)
                    }
                }
            };
            assert_eq!(&decision, expected, "at {at} s after {outcome:?}");
        }
    }

    #[test]
    fn a_service_is_restarted_until_its_attempts_are_used_up() {
        let failed = "Exceeded allowed attempts 2 in interval 30m0s and mode is \"fail\"";
        check(
            "2 1800 16 fail",
            false,
            &[
                (0, Outcome::Failure, "restart"),
                (20, Outcome::Success, "restart"),
                (40, Outcome::Requested, "restart in 0"),
                (60, Outcome::Unhealthy, failed),
            ],
        );
    }

    #[test]
    fn a_new_interval_starts_counting_afresh() {
        check(
            "1 60 4 fail",
            false,
            &[
                (0, Outcome::Failure, "restart"),
                (61, Outcome::Failure, "restart"),
                (125, Outcome::Recoverable, "restart"),
            ],
        );
    }

    #[test]
    fn delay_mode_waits_for_the_end_of_the_interval() {
        check(
            "1 600 0 delay",
            false,
            &[
                (0, Outcome::Failure, "restart"),
                (100, Outcome::Failure, "restart in 500 delayed"),
            ],
        );
    }

    #[test]
    fn batch_tasks_end_with_success() {
        check("3 86400 15 fail", true, &[(0, Outcome::Success, "done")]);
        check("0 86400 15 fail", true, &[(0, Outcome::Success, "done")]);
    }

    #[test]
    fn nothing_is_restarted_without_attempts_or_hope() {
        check(
            "0 1800 15 fail",
            false,
            &[(0, Outcome::Failure, "Policy allows no restarts")],
        );
        check(
            "0 1800 15 fail",
            false,
            &[(0, Outcome::Unrecoverable, "Policy allows no restarts")],
        );
        check(
            "5 1800 15 fail",
            false,
            &[(0, Outcome::Unrecoverable, "Error was unrecoverable")],
        );
    }
}

//! Restarts of a task whose check keeps failing: the `check_restart` block.

use jobs::model::CheckRestart;
use mesh::model::Status;
use sys::clock::Monotonic;

/// Counts failures of one check in a row.
///
/// Invariant: after each restart that it asks for it counts from zero again.
#[derive(Clone, Debug)]
pub(super) struct CheckRestarts {
    /// Failures in a row that ask for a restart; 0 for never.
    limit: u32,
    ignores_warnings: bool,
    /// What fails earlier does not count.
    counts_from: Monotonic,
    failures: u32,
}

impl CheckRestarts {
    /// For a check that starts at `now`; without a block it never asks for a restart.
    pub(super) fn new(asked: Option<&CheckRestart>, now: Monotonic) -> Self {
        let asked = asked.cloned().unwrap_or_default();
        Self {
            limit: asked.limit,
            ignores_warnings: asked.ignore_warnings,
            counts_from: now + asked.grace.to_std(),
            failures: 0,
        }
    }

    /// Takes a result; true when the task has to restart.
    pub(super) fn on_result(&mut self, now: Monotonic, outcome: Status) -> bool {
        let fails = match outcome {
            Status::Passing => false,
            Status::Warning => !self.ignores_warnings,
            Status::Critical => true,
        };
        if self.limit == 0 || !fails || now < self.counts_from {
            self.failures = 0;
            return false;
        }
        self.failures += 1;
        let restarts = self.failures >= self.limit;
        if restarts {
            self.failures = 0;
        }
        restarts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::model::Span;
    use std::time::Duration;

    fn at(second: u64) -> Monotonic {
        Monotonic::START + Duration::from_secs(second)
    }

    /// Plays results, one a second from second 0 on: `p`, `w` or `c`. An upper-case `R` in
    /// `expected` marks a restart.
    fn check(limit: u32, grace_s: i64, ignore_warnings: bool, results: &str, expected: &str) {
        let asked = CheckRestart {
            limit,
            grace: Span::from_secs(grace_s),
            ignore_warnings,
        };
        let mut restarts = CheckRestarts::new(Some(&asked), Monotonic::START);
        let found: String = results
            .chars()
            .zip(0..)
            .map(|(result, second)| {
                let status = match result {
                    'p' => Status::Passing,
                    'w' => Status::Warning,
                    _ => Status::Critical,
                };
                if restarts.on_result(at(second), status) {
                    'R'
                } else {
                    '.'
                }
            })
            .collect();
        assert_eq!(found, expected, "{results}");
    }

    #[test]
    fn as_many_failures_in_a_row_as_the_limit_says() {
        check(3, 0, false, "ccpccc", ".....R");
        check(2, 0, false, "ccccc", ".R.R.");
        check(1, 0, false, "pcc", ".RR");
    }

    #[test]
    fn the_grace_and_ignored_warnings_do_not_count() {
        check(2, 3, false, "cccccc", "....R.");
        check(2, 0, true, "wwwcwcc", "......R");
        check(2, 0, false, "wc", ".R");
    }

    #[test]
    fn without_a_limit_nothing_restarts() {
        check(0, 0, false, "cccccc", "......");
        let mut none = CheckRestarts::new(None, Monotonic::START);
        assert!(!none.on_result(at(1), Status::Critical));
    }
}

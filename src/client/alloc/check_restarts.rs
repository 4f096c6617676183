//! Restarts of a task whose check keeps failing: the `check_restart` block.

use jobs::model::CheckRestart;
use mesh::model::Status;

/// Counts failures of one check in a row.
///
/// Invariant: after each restart that it asks for it counts from zero again.
#[derive(Clone, Debug)]
pub(super) struct CheckRestarts {
    /// Failures in a row that ask for a restart; 0 for never.
    limit: u32,
    ignores_warnings: bool,
    /// Nanoseconds, by the clock of the caller; what fails earlier does not count.
    counts_from_ns: i64,
    failures: u32,
}

impl CheckRestarts {
    /// For a check that starts at `now_ns`; without a block it never asks for a restart.
    pub(super) fn new(asked: Option<&CheckRestart>, now_ns: i64) -> Self {
        let asked = asked.cloned().unwrap_or_default();
        Self {
            limit: asked.limit,
            ignores_warnings: asked.ignore_warnings,
            counts_from_ns: now_ns.saturating_add(asked.grace.max(0)),
            failures: 0,
        }
    }

    /// Takes a result; true when the task has to restart.
    pub(super) fn on_result(&mut self, now_ns: i64, outcome: Status) -> bool {
        let fails = match outcome {
            Status::Passing => false,
            Status::Warning => !self.ignores_warnings,
            Status::Critical => true,
        };
        if self.limit == 0 || !fails || now_ns < self.counts_from_ns {
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

    const SECOND: i64 = 1_000_000_000;

    /// Plays results, one a second from second 0 on: `p`, `w` or `c`. An upper-case `R` in `expected` marks
    /// a restart.
    fn check(limit: u32, grace_s: i64, ignore_warnings: bool, results: &str, expected: &str) {
        let asked = CheckRestart {
            limit,
            grace: grace_s * SECOND,
            ignore_warnings,
        };
        let mut restarts = CheckRestarts::new(Some(&asked), 0);
        let found: String = results
            .chars()
            .zip(0_i64..)
            .map(|(result, second)| {
                let status = match result {
                    'p' => Status::Passing,
                    'w' => Status::Warning,
                    _ => Status::Critical,
                };
                if restarts.on_result(second * SECOND, status) {
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
        let mut none = CheckRestarts::new(None, 0);
        assert!(!none.on_result(SECOND, Status::Critical));
    }
}

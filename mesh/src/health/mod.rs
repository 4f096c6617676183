//! The check state machine: from results of single runs to the status that is reported.
//!
//! A [`Monitor`] belongs to one check on the machine that runs it. It never waits and keeps no
//! timer: whoever runs the check calls [`Monitor::on_result`] and sends what comes back to the
//! catalog.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Status, bound_output};

/// Shortest time between two reports that differ in output only.
pub const OUTPUT_INTERVAL: Duration = Duration::from_mins(5);

/// How many results in a row it takes to change a status.
///
/// A count of 0 means 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thresholds {
    /// Status before the first result.
    pub initial: Status,
    /// Results better than critical in a row before the check leaves critical.
    pub success_before_passing: u32,
    /// Critical results in a row before the check is critical.
    pub failures_before_critical: u32,
    /// Critical results in a row before the check shows warning; absent or not below
    /// `failures_before_critical`: never.
    pub failures_before_warning: Option<u32>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            initial: Status::Critical,
            success_before_passing: 1,
            failures_before_critical: 1,
            failures_before_warning: None,
        }
    }
}

/// What one run of a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What the run by itself says; a warning counts as a success.
    pub status: Status,
    /// Text of the run; cut to [`crate::model::OUTPUT_BYTES_MAX`].
    pub output: String,
}

/// What the catalog should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The check's status.
    pub status: Status,
    /// The check's output.
    pub output: String,
}

/// The state of one check between runs.
///
/// Invariants:
/// 1. At most one of the two counters is not 0.
/// 2. A change of status is reported at once, a change of output alone at most every
///    [`OUTPUT_INTERVAL`].
///
/// Source: agent checks. Differs: a new monitor counts successes from zero, so that a fresh
/// instance is published only after `success_before_passing` results in a row; the reference
/// applies the first result at once, which here only [`Monitor::resume`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    thresholds: Thresholds,
    status: Status,
    output: String,
    successes: u32,
    failures: u32,
    reported_at: Option<Duration>,
}

impl Monitor {
    /// Starts a monitor for a new instance, in its initial status.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        let status = thresholds.initial;
        Self {
            thresholds,
            status,
            output: String::new(),
            successes: 0,
            failures: 0,
            reported_at: None,
        }
    }

    /// Continues a check whose last reported status is known, for example after an agent restart.
    ///
    /// The first result is applied at once, whatever the thresholds.
    #[must_use]
    pub fn resume(thresholds: Thresholds, status: Status, output: String) -> Self {
        let (successes, failures) = match status {
            Status::Critical => (thresholds.success_before_passing, 0),
            Status::Passing | Status::Warning => (0, thresholds.failures_before_critical),
        };
        Self {
            status,
            output,
            successes,
            failures,
            ..Self::new(thresholds)
        }
    }

    /// Returns the status as last reported.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Takes the outcome of one run; returns what to report, if anything.
    ///
    /// `now` is the time since any fixed moment.
    pub fn on_result(&mut self, now: Duration, outcome: Outcome) -> Option<Change> {
        let status = self.count(outcome.status)?;
        let output = bound_output(outcome.output);
        let is_due = self
            .reported_at
            .is_none_or(|reported| now.saturating_sub(reported) >= OUTPUT_INTERVAL);
        let is_new = status != self.status || (output != self.output && is_due);
        if !is_new {
            return None;
        }
        self.status = status;
        self.output.clone_from(&output);
        self.reported_at = Some(now);
        Some(Change { status, output })
    }

    /// Counts one result; returns the status that it leads to, or nothing below every threshold.
    fn count(&mut self, result: Status) -> Option<Status> {
        if result == Status::Critical {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            if self.status == Status::Critical
                || self.failures >= self.thresholds.failures_before_critical
            {
                return Some(Status::Critical);
            }
            let warns = self.thresholds.failures_before_warning;
            return warns
                .filter(|count| self.failures >= *count)
                .map(|_| Status::Warning);
        }
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        let leaves = self.status != Status::Critical
            || self.successes >= self.thresholds.success_before_passing;
        leaves.then_some(result)
    }
}

#[cfg(test)]
mod tests;

//! Wakes evaluations that wait for capacity.

use jobs::control::{Action, Blocked};

use super::Controller;
use crate::server::{Snapshot, published::Commit};

/// The evaluations that wait.
#[derive(Default)]
pub(in crate::server) struct Waiting(Blocked);

impl Controller for Waiting {
    fn restore(&mut self, now: i64, snapshot: &Snapshot) -> Vec<Action> {
        self.0.restore(now, &snapshot.jobs)
    }

    fn on_commit(&mut self, now: i64, commit: &Commit) -> Vec<Action> {
        let applied = commit.changes.jobs.iter();
        applied
            .flat_map(|applied| self.0.on_applied(now, &commit.snapshot.jobs, applied))
            .collect()
    }

    fn on_tick(&mut self, _now: i64, _snapshot: &Snapshot) -> Vec<Action> {
        Vec::new()
    }

    fn next_tick(&self) -> Option<i64> {
        None
    }
}

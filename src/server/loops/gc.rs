//! Deletes terminal rows.

use jobs::control::{Action, Gc};
use jobs::model::Timestamp;

use super::Controller;
use crate::{Snapshot, log::published::Commit};

/// The garbage collector.
pub(crate) struct Collector(Gc);

impl Collector {
    /// Knows no row yet.
    pub(crate) fn new(gc: Gc) -> Self {
        Self(gc)
    }
}

impl Controller for Collector {
    type Action = Action;

    fn restore(&mut self, _now: Timestamp, _snapshot: &Snapshot) -> Vec<Action> {
        self.0.restore();
        Vec::new()
    }

    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Action> {
        for applied in &commit.changes.jobs {
            self.0.on_applied(now, &commit.snapshot.jobs, applied);
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        self.0.on_tick(now, &snapshot.jobs)
    }

    fn next_tick(&self) -> Option<Timestamp> {
        self.0.next_tick()
    }
}

//! Ends locks of variables that nobody renews.

use jobs::{control::Action, model::Timestamp};
use std::sync::Arc;
use tokio::sync::Notify;

use super::Controller;
use crate::{Core, Snapshot, log::published::Commit};

/// The locks, shared with the API that renews them.
pub(crate) struct Locks(pub(crate) Arc<Core>);

impl Controller for Locks {
    type Action = Action;

    fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        self.0.locks.lock().restore(now, &snapshot.jobs);
        Vec::new()
    }

    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Action> {
        let mut locks = self.0.locks.lock();
        for applied in &commit.changes.jobs {
            locks.on_applied(now, applied, &commit.snapshot.jobs);
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: Timestamp, _snapshot: &Snapshot) -> Vec<Action> {
        self.0.locks.lock().on_tick(now)
    }

    fn next_tick(&self) -> Option<Timestamp> {
        self.0.locks.lock().next_tick()
    }

    fn moved(&self) -> Option<&Notify> {
        Some(&self.0.locks_moved)
    }
}

//! Deletes terminal rows.

use jobs::control::Action;
use std::sync::Arc;

use super::Controller;
use crate::server::{Core, Snapshot, log::published::Commit};

/// The garbage collector, shared with those who force it.
pub(in crate::server) struct Collector(pub(in crate::server) Arc<Core>);

impl Controller for Collector {
    fn restore(&mut self, _now: i64, _snapshot: &Snapshot) -> Vec<Action> {
        Vec::new()
    }

    fn on_commit(&mut self, _now: i64, _commit: &Commit) -> Vec<Action> {
        Vec::new()
    }

    fn on_tick(&mut self, now: i64, snapshot: &Snapshot) -> Vec<Action> {
        self.0.gc.lock().on_tick(now, &snapshot.jobs)
    }

    fn next_tick(&self) -> Option<i64> {
        self.0.gc.lock().next_tick()
    }
}

//! Takes nodes down whose agents are silent for too long.

use jobs::control::Action;
use jobs::model::Timestamp;
use std::sync::Arc;
use tokio::sync::Notify;

use super::Controller;
use crate::{Core, Snapshot, log::published::Commit};

/// The leases, shared with the sessions that renew them.
pub(crate) struct Leases(pub(crate) Arc<Core>);

impl Controller for Leases {
    type Action = Action;

    fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        // Agents find a restarted server within one lease.
        let config = &self.0.config;
        let nodes = snapshot.jobs.nodes("").count();
        let lease = config.tuning.rhythm.first_lease(config.lease, nodes);
        let mut heartbeats = self.0.heartbeats.lock();
        heartbeats.restore(now, lease, &snapshot.jobs);
        Vec::new()
    }

    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Action> {
        let mut heartbeats = self.0.heartbeats.lock();
        for applied in &commit.changes.jobs {
            heartbeats.on_applied(now, applied);
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        self.0.heartbeats.lock().on_tick(now, &snapshot.jobs)
    }

    fn next_tick(&self) -> Option<Timestamp> {
        self.0.heartbeats.lock().next_tick()
    }

    fn moved(&self) -> Option<&Notify> {
        Some(&self.0.heartbeats_moved)
    }
}

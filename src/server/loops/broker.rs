//! Feeds the broker, which the workers empty.

use jobs::control::Action;
use std::sync::Arc;
use tokio::sync::Notify;

use super::Controller;
use crate::server::{Core, Snapshot, published::Commit};

/// The broker, shared with the workers.
pub(in crate::server) struct Queue(pub(in crate::server) Arc<Core>);

impl Controller for Queue {
    fn restore(&mut self, now: i64, snapshot: &Snapshot) -> Vec<Action> {
        self.0.broker.lock().restore(now, &snapshot.jobs);
        self.0.work.notify_one();
        Vec::new()
    }

    fn on_commit(&mut self, now: i64, commit: &Commit) -> Vec<Action> {
        let mut broker = self.0.broker.lock();
        for applied in &commit.changes.jobs {
            broker.on_applied(now, applied);
        }
        if broker.ready_len() > 0 {
            self.0.work.notify_one();
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: i64, _snapshot: &Snapshot) -> Vec<Action> {
        let actions = self.0.broker.lock().on_tick(now);
        self.0.work.notify_one();
        actions
    }

    fn next_tick(&self) -> Option<i64> {
        self.0.broker.lock().next_tick()
    }

    fn moved(&self) -> Option<&Notify> {
        Some(&self.0.broker_moved)
    }
}

//! Feeds the broker, which the workers empty, and wakes evaluations that wait for capacity.
//!
//! One loop for both: what the second wakes goes to the first, which must not start afresh in
//! between.

use jobs::control::{Action, Blocked};
use jobs::model::Timestamp;
use std::sync::Arc;
use tokio::sync::Notify;

use super::Controller;
use crate::{Core, Snapshot, log::published::Commit};

/// The broker, shared with the workers, and the evaluations that wait for capacity.
pub(crate) struct Evaluations {
    core: Arc<Core>,
    blocked: Blocked,
}

impl Evaluations {
    /// Knows no evaluation yet.
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            blocked: Blocked::default(),
        }
    }
}

impl Controller for Evaluations {
    type Action = Action;

    fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        self.core.broker.lock().restore(now, &snapshot.jobs);
        self.core.work.notify_one();
        self.blocked.restore(now, &snapshot.jobs)
    }

    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Action> {
        let changes = &commit.changes.jobs;
        {
            let mut broker = self.core.broker.lock();
            for applied in changes {
                broker.on_applied(now, applied);
            }
            // A pause of the workers may be over, too.
            if broker.ready_len() > 0 {
                self.core.work.notify_one();
            }
        }
        changes
            .iter()
            .flat_map(|applied| self.blocked.on_applied(now, &commit.snapshot.jobs, applied))
            .collect()
    }

    fn on_tick(&mut self, now: Timestamp, _snapshot: &Snapshot) -> Vec<Action> {
        let actions = self.core.broker.lock().on_tick(now);
        self.core.work.notify_one();
        actions
    }

    fn next_tick(&self) -> Option<Timestamp> {
        self.core.broker.lock().next_tick()
    }

    fn moved(&self) -> Option<&Notify> {
        Some(&self.core.broker_moved)
    }
}

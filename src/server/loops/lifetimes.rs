//! Ends sessions of the catalog that nobody renews.

use jobs::model::Timestamp;
use mesh::state::Command;
use std::sync::Arc;
use tokio::sync::Notify;

use super::Controller;
use crate::{Core, Snapshot, log::published::Commit, state::log_time};

/// The lifetimes, shared with the API that renews them.
pub(crate) struct Sessions(pub(crate) Arc<Core>);

impl Controller for Sessions {
    type Action = Command;

    fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Command> {
        self.0
            .lifetimes
            .lock()
            .restore(log_time(now), &snapshot.mesh);
        Vec::new()
    }

    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Command> {
        let mut lifetimes = self.0.lifetimes.lock();
        for applied in &commit.changes.mesh {
            lifetimes.on_changed(log_time(now), &applied.sessions, &commit.snapshot.mesh);
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: Timestamp, _snapshot: &Snapshot) -> Vec<Command> {
        self.0.lifetimes.lock().on_tick(log_time(now))
    }

    fn next_tick(&self) -> Option<Timestamp> {
        let next = self.0.lifetimes.lock().next_tick()?;
        Some(Timestamp::from_nanos(next.as_nanos()))
    }

    fn moved(&self) -> Option<&Notify> {
        Some(&self.0.lifetimes_moved)
    }
}

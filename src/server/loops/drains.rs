//! Empties the nodes that are to be drained.

use jobs::{
    control::{Action, Drains},
    ids::Ids,
    model::Timestamp,
};

use super::Controller;
use crate::{Snapshot, log::published::Commit};

/// The nodes that are being emptied.
pub(crate) struct Emptied(Drains);

impl Emptied {
    /// Knows no node yet.
    pub(crate) fn new(ids: Ids) -> Self {
        Self(Drains::new(ids))
    }
}

impl Controller for Emptied {
    type Action = Action;

    fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        self.0.restore(now, &snapshot.jobs)
    }

    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Action> {
        let mut actions = Vec::new();
        for applied in &commit.changes.jobs {
            actions.extend(self.0.on_applied(now, &commit.snapshot.jobs, applied));
        }
        actions
    }

    fn on_tick(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        self.0.on_tick(now, &snapshot.jobs)
    }

    fn next_tick(&self) -> Option<Timestamp> {
        self.0.next_tick()
    }
}

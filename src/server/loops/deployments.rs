//! Carries deployments to their end.

use jobs::model::Timestamp;
use jobs::{
    control::{Action, Deployments},
    ids::Ids,
};

use super::Controller;
use crate::{Snapshot, log::published::Commit};

/// The active deployments.
pub(crate) struct Rollouts(Deployments);

impl Rollouts {
    /// Knows no deployment yet.
    pub(crate) fn new(ids: Ids) -> Self {
        Self(Deployments::new(ids))
    }
}

impl Controller for Rollouts {
    type Action = Action;

    fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        self.0.restore(now, &snapshot.jobs)
    }

    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Action> {
        let applied = commit.changes.jobs.iter();
        applied
            .flat_map(|applied| self.0.on_applied(now, &commit.snapshot.jobs, applied))
            .collect()
    }

    fn on_tick(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        self.0.on_tick(now, &snapshot.jobs)
    }

    fn next_tick(&self) -> Option<Timestamp> {
        self.0.next_tick()
    }
}

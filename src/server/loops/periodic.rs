//! Launches jobs at the times that they say.

use jiff::tz::TimeZone;
use jobs::{
    control::{Action, Periodic},
    ids::Ids,
    model::Timestamp,
};

use super::Controller;
use crate::{Snapshot, log::published::Commit};
use sys::clock;

/// The jobs that are launched at set times.
pub(crate) struct Launches(Periodic);

impl Launches {
    /// Knows no job yet.
    pub(crate) fn new(ids: Ids) -> Self {
        // The names were checked when the jobs were registered, maybe on another machine.
        let zone = |name: &str| clock::zone(name).unwrap_or(TimeZone::UTC);
        Self(Periodic::new(ids, zone))
    }
}

impl Controller for Launches {
    type Action = Action;

    fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        self.0.restore(now, &snapshot.jobs);
        Vec::new()
    }

    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Action> {
        for applied in &commit.changes.jobs {
            self.0.on_applied(now, applied);
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

#[cfg(test)]
mod tests;

use super::{
    Action,
    launch::{at_time, has_live_children},
};
use crate::{
    ids::Ids,
    model::{Job, JobKey, Timestamp},
    state::{Applied, JobChange, Snapshot},
};
use jiff::tz::TimeZone;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most jobs that one call launches; the rest follows with the next.
const LAUNCHED_MAX: usize = 256;

/// Launches jobs at the times that they say.
///
/// Of launches that were missed, one is made up for, with the time at which that happens. A job
/// that prohibits overlaps is left alone while a child of it is not over.
///
/// On leader change: [`Periodic::restore`] goes on after the last launch that the state knows, so
/// that nothing is launched twice. A launch whose child is there already is refused by the state.
#[derive(Debug)]
pub struct Periodic {
    ids: Ids,
    /// The time zone of a name.
    zone: fn(&str) -> TimeZone,
    due: BTreeMap<JobKey, Timestamp>,
    by_time: BTreeSet<(Timestamp, JobKey)>,
}

impl Periodic {
    /// Knows no job yet. `zone` finds time zones by the names that jobs give.
    pub fn new(ids: Ids, zone: fn(&str) -> TimeZone) -> Self {
        Self {
            ids,
            zone,
            due: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }

    /// Forgets everything and goes on where the state says that launches were.
    pub fn restore(&mut self, now: Timestamp, state: &Snapshot) {
        self.due.clear();
        self.by_time.clear();
        for job in state.periodic_jobs() {
            let key = job.key();
            let last = state.last_launch(&key).unwrap_or(now);
            self.arm(key, job, last);
        }
    }

    /// Follows jobs that were registered, changed, stopped or removed.
    pub fn on_applied(&mut self, now: Timestamp, applied: &Applied) {
        for change in &applied.jobs {
            let JobChange { key, before, after } = change;
            let launches =
                |job: &Option<Arc<Job>>| job.as_ref().and_then(|job| job.launches().cloned());
            let wanted = launches(after);
            match after {
                Some(job) if wanted.is_some() => {
                    if !self.due.contains_key(key) || launches(before) != wanted {
                        self.arm(key.clone(), job, now);
                    }
                }
                _ => self.disarm(key),
            }
        }
    }

    /// Launches what is due.
    pub fn on_tick(&mut self, now: Timestamp, state: &Snapshot) -> Vec<Action> {
        let mut actions = Vec::new();
        while actions.len() < LAUNCHED_MAX
            && let Some((due, key)) = self.by_time.first().filter(|(at, _)| *at <= now).cloned()
        {
            self.disarm(&key);
            let job = state.job(&key);
            let Some((job, times)) = job.and_then(|job| Some((job, job.launches()?))) else {
                continue;
            };
            let missed_more = self.next(job, due).is_some_and(|next| next <= now);
            let at = if missed_more { now } else { due };
            self.arm(key.clone(), job, now);
            if times.prohibit_overlap == Some(true) && has_live_children(state, &key) {
                continue;
            }
            let launch = at_time(job, at, now, &mut self.ids);
            actions.push(Action::Propose(launch));
        }
        actions
    }

    /// When the next job is launched.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The first launch of a job after `after`.
    fn next(&self, job: &Job, after: Timestamp) -> Option<Timestamp> {
        let times = job.launches()?;
        let zone = (self.zone)(times.time_zone.as_deref().unwrap_or_default());
        times.next(after, &zone)
    }

    fn arm(&mut self, key: JobKey, job: &Job, after: Timestamp) {
        self.disarm(&key);
        if let Some(at) = self.next(job, after) {
            self.by_time.insert((at, key.clone()));
            self.due.insert(key, at);
        }
    }

    fn disarm(&mut self, key: &JobKey) {
        if let Some((key, at)) = self.due.remove_entry(key) {
            self.by_time.remove(&(at, key));
        }
    }
}

//! Carries deployments to their end, and judges their canaries by what ingresses count.

use jobs::{
    control::{
        Action, Deployments,
        rollout::{Counts, LOOK_INTERVAL, Observed, Standing, Times},
    },
    ids::Ids,
    model::{
        AllocId, Allocation, Deployment, DeploymentId, GroupName, JobKey, NodeId, NodeStatus,
        RolloutCause, RolloutPhase, Timestamp,
    },
};
use mesh::{model::Status, split::splitter_of_versions};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Controller;
use crate::{
    Core, Snapshot,
    log::published::Commit,
    measures::Measures,
    traffic::{self, Awaited, Feed},
};
use registration::alloc_of;

/// The active deployments.
pub(crate) struct Rollouts {
    core: Arc<Core>,
    deployments: Deployments,
    /// When counts are looked at next; none while no canaries are judged.
    look_at: Option<Timestamp>,
    /// How far counts were read.
    place: u64,
    /// Metrics stores and hooks.
    measures: Measures,
}

/// How judged canaries stand, for those who ask; only the leader knows.
#[derive(Debug, Default)]
pub(crate) struct Standings(Mutex<BTreeMap<(DeploymentId, GroupName), Standing>>);

impl Standings {
    /// How the canaries of a group stand; none if they are not judged here.
    pub(crate) fn of(&self, id: DeploymentId, group: &GroupName) -> Option<Standing> {
        self.0.lock().get(&(id, group.clone())).cloned()
    }
}

/// Rollouts that were given up since this server leads, by what it came from.
#[derive(Debug, Default)]
pub(crate) struct Aborts(Mutex<Aborted>);

#[derive(Debug, Default)]
struct Aborted {
    /// Of those that are under way.
    watched: BTreeSet<(DeploymentId, GroupName)>,
    counts: BTreeMap<RolloutCause, u64>,
}

impl Aborts {
    /// How many there were.
    pub(crate) fn counts(&self) -> BTreeMap<RolloutCause, u64> {
        self.0.lock().counts.clone()
    }

    /// A deployment changed.
    fn note(&self, row: &Deployment) {
        let mut aborted = self.0.lock();
        for (name, group) in &row.task_groups {
            let Some(rollout) = &group.rollout else {
                continue;
            };
            let key = (row.id, name.clone());
            if rollout.phase != RolloutPhase::Aborted && row.is_active() {
                aborted.watched.insert(key);
            } else if aborted.watched.remove(&key) && rollout.phase == RolloutPhase::Aborted {
                *aborted.counts.entry(rollout.cause).or_default() += 1;
            }
        }
    }

    /// Begins anew with a state.
    fn restore(&self, snapshot: &Snapshot) {
        self.0.lock().watched.clear();
        for row in snapshot.jobs.deployments("") {
            self.note(row);
        }
    }
}

impl Rollouts {
    /// Knows no deployment yet.
    pub(crate) fn new(core: Arc<Core>, ids: Ids) -> Self {
        Self {
            core,
            deployments: Deployments::new(ids),
            look_at: None,
            place: 0,
            measures: Measures::default(),
        }
    }

    /// Begins to look at counts when there are canaries, and ends it with the last ones.
    fn plan_look(&mut self, now: Timestamp) {
        let judges = self.deployments.is_judging();
        if judges == self.look_at.is_some() {
            return;
        }
        if judges {
            self.core.traffic.set_interval(LOOK_INTERVAL.to_std());
            // What was counted before is about others.
            self.place = *self.core.traffic.heard().borrow();
            self.look_at = Some(now + LOOK_INTERVAL);
        } else {
            self.core.traffic.set_interval(rpc::traffic::INTERVAL);
            self.measures.clear();
            self.look_at = None;
            self.core.standings.0.lock().clear();
        }
    }

    fn look(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        let feed = self.core.traffic.after(self.place);
        self.place = feed.place;
        let ingresses = self.core.traffic.ingresses();
        let awaited = self.core.traffic.awaited(|id| {
            let node = snapshot.jobs.node(id);
            node.is_some_and(|node| node.status == NodeStatus::Ready)
        });
        let jobs = self.deployments.judged_jobs(&snapshot.jobs);
        let observed = Observed {
            missing: missing(&feed, &ingresses, &awaited, snapshot),
            counts: counts(&feed, &jobs, snapshot),
            critical: critical(&jobs, snapshot),
            splitters: splitters(&jobs, snapshot, &self.core.config.datacenter),
            is_uncounted: ingresses.is_empty() && awaited.nodes.is_empty(),
            answers: self.measures.take(),
        };
        let actions = self.deployments.on_counts(now, &snapshot.jobs, &observed);
        let questions = self.deployments.questions(&snapshot.jobs);
        self.measures.ask(now, questions);
        let standings = self.deployments.standings();
        *self.core.standings.0.lock() = standings;
        for seen in self.deployments.take_seen() {
            self.core.records.add(seen);
        }
        actions
    }
}

impl Controller for Rollouts {
    type Action = Action;

    fn restore(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        let actions = self.deployments.restore(now, &snapshot.jobs);
        self.core.aborts.restore(snapshot);
        self.measures.clear();
        self.look_at = None;
        self.plan_look(now);
        actions
    }

    fn on_commit(&mut self, now: Timestamp, commit: &Commit) -> Vec<Action> {
        let mut actions = Vec::new();
        for applied in &commit.changes.jobs {
            let jobs = &commit.snapshot.jobs;
            actions.extend(self.deployments.on_applied(now, jobs, applied));
            for changed in &applied.deployments {
                // What came of the whole entry.
                if let Some(row) = jobs.deployment(changed.id) {
                    self.core.aborts.note(row);
                }
            }
        }
        self.plan_look(now);
        actions
    }

    fn on_tick(&mut self, now: Timestamp, snapshot: &Snapshot) -> Vec<Action> {
        let mut actions = self.deployments.on_tick(now, &snapshot.jobs);
        if self.look_at.is_some_and(|at| at <= now) {
            actions.extend(self.look(now, snapshot));
            self.look_at = Some(now + LOOK_INTERVAL);
        }
        actions
    }

    fn next_tick(&self) -> Option<Timestamp> {
        let deadline = self.deployments.next_tick();
        match (deadline, self.look_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Names of ingresses whose counts are incomplete.
fn missing(
    feed: &Feed,
    ingresses: &[traffic::Ingress],
    awaited: &Awaited,
    snapshot: &Snapshot,
) -> Vec<String> {
    let of_node = |id: NodeId| snapshot.jobs.node(id).map(|node| node.name.to_string());
    let name = |agent: &str| -> String {
        let own = ingresses.iter().find(|ingress| ingress.agent_id == agent);
        let node = own.and_then(|ingress| ingress.node_id).and_then(of_node);
        node.unwrap_or_else(|| agent.to_owned())
    };
    let awaited = awaited.nodes.iter().filter(|_| awaited.is_silent);
    let awaited = awaited.filter_map(|id| of_node(*id));
    let silent = ingresses.iter().filter(|ingress| ingress.is_silent);
    let silent = silent.map(|ingress| name(&ingress.agent_id));
    let gaps = feed.intervals.iter().filter(|own| own.missing > 0);
    let gaps = gaps.map(|own| name(&own.agent_id));
    let cut = feed.is_cut.then(|| "every agent".to_owned());
    let names: BTreeSet<String> = silent.chain(gaps).chain(cut).chain(awaited).collect();
    names.into_iter().collect()
}

/// What was counted of the instances of some jobs.
fn counts(
    feed: &Feed,
    jobs: &BTreeSet<JobKey>,
    snapshot: &Snapshot,
) -> Vec<(String, AllocId, Counts)> {
    let mut sums: BTreeMap<(&str, AllocId), Counts> = BTreeMap::new();
    for row in feed.intervals.iter().flat_map(|interval| &interval.rows) {
        let Some(id) = alloc_of(&row.who.instance) else {
            continue;
        };
        let is_judged = |id| {
            let alloc = snapshot.jobs.alloc(id)?;
            Some(jobs.contains(&alloc.job_key()))
        };
        if is_judged(id) == Some(true) {
            let sum = sums.entry((&row.who.route, id)).or_default();
            sum.add(&judged(&row.counts));
        }
    }
    let sums = sums.into_iter();
    sums.map(|((route, id), counts)| (route.to_owned(), id, counts))
        .collect()
}

/// What the judge wants to know of counts.
fn judged(counts: &rpc::traffic::Counts) -> Counts {
    let [_, _, elsewhere, refused, errors] = counts.answers;
    let broken = counts.refused + counts.failed;
    Counts {
        attempts: counts.attempts().saturating_sub(counts.left),
        failed: broken + errors,
        broken,
        elsewhere,
        refused,
        times: Times::new(counts.times.iter().copied()),
    }
}

/// Canaries of some jobs.
fn canaries<'a>(
    jobs: &'a BTreeSet<JobKey>,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = &'a Arc<Allocation>> {
    let allocs = jobs.iter().flat_map(|key| snapshot.jobs.allocs_of_job(key));
    allocs.filter(|alloc| alloc.is_canary() && !alloc.is_terminal())
}

/// Names of the services of an allocation.
fn services(alloc: &Allocation) -> impl Iterator<Item = &String> {
    alloc.group().into_iter().flat_map(|group| {
        let of_tasks = group.tasks.iter().flat_map(|task| &task.services);
        group.services.iter().chain(of_tasks).map(|own| &own.name)
    })
}

/// Canaries of some jobs whose share a splitter says, with its name.
fn splitters(
    jobs: &BTreeSet<JobKey>,
    snapshot: &Snapshot,
    datacenter: &str,
) -> BTreeMap<AllocId, String> {
    let view = snapshot.mesh.view();
    let mut by_service = BTreeMap::new();
    let mut found = BTreeMap::new();
    for alloc in canaries(jobs, snapshot) {
        for service in services(alloc) {
            let splitter = by_service
                .entry(service)
                .or_insert_with(|| splitter_of_versions(view, datacenter, service));
            if let Some(splitter) = splitter {
                found.insert(alloc.id, splitter.clone());
                break;
            }
        }
    }
    found
}

/// Canaries of some jobs that their checks call critical.
fn critical(jobs: &BTreeSet<JobKey>, snapshot: &Snapshot) -> BTreeMap<AllocId, String> {
    let view = snapshot.mesh.view();
    let names: BTreeSet<&String> = canaries(jobs, snapshot)
        .flat_map(|alloc| services(alloc))
        .collect();
    let mut found = BTreeMap::new();
    for name in names {
        for instance in view.instances(name) {
            if instance.status != Status::Critical {
                continue;
            }
            let Some(id) = alloc_of(&instance.service.id) else {
                continue;
            };
            let checks = view.checks_of_service(name);
            let bad = checks
                .filter(|check| check.is_of(&instance.service.id))
                .find(|check| check.status == Status::Critical);
            let text = bad.map_or_else(String::new, |check| check.name.clone());
            found.insert(id, text);
        }
    }
    found
}

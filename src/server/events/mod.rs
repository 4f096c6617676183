//! What changed lately, as events for those who follow along: a bounded number of batches, one per
//! log entry that changed something. Nothing of it is in the log; it begins anew with the process,
//! and after a gap.

mod changes;
#[cfg(test)]
mod tests;

use jobs::model::{
    Allocation, Deployment, DeploymentId, Evaluation, GroupName, Index, Job, Node, Variable,
    VariableKey,
};
use mesh::model::{Service, ServiceName};
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::watch;

use super::{Snapshot, log::published::Commit};

/// Batches that are kept unless the operator says so.
pub(crate) const BATCHES_MAX: usize = 256;
/// Events that are kept in all batches together; in more batches than usual as many more.
const EVENTS_MAX: usize = 8192;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A job.
    Job,
    /// An evaluation.
    Evaluation,
    /// An allocation.
    Allocation,
    /// A deployment.
    Deployment,
    /// A step of the rollout of a group's canaries, or what else became of it.
    Rollout,
    /// A node.
    Node,
    /// An instance of a service that its job keeps to itself.
    Service,
    /// A variable.
    Variable,
    /// A service of the catalog: its instances, checks or nodes.
    CatalogService,
    /// A key of the key-value store.
    Key,
    /// What operators lay over the routes.
    RouteOverrides,
}

/// A row as an event carries it: as it is, or, when it was removed, as it was before.
#[derive(Clone, Debug)]
pub enum Row {
    /// A job, and whether it was removed.
    Job(Arc<Job>, bool),
    /// An evaluation.
    Evaluation(Arc<Evaluation>),
    /// An allocation.
    Allocation(Arc<Allocation>),
    /// A deployment.
    Deployment(Arc<Deployment>),
    /// A transition of the rollout of a group, by its revision among those that the deployment has.
    Rollout(Arc<Deployment>, GroupName, u64),
    /// A node.
    Node(Arc<Node>),
    /// An instance that its job keeps to itself.
    Service(Arc<Service>),
    /// A variable; the row is missing when it was removed.
    Variable(VariableKey, Option<Arc<Variable>>),
    /// The name of a service of the catalog.
    CatalogService(ServiceName),
    /// A key of the key-value store.
    Key(String),
    /// What operators lay over the routes.
    RouteOverrides,
}

/// One change of one row. Cheap to make, because most events are looked at by nobody.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened, as the published API calls it.
    pub kind: &'static str,
    /// To which row.
    pub row: Row,
}

impl Event {
    /// What it is about.
    pub fn topic(&self) -> Topic {
        match &self.row {
            Row::Job(..) => Topic::Job,
            Row::Evaluation(_) => Topic::Evaluation,
            Row::Allocation(_) => Topic::Allocation,
            Row::Deployment(_) => Topic::Deployment,
            Row::Rollout(..) => Topic::Rollout,
            Row::Node(_) => Topic::Node,
            Row::Service(_) => Topic::Service,
            Row::Variable(..) => Topic::Variable,
            Row::CatalogService(_) => Topic::CatalogService,
            Row::Key(_) => Topic::Key,
            Row::RouteOverrides => Topic::RouteOverrides,
        }
    }

    /// Id or name of the row.
    pub fn key(&self) -> String {
        match &self.row {
            Row::Job(row, _) => row.id.to_string(),
            Row::Evaluation(row) => row.id.to_string(),
            Row::Allocation(row) => row.id.to_string(),
            Row::Deployment(row) | Row::Rollout(row, ..) => row.id.to_string(),
            Row::Node(row) => row.id.to_string(),
            Row::Service(row) => row.id.to_string(),
            Row::Variable(key, _) => key.path.to_string(),
            Row::CatalogService(name) => name.to_string(),
            Row::Key(key) => key.clone(),
            Row::RouteOverrides => String::new(),
        }
    }

    /// Namespace of the row; none for rows outside of namespaces.
    pub fn namespace(&self) -> Option<&str> {
        match &self.row {
            Row::Job(row, _) => Some(&row.namespace),
            Row::Evaluation(row) => Some(&row.namespace),
            Row::Allocation(row) => Some(&row.namespace),
            Row::Deployment(row) | Row::Rollout(row, ..) => Some(&row.namespace),
            Row::Service(row) => row.origin.as_ref().map(|origin| &*origin.namespace),
            Row::Variable(key, _) => Some(&key.namespace),
            Row::Node(_) | Row::CatalogService(_) | Row::Key(_) | Row::RouteOverrides => None,
        }
    }

    /// Ids and names of other rows that one may look for it by.
    pub fn filter_keys(&self) -> Vec<String> {
        let with = |job: &str, deployment: Option<DeploymentId>| {
            let deployment = deployment.map(|id| id.to_string());
            [job.to_owned()].into_iter().chain(deployment).collect()
        };
        match &self.row {
            Row::Evaluation(row) => with(&row.job_id, row.deployment_id),
            Row::Allocation(row) => with(&row.job_id, row.deployment_id),
            Row::Deployment(row) | Row::Rollout(row, ..) => with(&row.job_id, None),
            Row::Service(row) => {
                let job = row.origin.iter().map(|origin| origin.job_id.to_string());
                job.chain([row.name.to_string()]).collect()
            }
            Row::Job(..)
            | Row::Node(_)
            | Row::Variable(..)
            | Row::CatalogService(_)
            | Row::Key(_)
            | Row::RouteOverrides => Vec::new(),
        }
    }
}

/// The events of one log entry, in the order in which they happened; never empty.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Place of the entry.
    pub index: Index,
    /// The events.
    pub events: Vec<Event>,
}

/// Batches with consecutive numbers.
#[derive(Debug, Default)]
struct Kept {
    batches: VecDeque<Arc<Batch>>,
    /// Number of the first.
    first: u64,
    events: usize,
    /// Raised by a gap: who followed before it must begin anew.
    generation: u64,
    /// The state before the next entry.
    before: Arc<Snapshot>,
}

/// The latest events.
#[derive(Debug)]
pub(crate) struct Events {
    /// Batches that are kept; at least 1.
    batches_max: usize,
    kept: Mutex<Kept>,
    /// Number of the next batch.
    next: watch::Sender<u64>,
}

/// Where a follower begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest batch that is kept.
    Oldest,
    /// With the first batch at this index or behind it; with the newest if all are before it.
    At(Index),
    /// With what comes next.
    Next,
}

/// A place among the events; cheap.
#[derive(Debug)]
pub struct Follower {
    events: Arc<Events>,
    changed: watch::Receiver<u64>,
    generation: u64,
    at: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self::new(BATCHES_MAX)
    }
}

impl Events {
    /// Nothing yet, of so many batches at most.
    pub(crate) fn new(batches_max: usize) -> Self {
        Self {
            batches_max: batches_max.max(1),
            kept: Mutex::default(),
            next: watch::Sender::default(),
        }
    }

    fn events_max(&self) -> usize {
        let most = EVENTS_MAX.saturating_mul(self.batches_max);
        EVENTS_MAX.max(most / BATCHES_MAX)
    }

    /// Takes note of an applied entry.
    pub(crate) fn record(&self, commit: &Commit) {
        let mut kept = self.kept.lock();
        let events = changes::events(&kept.before, commit);
        kept.before = Arc::clone(&commit.snapshot);
        if events.is_empty() {
            return;
        }
        kept.events += events.len();
        let index = commit.at.index;
        kept.batches.push_back(Arc::new(Batch { index, events }));
        while kept.batches.len() > self.batches_max || kept.events > self.events_max() {
            // The newest batch stays, however large it is.
            if kept.batches.len() == 1 {
                break;
            }
            if let Some(gone) = kept.batches.pop_front() {
                kept.events -= gone.events.len();
                kept.first += 1;
            }
        }
        let next = kept.first + kept.batches.len() as u64;
        drop(kept);
        self.next.send_replace(next);
    }

    /// Begins anew with a state: what led to it is not known.
    pub(crate) fn reset(&self, snapshot: Arc<Snapshot>) {
        let mut kept = self.kept.lock();
        let next = kept.first + kept.batches.len() as u64;
        *kept = Kept {
            first: next,
            generation: kept.generation + 1,
            before: snapshot,
            ..Kept::default()
        };
        drop(kept);
        // Those who wait look, and find that they have to begin anew.
        self.next.send_replace(next);
    }

    /// Follows from `start` on.
    pub(crate) fn follow(self: &Arc<Self>, start: Start) -> Follower {
        let changed = self.next.subscribe();
        let kept = self.kept.lock();
        let count = kept.batches.len();
        let offset = match start {
            Start::Oldest => 0,
            Start::Next => count,
            Start::At(index) => {
                let at = kept.batches.partition_point(|batch| batch.index < index);
                at.min(count.saturating_sub(1))
            }
        };
        Follower {
            events: Arc::clone(self),
            changed,
            generation: kept.generation,
            at: kept.first + offset as u64,
        }
    }
}

impl Follower {
    /// The next batch. None when it cannot go on: some were dropped before they were taken, or are
    /// not known; who needs all has to read the state and follow anew.
    pub async fn next(&mut self) -> Option<Arc<Batch>> {
        loop {
            self.changed.borrow_and_update();
            {
                let kept = self.events.kept.lock();
                if kept.generation != self.generation || self.at < kept.first {
                    return None;
                }
                let offset = usize::try_from(self.at - kept.first).ok()?;
                if let Some(batch) = kept.batches.get(offset) {
                    self.at += 1;
                    return Some(Arc::clone(batch));
                }
            }
            self.changed.changed().await.ok()?;
        }
    }
}

//! Empties nodes: marks their allocations for migration, as many at a time as their groups allow.

use super::{Action, batched, triggers};
use crate::{
    ids::Ids,
    model::{
        AllocId, Allocation, DesiredTransition, DrainStrategy, GroupName, JobKey, JobType, NodeId,
        Timestamp, Trigger,
    },
    state::{Applied, Command, Snapshot, UpdateNodeDrain},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How long a mark that was asked for counts as made before the state shows it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The nodes that are being emptied.
///
/// Services leave as many at a time as their `migrate` block allows; batch jobs stay until they end
/// or the deadline; system jobs leave when nothing else is left. At the deadline all go at once. A
/// drain is over when no allocation that must leave may still run on its node.
///
/// A new leader takes everything from the state: what was marked is seen there.
#[derive(Debug)]
pub struct Drains {
    ids: Ids,
    /// The nodes, and how each is emptied.
    nodes: BTreeMap<NodeId, DrainStrategy>,
    /// Jobs with services on those nodes, as last seen.
    jobs: BTreeSet<JobKey>,
    /// Marks that were asked for and are not in the state yet, and when.
    asked: BTreeMap<AllocId, Timestamp>,
    /// Ends that were asked for, and when.
    ending: BTreeMap<NodeId, Timestamp>,
    /// When to look next.
    due: Option<Timestamp>,
}

impl Drains {
    /// Knows no node yet; ids of new evaluations come from `ids`.
    pub fn new(ids: Ids) -> Self {
        Self {
            ids,
            nodes: BTreeMap::new(),
            jobs: BTreeSet::new(),
            asked: BTreeMap::new(),
            ending: BTreeMap::new(),
            due: None,
        }
    }

    /// Takes up every drain of the state; forgets everything else.
    pub fn restore(&mut self, now: Timestamp, state: &Snapshot) -> Vec<Action> {
        self.asked.clear();
        self.ending.clear();
        let nodes = state.nodes("");
        self.nodes = nodes
            .filter_map(|node| Some((node.id, node.drain_strategy?)))
            .collect();
        self.look(now, state)
    }

    /// Looks again when an entry touched a drain, or an allocation or a job that one waits for.
    pub fn on_applied(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        applied: &Applied,
    ) -> Vec<Action> {
        let mut touched = false;
        for change in &applied.nodes {
            let Some(id) = change
                .after
                .as_ref()
                .or(change.before.as_ref())
                .map(|node| node.id)
            else {
                continue;
            };
            let strategy = change.after.as_ref().and_then(|node| node.drain_strategy);
            let known = match strategy {
                Some(strategy) => self.nodes.insert(id, strategy),
                None => self.nodes.remove(&id),
            };
            touched |= known.is_some() || strategy.is_some();
        }
        if self.nodes.is_empty() {
            self.due = None;
            return Vec::new();
        }
        touched |= applied
            .jobs
            .iter()
            .any(|change| self.jobs.contains(&change.key));
        touched |= applied
            .allocs
            .iter()
            .filter_map(|change| change.row())
            .any(|alloc| {
                self.nodes.contains_key(&alloc.node_id) || self.jobs.contains(&alloc.job_key())
            });
        if touched {
            self.look(now, state)
        } else {
            Vec::new()
        }
    }

    /// Looks at what the time has come for.
    pub fn on_tick(&mut self, now: Timestamp, state: &Snapshot) -> Vec<Action> {
        self.look(now, state)
    }

    /// The next deadline, or the next look at what was asked for.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.due
    }

    fn look(&mut self, now: Timestamp, state: &Snapshot) -> Vec<Action> {
        let is_fresh = |at: &Timestamp| now.since(*at) < ANSWER_TIMEOUT;
        self.asked.retain(|id, at| {
            is_fresh(at) && state.alloc(*id).is_some_and(|alloc| !is_leaving(alloc))
        });
        let nodes = &self.nodes;
        self.ending
            .retain(|id, at| is_fresh(at) && nodes.contains_key(id));
        self.jobs.clear();
        let mut leaving: BTreeMap<AllocId, &Arc<Allocation>> = BTreeMap::new();
        let mut empty = Vec::new();
        for (node_id, strategy) in &self.nodes {
            let (system, others): (Vec<_>, Vec<_>) = state
                .live_allocs_of_node(*node_id)
                .partition(|alloc| alloc.job.job_type == JobType::System);
            let forced = strategy.is_forced(now);
            if forced {
                leaving.extend(others.iter().map(|alloc| (alloc.id, *alloc)));
            } else {
                let services = others.iter().filter(|alloc| is_service(alloc));
                self.jobs.extend(services.map(|alloc| alloc.job_key()));
            }
            if (forced || others.is_empty()) && !strategy.ignore_system_jobs {
                leaving.extend(system.iter().map(|alloc| (alloc.id, *alloc)));
            }
            if others.is_empty() && (system.is_empty() || strategy.ignore_system_jobs) {
                empty.push((*node_id, *strategy));
            }
        }
        for key in &self.jobs {
            let drainable = self.drainable(state, key);
            leaving.extend(drainable.into_iter().map(|alloc| (alloc.id, alloc)));
        }
        leaving.retain(|id, alloc| !is_leaving(alloc) && !self.asked.contains_key(id));
        let mut actions = self.mark(now, state, leaving.into_values());
        for (node_id, strategy) in empty {
            actions.extend(self.end(now, node_id, strategy));
        }
        self.plan_tick(now);
        actions
    }

    /// The allocations of a job that may leave their nodes now: no more than what is healthy beyond
    /// what each group must keep.
    fn drainable<'s>(&self, state: &'s Snapshot, key: &JobKey) -> Vec<&'s Arc<Allocation>> {
        let Some(job) = state.job(key).filter(|job| !job.stop) else {
            return Vec::new();
        };
        let mut groups: BTreeMap<&GroupName, (i64, Vec<&Arc<Allocation>>)> = BTreeMap::new();
        for alloc in state.allocs_of_job(key) {
            if alloc.is_terminal() || is_leaving(alloc) || self.asked.contains_key(&alloc.id) {
                continue;
            }
            let (healthy, here) = groups.entry(&alloc.task_group).or_default();
            *healthy += i64::from(alloc.healthy().is_some());
            if self.nodes.contains_key(&alloc.node_id) {
                here.push(alloc);
            }
        }
        let mut found = Vec::new();
        for group in job.task_groups.iter() {
            let Some((healthy, mut here)) = groups.remove(&group.name) else {
                continue;
            };
            let at_a_time = group
                .migrate
                .as_ref()
                .map_or(1, |migrate| migrate.max_parallel);
            let kept = i64::from(group.count) - i64::from(at_a_time);
            let free = usize::try_from(healthy - kept).unwrap_or(0);
            // What does not serve yet goes first.
            here.sort_by_key(|alloc| (alloc.healthy() == Some(true), alloc.name_index(), alloc.id));
            found.extend(here.into_iter().take(free));
        }
        found
    }

    /// Tells allocations to move, with an evaluation for each of their jobs.
    fn mark<'s>(
        &mut self,
        now: Timestamp,
        state: &Snapshot,
        allocs: impl Iterator<Item = &'s Arc<Allocation>>,
    ) -> Vec<Action> {
        let mut by_job: BTreeMap<JobKey, (NodeId, BTreeMap<AllocId, DesiredTransition>)> =
            BTreeMap::new();
        for alloc in allocs {
            self.asked.insert(alloc.id, now);
            let wish = DesiredTransition {
                migrate: Some(true),
                ..DesiredTransition::default()
            };
            let first = || (alloc.node_id, BTreeMap::new());
            let (_, wishes) = by_job.entry(alloc.job_key()).or_insert_with(first);
            wishes.insert(alloc.id, wish);
        }
        let mut actions = Vec::new();
        for (key, (node_id, transitions)) in by_job {
            let eval = triggers::for_key(state, &key, Trigger::NodeDrain, now, &mut self.ids);
            let evals = eval.map(|mut eval| {
                eval.node_id = Some(node_id);
                eval
            });
            actions.push(Action::Propose(Command::TransitionAllocs {
                transitions,
                evals: evals.into_iter().collect(),
            }));
        }
        batched(actions)
    }

    /// Ends the drain of a node on which nothing is left.
    fn end(&mut self, now: Timestamp, node_id: NodeId, strategy: DrainStrategy) -> Option<Action> {
        if self.ending.insert(node_id, now).is_some() {
            return None;
        }
        let command = UpdateNodeDrain {
            node_id,
            completes: Some(strategy),
            deadline_reached: strategy.is_forced(now),
            ..UpdateNodeDrain::default()
        };
        Some(Action::Propose(Command::UpdateNodeDrain(Box::new(command))))
    }

    fn plan_tick(&mut self, now: Timestamp) {
        let deadlines = self.nodes.values().filter_map(DrainStrategy::due);
        let deadlines = deadlines.filter(|due| *due > now);
        let asked = self.asked.values().chain(self.ending.values());
        let again = asked.map(|at| *at + ANSWER_TIMEOUT);
        self.due = deadlines.chain(again).min();
    }
}

/// True for an allocation that was told to move, or to stop.
fn is_leaving(alloc: &Allocation) -> bool {
    alloc.desired_transition.migrate == Some(true) || alloc.server_terminal()
}

fn is_service(alloc: &Allocation) -> bool {
    alloc.job.job_type == JobType::Service
}

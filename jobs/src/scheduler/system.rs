//! System and sysbatch jobs: one allocation of each group on every node that suits.

use super::{
    Context, Outcome,
    feasible::Feasibility,
    fleet::Fleet,
    generic::Report,
    ports, rank,
    reconcile::{delayed_eval, texts},
};
use crate::{
    model::{
        AllocMetric, AllocName, Allocation, Ask, Capacity, ClientStatus, DesiredUpdates,
        Evaluation, FlatMap, GroupName, Job, JobType, NodeId, Plan, PlanAnnotations, Span,
        StoppedAlloc, TaskGroup, Text, Trigger,
    },
    state::Snapshot,
};
use std::{collections::BTreeMap, sync::Arc};

pub(super) fn process(
    snapshot: &Snapshot,
    eval: &Evaluation,
    job: Option<&Arc<Job>>,
    cx: &mut Context,
) -> Outcome {
    let key = eval.job_key();
    let plan = Plan {
        eval_id: eval.id,
        job: job.cloned(),
        snapshot_index: snapshot.index(),
        ..Plan::default()
    };
    let mut work = Work {
        snapshot,
        eval,
        plan,
        report: Report::default(),
        counts: FlatMap::new(),
        shared: Arc::default(),
        more: false,
        room: cx.plan_allocs_max,
        is_cut: false,
    };
    let mut by_group: BTreeMap<&GroupName, Vec<&Arc<Allocation>>> = BTreeMap::new();
    for alloc in snapshot.allocs_of_job(&key) {
        by_group.entry(&alloc.task_group).or_default().push(alloc);
    }
    let mut followups = Vec::new();
    if let Some(job) = job.filter(|job| !job.stop) {
        let mut fleet = Fleet::new(snapshot, job);
        for group in &job.task_groups {
            let allocs = by_group.remove(&group.name).unwrap_or_default();
            work.group(job, group, &allocs, &mut fleet, cx);
        }
        if work.more {
            // What did not fit waits as long: another evaluation at once would go on replacing too.
            followups.push(rolling_eval(eval, job, cx));
        } else if work.is_cut {
            followups.push(super::next_eval(eval, cx));
        }
    }
    for (name, allocs) in by_group {
        work.stop_all(name, &allocs);
    }
    let annotations = PlanAnnotations {
        desired_tg_updates: work.counts,
        ..PlanAnnotations::default()
    };
    super::conclude(
        snapshot,
        eval,
        work.plan,
        work.report,
        followups,
        annotations,
        cx,
    )
}

/// Goes on with an update after the pause that the job asks for.
fn rolling_eval(eval: &Evaluation, job: &Job, cx: &mut Context) -> Evaluation {
    let stagger = job
        .update
        .as_ref()
        .map_or(Span::ZERO, |update| update.stagger);
    let due = cx.now + stagger.max(Span::ZERO);
    Evaluation {
        triggered_by: Trigger::RollingUpdate,
        status_description: Text::default(),
        ..delayed_eval(eval, due, &mut cx.ids)
    }
}

struct Work<'a> {
    snapshot: &'a Snapshot,
    eval: &'a Evaluation,
    plan: Plan,
    report: Report,
    counts: FlatMap<GroupName, DesiredUpdates>,
    shared: Arc<AllocMetric>,
    /// Old allocations are left for a later evaluation.
    more: bool,
    /// Allocations that the plan may still place or update.
    room: usize,
    /// Something did not fit the plan.
    is_cut: bool,
}

impl<'a> Work<'a> {
    fn group(
        &mut self,
        job: &Arc<Job>,
        group: &TaskGroup,
        allocs: &[&'a Arc<Allocation>],
        fleet: &mut Fleet<'a>,
        cx: &mut Context,
    ) {
        let mut counts = DesiredUpdates::default();
        self.report.queued.insert(group.name.clone(), 0);
        if group.count == 0 {
            self.stop_all(&group.name, allocs);
            return;
        }
        let mut feasibility = Feasibility::new(job, group);
        let mut by_node: BTreeMap<NodeId, Vec<&Arc<Allocation>>> = BTreeMap::new();
        for alloc in allocs {
            by_node.entry(alloc.node_id).or_default().push(alloc);
        }
        self.shared = Arc::new(AllocMetric {
            nodes_evaluated: 1,
            nodes_in_pool: fleet.in_pool,
            node_pool: job.node_pool.as_str().into(),
            nodes_available: fleet.available.clone(),
            ..AllocMetric::default()
        });
        let mut budget = job
            .update
            .as_ref()
            .map(|update| update.max_parallel as usize)
            .filter(|parallel| *parallel > 0)
            .unwrap_or(usize::MAX);
        // What is told when no node may run the group, and none runs it.
        let mut filtered = Some(AllocMetric {
            nodes_evaluated: 0,
            ..(*self.shared).clone()
        });
        for at in 0..fleet.nodes.len() {
            let node = fleet.nodes[at].node;
            let there = by_node.remove(&node.id).unwrap_or_default();
            let objection = feasibility.objection(node, fleet.nodes[at].class);
            let suits = objection.is_none();
            match (&objection, &mut filtered) {
                (Some(objection), Some(metric)) => {
                    metric.nodes_evaluated += 1;
                    rank::filter(metric, node, &objection.reason);
                }
                _ => filtered = None,
            }
            let live = self.settle(job, group, &there, suits, &mut counts);
            match live {
                Some(Standing::Keep) => counts.ignore += 1,
                Some(Standing::InPlace(_)) if !self.has_room_for(group) => counts.ignore += 1,
                Some(Standing::InPlace(alloc)) => {
                    counts.in_place_update += 1;
                    self.update_in_place(alloc, job);
                }
                Some(Standing::Old(_)) if budget == 0 => {
                    self.more = true;
                    counts.ignore += 1;
                }
                Some(Standing::Old(_)) if !self.has_room_for(group) => counts.ignore += 1,
                Some(Standing::Old(old)) => {
                    budget -= 1;
                    counts.destructive_update += 1;
                    self.put_new(job, group, at, Some(old), fleet, cx);
                }
                None if suits && self.has_room_for(group) => {
                    counts.place += 1;
                    self.put_new(job, group, at, None, fleet, cx);
                }
                None => {}
            }
        }
        let told = filtered.filter(|metric| metric.nodes_filtered > 0);
        if let Some(metric) = told {
            (self.report.filtered).insert(group.name.clone(), metric);
        }
        for (node_id, there) in by_node {
            self.leave(node_id, job, &there, &mut counts);
        }
        self.counts.insert(group.name.clone(), counts);
    }

    /// Whether one more allocation of the group fits the plan; otherwise it is left for another
    /// evaluation.
    fn has_room_for(&mut self, group: &TaskGroup) -> bool {
        if self.room == 0 {
            self.is_cut = true;
            *self.report.queued.get_or_default(group.name.clone()) += 1;
        }
        self.room > 0
    }

    /// Looks at the allocations of a node that takes new ones; returns the one that stands for the
    /// group.
    fn settle<'b>(
        &mut self,
        job: &Arc<Job>,
        group: &TaskGroup,
        there: &[&'b Arc<Allocation>],
        suits: bool,
        counts: &mut DesiredUpdates,
    ) -> Option<Standing<'b>> {
        let mut standing = None;
        for alloc in there {
            let current =
                alloc.job_version == job.version && alloc.job.create_index == job.create_index;
            if alloc.client_terminal() {
                // A finished sysbatch run counts for its version, well or badly ended.
                if job.job_type == JobType::Sysbatch && current && !alloc.server_terminal() {
                    standing = Some(Standing::Keep);
                }
                continue;
            }
            if alloc.server_terminal() {
                continue;
            }
            if standing.is_some() || !suits {
                counts.stop += 1;
                self.stop(alloc, texts::NOT_NEEDED, None);
                continue;
            }
            let same = alloc.group().is_some_and(|before| {
                !crate::model::is_destructive((&alloc.job, before), (job, group))
            });
            let moved = alloc.desired_transition.migrate == Some(true);
            standing = Some(if current && !moved {
                Standing::Keep
            } else if same && !moved {
                Standing::InPlace(alloc)
            } else {
                Standing::Old(alloc)
            });
        }
        standing
    }

    /// Looks at the allocations of a node that takes no new ones.
    fn leave(
        &mut self,
        node_id: NodeId,
        job: &Job,
        there: &[&Arc<Allocation>],
        counts: &mut DesiredUpdates,
    ) {
        let gone = super::node_gone(self.snapshot, node_id);
        let in_reach = self
            .snapshot
            .node(node_id)
            .is_some_and(|node| super::feasible::in_reach(job, node));
        for alloc in there {
            if alloc.client_terminal() {
                continue;
            }
            if gone {
                counts.stop += u64::from(!alloc.server_terminal());
                self.stop(alloc, texts::LOST, Some(ClientStatus::Lost));
            } else if alloc.server_terminal() {
                continue;
            } else if !in_reach || alloc.desired_transition.migrate == Some(true) {
                counts.stop += 1;
                self.stop(alloc, texts::TAINTED, None);
            } else {
                counts.ignore += 1;
            }
        }
    }

    fn stop_all(&mut self, group: &GroupName, allocs: &[&Arc<Allocation>]) {
        let mut stopped = 0;
        for alloc in allocs {
            if alloc.client_terminal() {
                continue;
            }
            if super::node_gone(self.snapshot, alloc.node_id) {
                self.stop(alloc, texts::LOST, Some(ClientStatus::Lost));
            } else if alloc.server_terminal() {
                continue;
            } else {
                self.stop(alloc, texts::NOT_NEEDED, None);
            }
            stopped += 1;
        }
        if stopped > 0 {
            self.counts.get_or_default(group.clone()).stop += stopped;
        }
    }

    fn stop(&mut self, alloc: &Allocation, description: &str, status: Option<ClientStatus>) {
        self.plan.stops.push(StoppedAlloc {
            alloc_id: alloc.id,
            node_id: alloc.node_id,
            description: description.into(),
            client_status: status,
            ..StoppedAlloc::default()
        });
    }

    fn update_in_place(&mut self, alloc: &Arc<Allocation>, job: &Arc<Job>) {
        let mut alloc = (**alloc).clone();
        alloc.job = Arc::clone(job);
        alloc.job_version = job.version;
        alloc.eval_id = self.eval.id;
        self.put(alloc);
    }

    fn put(&mut self, alloc: Allocation) {
        self.room -= 1;
        let of_node = self.plan.placements.entry(alloc.node_id);
        of_node.or_default().push(alloc);
    }

    /// Places the group on the node, in the room of `old` when there is one.
    fn put_new(
        &mut self,
        job: &Arc<Job>,
        group: &TaskGroup,
        at: usize,
        old: Option<&Arc<Allocation>>,
        fleet: &mut Fleet<'_>,
        cx: &mut Context,
    ) {
        if let Some(old) = old {
            fleet.release(old);
        }
        let entry = &fleet.nodes[at];
        let node = entry.node;
        let ask = Ask::of_group(group).on(node);
        let given = match Capacity::of(node).exhausted(&entry.usage, &ask) {
            Some(dimension) => Err(dimension.to_owned()),
            None => ports::allocate(group, node, &entry.usage),
        };
        let evicted = || {
            let allowed = self.snapshot.scheduler_config().preempts(job.job_type);
            let preemptions = &self.report.preemptions;
            let found = allowed.then(|| preemptions.find(self.snapshot, job, group, entry));
            found.flatten()
        };
        let mut victims = Vec::new();
        let mut given = match given.map_err(|dimension| (dimension, evicted())) {
            Ok(given) => {
                fleet.add(at, &given);
                given
            }
            Err((_, Some(eviction))) => {
                fleet.add_for_evicted(at, eviction.without, &eviction.given);
                victims = eviction.victims;
                eviction.given
            }
            Err((dimension, None)) => {
                if let Some(old) = old {
                    fleet.restore(at, old);
                }
                let shared = &self.shared;
                self.report
                    .fail(&group.name, || exhausted(shared, node, dimension));
                return;
            }
        };
        let config = self.snapshot.scheduler_config();
        if !config.memory_oversubscription_enabled {
            given.forget_memory_max();
        }
        if let Some(old) = old {
            self.stop(old, texts::UPDATING, None);
        }
        let mut alloc = Allocation {
            id: cx.ids.next_alloc(),
            namespace: job.namespace.clone(),
            eval_id: self.eval.id,
            name: AllocName::from(format!("{}.{}[0]", job.id, group.name)),
            node_id: node.id,
            node_name: node.name.clone(),
            job_id: job.id.clone(),
            task_group: group.name.clone(),
            job: Arc::clone(job),
            job_version: job.version,
            allocated_resources: given,
            metrics: Arc::clone(&self.shared),
            previous_allocation: old.map(|old| old.id),
            ..Allocation::default()
        };
        let preemptions = &mut self.report.preemptions;
        preemptions.evict(victims, &mut self.plan, &mut alloc);
        self.put(alloc);
    }
}

/// The allocation that stands for a group on a node.
enum Standing<'a> {
    Keep,
    InPlace(&'a Arc<Allocation>),
    Old(&'a Arc<Allocation>),
}

fn exhausted(shared: &AllocMetric, node: &crate::model::Node, dimension: String) -> AllocMetric {
    let mut metric = shared.clone();
    metric.nodes_exhausted = 1;
    if !node.node_class.is_empty() {
        metric.class_exhausted.insert(node.node_class.clone(), 1);
    }
    metric.dimension_exhausted.insert(dimension, 1);
    metric
}

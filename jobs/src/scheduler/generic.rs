//! Service and batch jobs: finds places for what the comparison wants.

use super::{
    Context, Outcome,
    feasible::Unfit,
    fleet::Fleet,
    ports::allocate,
    preempt::{Eviction, Preemptions},
    rank::Candidates,
    reconcile::{self, Input, Placement, ReconcileResult, Replacement, texts},
};
use crate::{
    model::{
        AllocDeploymentStatus, AllocId, AllocMetric, AllocatedResources, Allocation, DeploymentId,
        Evaluation, FlatMap, GroupName, Job, NodeId, NodeScore, NodeUsage, Plan, PlanAnnotations,
        RescheduleEvent, RescheduleTracker, Span, StoppedAlloc, TaskGroup, Timestamp,
    },
    state::Snapshot,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Up to this many placements of an evaluation keep their own scores; more share one metric.
const OWN_METRICS_MAX: usize = 16;
/// Nodes on which others could make room, among which the best is taken.
const EVICTING_NODES_MAX: usize = 16;
/// How many earlier replacements are remembered where there is no limit on attempts.
const TRACKED_EVENTS_MAX: usize = 5;

pub(super) fn process(
    snapshot: &Snapshot,
    eval: &Evaluation,
    job: Option<&Arc<Job>>,
    cx: &mut Context,
) -> Outcome {
    let key = eval.job_key();
    let node_gone = |id: NodeId| super::node_gone(snapshot, id);
    let unfit = RefCell::new(Unfit::default());
    let in_place = |alloc: &Allocation, group: &TaskGroup| {
        job.is_some_and(|job| {
            super::stays_feasible(snapshot, job, group, alloc, &mut unfit.borrow_mut())
        })
    };
    let input = Input {
        job,
        eval,
        allocs: snapshot.allocs_of_job(&key).collect(),
        deployment: snapshot.latest_deployment(&key),
        node_gone: &node_gone,
        in_place: &in_place,
        now: cx.now,
    };
    let mut wanted = reconcile::reconcile(&input, &mut cx.ids);
    let annotations = PlanAnnotations {
        desired_tg_updates: std::mem::take(&mut wanted.counts),
        ..PlanAnnotations::default()
    };
    let mut followups = std::mem::take(&mut wanted.followups);
    let plan = Plan {
        eval_id: eval.id,
        job: job.cloned(),
        all_at_once: job.is_some_and(|job| job.all_at_once),
        deployment: wanted.deployment.take(),
        deployment_updates: std::mem::take(&mut wanted.deployment_updates),
        stops: std::mem::take(&mut wanted.stop),
        snapshot_index: snapshot.index(),
        ..Plan::default()
    };
    let Some(job) = job.filter(|job| !job.stop) else {
        return super::conclude(
            snapshot,
            eval,
            plan,
            Report::default(),
            followups,
            annotations,
            cx,
        );
    };
    let mut placer = Placer::new(snapshot, eval, job, &wanted, plan, cx);
    placer.fleet.unfit = unfit.into_inner();
    for alloc in std::mem::take(&mut wanted.in_place) {
        if placer.has_room_for(&alloc.task_group) {
            placer.update_in_place(&alloc, job);
        }
    }
    for placement in std::mem::take(&mut wanted.place) {
        if placer.has_room_for(&placement.group) {
            placer.place(placement);
        }
    }
    for replacement in std::mem::take(&mut wanted.replace) {
        if placer.has_room_for(&replacement.old.task_group) {
            placer.replace(replacement, job);
        }
    }
    let Placer {
        mut plan,
        mut report,
        is_cut,
        ..
    } = placer;
    if is_cut {
        followups.push(super::next_eval(eval, cx));
    }
    if plan.all_at_once && !report.failed.is_empty() {
        for placed in plan.placements.values().flatten() {
            *report.queued.get_or_default(placed.task_group.clone()) += 1;
        }
        plan.placements.clear();
        report.preemptions.undo(&mut plan);
    }
    super::conclude(snapshot, eval, plan, report, followups, annotations, cx)
}

/// What could not be placed.
#[derive(Default)]
pub(super) struct Report {
    pub(super) failed: FlatMap<GroupName, AllocMetric>,
    pub(super) queued: FlatMap<GroupName, u32>,
    /// Groups whose replacements wait for allocations that are stopping, and what their nodes lack
    /// until then. No failure: nobody is told.
    pub(super) postponed: FlatMap<GroupName, AllocMetric>,
    /// Groups that no node may run, of jobs that want one on each: nothing waits for room.
    pub(super) filtered: FlatMap<GroupName, AllocMetric>,
    pub(super) preemptions: Preemptions,
}

impl Report {
    /// The first failure of a group is told in full, the others are counted.
    pub(super) fn fail(&mut self, group: &GroupName, metric: impl FnOnce() -> AllocMetric) {
        *self.queued.get_or_default(group.to_owned()) += 1;
        match self.failed.get_mut(group) {
            Some(first) => first.coalesced_failures += 1,
            None => {
                self.failed.insert(group.clone(), metric());
            }
        }
    }
}

/// Which candidates: the group in one version of the job.
type CandidatesKey = (GroupName, u64);

struct Placer<'a, 'c> {
    snapshot: &'a Snapshot,
    eval: &'a Evaluation,
    cx: &'c mut Context,
    fleet: Fleet<'a>,
    sets: BTreeMap<CandidatesKey, Candidates>,
    /// Group to node to the live allocations there that the plan keeps.
    on_node: BTreeMap<GroupName, BTreeMap<NodeId, u32>>,
    deployment_id: Option<DeploymentId>,
    /// Groups that the deployment covers.
    rolling: BTreeSet<GroupName>,
    plan: Plan,
    report: Report,
    /// Some allocation of the job is stopping and gives its room back soon.
    stopping: bool,
    /// Allocations that the plan may still place or update.
    room: usize,
    /// Something is left for another evaluation.
    is_cut: bool,
    /// Placements still to be made with their own scores.
    own_metrics: usize,
    shared_metrics: BTreeMap<GroupName, Arc<AllocMetric>>,
}

/// A place that was found.
struct Found {
    fleet_at: usize,
    given: AllocatedResources,
    metric: Arc<AllocMetric>,
    evicts: Option<Evicts>,
}

/// Those who make a place, and what is taken there without them.
struct Evicts {
    victims: Vec<Arc<Allocation>>,
    without: NodeUsage,
}

impl<'a, 'c> Placer<'a, 'c> {
    fn new(
        snapshot: &'a Snapshot,
        eval: &'a Evaluation,
        job: &Job,
        wanted: &ReconcileResult,
        plan: Plan,
        cx: &'c mut Context,
    ) -> Self {
        let deployment = plan
            .deployment
            .as_ref()
            .or_else(|| snapshot.deployment(wanted.deployment_id?).map(|d| &**d));
        let rolling = deployment
            .iter()
            .flat_map(|d| d.task_groups.keys().cloned())
            .collect();
        let stopped: BTreeSet<AllocId> = plan.stops.iter().map(|s| s.alloc_id).collect();
        let mut on_node: BTreeMap<GroupName, BTreeMap<NodeId, u32>> = BTreeMap::new();
        let mut stopping = false;
        let mut leaving = Vec::new();
        for alloc in snapshot.allocs_of_job(&job.key()) {
            let ends = alloc.server_terminal() || stopped.contains(&alloc.id);
            stopping |=
                ends && !alloc.client_terminal() && !super::node_gone(snapshot, alloc.node_id);
            if ends && !alloc.client_terminal() {
                leaving.push(alloc);
            }
            if ends || alloc.client_terminal() {
                continue;
            }
            let of_group = on_node.entry(alloc.task_group.clone()).or_default();
            *of_group.entry(alloc.node_id).or_default() += 1;
        }
        let report = Report {
            queued: job
                .task_groups
                .iter()
                .map(|g| (g.name.clone(), 0))
                .collect(),
            ..Report::default()
        };
        let wants = wanted.place.len() + wanted.replace.len();
        let mut fleet = if wants == 0 {
            Fleet::empty()
        } else {
            Fleet::new(snapshot, job)
        };
        for alloc in leaving {
            fleet.leave(alloc);
        }
        // Room comes back with the proof that an allocation is over; of those on lost nodes none
        // will come.
        for stop in plan.stops.iter().filter(|s| s.client_status.is_some()) {
            if let Some(alloc) = snapshot.alloc(stop.alloc_id)
                && let Some(at) = fleet.release(alloc)
            {
                fleet.stay(at, alloc);
            }
        }
        let room = if plan.all_at_once {
            usize::MAX
        } else {
            cx.plan_allocs_max
        };
        Self {
            snapshot,
            eval,
            cx,
            fleet,
            sets: BTreeMap::new(),
            on_node,
            deployment_id: wanted.deployment_id,
            rolling,
            stopping,
            room,
            is_cut: false,
            plan,
            report,
            own_metrics: if wants <= OWN_METRICS_MAX { wants } else { 0 },
            shared_metrics: BTreeMap::new(),
        }
    }

    /// Whether one more allocation of the group fits the plan; otherwise it is left for another
    /// evaluation.
    fn has_room_for(&mut self, group: &str) -> bool {
        if self.room == 0 {
            self.is_cut = true;
            *self.report.queued.get_or_default(group.into()) += 1;
        }
        self.room > 0
    }

    /// Rewrites an allocation with the current version, where it is.
    fn update_in_place(&mut self, row: &Allocation, job: &Arc<Job>) {
        let mut alloc = row.clone();
        alloc.job = Arc::clone(job);
        alloc.job_version = job.version;
        alloc.eval_id = self.eval.id;
        alloc.deployment_status = None;
        alloc.deployment_id = self
            .deployment_id
            .filter(|_| self.rolling.contains(&alloc.task_group));
        self.put(alloc);
    }

    fn put(&mut self, alloc: Allocation) {
        self.room = self.room.saturating_sub(1);
        match self.plan.placements.get_mut(&alloc.node_id) {
            Some(of_node) => of_node.push(alloc),
            None => {
                self.plan.placements.insert(alloc.node_id, vec![alloc]);
            }
        }
    }

    fn place(&mut self, placement: Placement) {
        let Some(group) = placement.job.task_group(&placement.group) else {
            return;
        };
        if self.report.failed.contains_key(&placement.group) {
            self.report.fail(&placement.group, AllocMetric::default);
            return;
        }
        let penalized = self.penalized(&placement);
        let preferred = placement
            .previous
            .as_ref()
            .filter(|_| group.ephemeral_disk.sticky)
            .and_then(|previous| self.fleet.position(previous.node_id));
        let key = self.candidates(&placement.job, group);
        let refused = match self.find(&key, group, &penalized, preferred) {
            Ok(found) => return self.commit(&placement, found),
            Err(refused) => refused,
        };
        // What moves away makes room for its own successor.
        let moving = placement
            .previous
            .clone()
            .filter(|old| !old.client_terminal() && !(self.node_gone(old.node_id)));
        let freed = moving.and_then(|old| Some((self.fleet.release(&old)?, old)));
        if let Some((at, old)) = freed {
            self.refresh(at);
            match self.find(&key, group, &penalized, Some(at)) {
                Ok(found) => return self.commit(&placement, found),
                Err(_) => {
                    self.fleet.restore(at, &old);
                    self.refresh(at);
                }
            }
        }
        match self.find_evicting(&key, &placement.job, group, &penalized) {
            Some(found) => self.commit(&placement, found),
            None => self.fail(&key, &refused),
        }
    }

    fn node_gone(&self, id: NodeId) -> bool {
        super::node_gone(self.snapshot, id)
    }

    fn refresh(&mut self, fleet_at: usize) {
        for set in self.sets.values_mut() {
            set.refresh(fleet_at, &self.fleet);
        }
    }

    /// Replaces an old allocation: beside it where there is room, in its place otherwise.
    fn replace(&mut self, replacement: Replacement, job: &Arc<Job>) {
        let Replacement { old, side_by_side } = replacement;
        let Some(group) = job.task_group(&old.task_group) else {
            return;
        };
        let mut placement = Placement {
            name: old.name.clone(),
            group: old.task_group.clone(),
            job: Arc::clone(job),
            previous: None,
            canary: false,
            reschedule: false,
        };
        let key = self.candidates(job, group);
        let nobody = BTreeSet::new();
        let left = self.leave(&old);
        match self.find(&key, group, &nobody, None) {
            Ok(found) => {
                if !side_by_side {
                    self.stop_for(&mut placement, &old);
                }
                return self.commit(&placement, found);
            }
            Err(refused) if side_by_side && self.stopping => {
                self.stay(left, &old);
                return self.postpone(&key, &refused);
            }
            Err(_) => {}
        }
        self.stay(left, &old);
        let freed = self.fleet.release(&old);
        self.recount(freed, &old.task_group, false);
        match self.find(&key, group, &nobody, freed) {
            Ok(found) => {
                self.stop_for(&mut placement, &old);
                self.commit(&placement, found);
            }
            Err(refused) => {
                // Its room is nobody else's before it is over, wherever its successor goes.
                if let Some(at) = freed {
                    self.fleet.restore(at, &old);
                }
                self.recount(freed, &old.task_group, true);
                let Some(found) = self.find_evicting(&key, job, group, &nobody) else {
                    // The old one stays: better than nothing.
                    return self.fail(&key, &refused);
                };
                self.stop_for(&mut placement, &old);
                self.commit(&placement, found);
            }
        }
    }

    /// Scores look beyond `old` from now on. Returns where it is.
    fn leave(&mut self, old: &Allocation) -> Option<usize> {
        let at = self.fleet.leave(old)?;
        for ((of_group, _), set) in &mut self.sets {
            set.leave(at, &self.fleet, *of_group == old.task_group);
        }
        Some(at)
    }

    /// Takes that back.
    fn stay(&mut self, left: Option<usize>, old: &Allocation) {
        let Some(at) = left else { return };
        self.fleet.stay(at, old);
        for ((of_group, _), set) in &mut self.sets {
            set.stay(at, &self.fleet, *of_group == old.task_group);
        }
    }

    /// Stops `old` in this plan and makes the placement its successor.
    fn stop_for(&mut self, placement: &mut Placement, old: &Arc<Allocation>) {
        placement.previous = Some(Arc::clone(old));
        self.plan.stops.push(StoppedAlloc {
            alloc_id: old.id,
            node_id: old.node_id,
            description: texts::UPDATING.into(),
            ..StoppedAlloc::default()
        });
    }

    /// Room is about to come back: better to wait for it than to stop the old one first.
    fn postpone(&mut self, key: &CandidatesKey, refused: &BTreeMap<usize, String>) {
        if let Some(set) = self.sets.get(key) {
            let metric = set.failure(&self.fleet, refused);
            let postponed = &mut self.report.postponed;
            if !postponed.contains_key(&key.0) {
                postponed.insert(key.0.clone(), metric);
            }
        }
    }

    fn recount(&mut self, fleet_at: Option<usize>, group: &str, placed: bool) {
        if let Some(at) = fleet_at {
            for ((of_group, _), set) in &mut self.sets {
                set.count(at, &self.fleet, placed, of_group == group);
            }
        }
    }

    fn fail(&mut self, key: &CandidatesKey, refused: &BTreeMap<usize, String>) {
        let (sets, fleet) = (&self.sets, &self.fleet);
        self.report.fail(&key.0, || {
            sets.get(key)
                .map(|set| set.failure(fleet, refused))
                .unwrap_or_default()
        });
    }

    fn candidates(&mut self, job: &Job, group: &TaskGroup) -> CandidatesKey {
        let key = (group.name.clone(), job.version);
        if !self.sets.contains_key(&key) {
            let mut on_node: BTreeMap<NodeId, (u32, u32)> = BTreeMap::new();
            for (of_group, nodes) in &self.on_node {
                for (node, count) in nodes {
                    let counts = on_node.entry(*node).or_default();
                    counts.1 += count;
                    if *of_group == group.name {
                        counts.0 += count;
                    }
                }
            }
            let ids = &mut self.cx.ids;
            let set = Candidates::new(&mut self.fleet, job, group, &on_node, ids);
            self.sets.insert(key.clone(), set);
        }
        key
    }

    /// Nodes on which predecessors failed.
    fn penalized(&self, placement: &Placement) -> BTreeSet<usize> {
        let Some(previous) = placement.previous.as_ref().filter(|_| placement.reschedule) else {
            return BTreeSet::new();
        };
        let earlier = previous
            .reschedule_tracker
            .iter()
            .flat_map(|tracker| &tracker.events)
            .map(|event| event.prev_node_id);
        earlier
            .chain([previous.node_id])
            .filter_map(|id| self.fleet.position(id))
            .collect()
    }

    /// The best node with room and ports; the dimension that each tried node lacks otherwise.
    fn find(
        &mut self,
        key: &CandidatesKey,
        group: &TaskGroup,
        penalized: &BTreeSet<usize>,
        preferred: Option<usize>,
    ) -> Result<Found, BTreeMap<usize, String>> {
        let mut refused = BTreeMap::new();
        let mut tried = BTreeSet::new();
        let Some(set) = self.sets.get_mut(key) else {
            return Err(refused);
        };
        let mut next = preferred
            .filter(|at| set.is_open(*at))
            .or_else(|| set.best(penalized, &tried));
        while let Some(fleet_at) = next {
            let entry = &self.fleet.nodes[fleet_at];
            match allocate(group, entry.node, &entry.usage) {
                Ok(given) => {
                    let metric = self.metric_for(key, fleet_at, penalized);
                    return Ok(Found {
                        fleet_at,
                        given,
                        metric,
                        evicts: None,
                    });
                }
                Err(dimension) => {
                    refused.insert(fleet_at, dimension);
                    tried.insert(fleet_at);
                }
            }
            next = self
                .sets
                .get_mut(key)
                .and_then(|set| set.best(penalized, &tried));
        }
        Err(refused)
    }

    /// The best node on which less important allocations make room.
    fn find_evicting(
        &mut self,
        key: &CandidatesKey,
        job: &Job,
        group: &TaskGroup,
        penalized: &BTreeSet<usize>,
    ) -> Option<Found> {
        if !self.snapshot.scheduler_config().preempts(job.job_type) {
            return None;
        }
        let set = self.sets.get_mut(key)?;
        set.look_again();
        let set = &*set;
        let mut best: Option<(NodeScore, usize, Eviction)> = None;
        let mut scores = Vec::new();
        for fleet_at in set.allowed() {
            let entry = &self.fleet.nodes[fleet_at];
            let preemptions = &self.report.preemptions;
            let Some(eviction) = preemptions.find(self.snapshot, job, group, entry) else {
                continue;
            };
            let score = set.evicting(&self.fleet, fleet_at, &eviction, penalized);
            scores.push(score.clone());
            if best
                .as_ref()
                .is_none_or(|(top, ..)| score.norm_score > top.norm_score)
            {
                best = Some((score, fleet_at, eviction));
            }
            if scores.len() == EVICTING_NODES_MAX {
                break;
            }
        }
        let (_, fleet_at, eviction) = best?;
        let Eviction {
            victims,
            given,
            without,
        } = eviction;
        Some(Found {
            fleet_at,
            given,
            metric: Arc::new(set.metric_of(scores)),
            evicts: Some(Evicts { victims, without }),
        })
    }

    fn metric_for(
        &mut self,
        key: &CandidatesKey,
        fleet_at: usize,
        penalized: &BTreeSet<usize>,
    ) -> Arc<AllocMetric> {
        let Some(set) = self.sets.get(key) else {
            return Arc::default();
        };
        if self.own_metrics > 0 {
            self.own_metrics -= 1;
            return Arc::new(set.success(&self.fleet, fleet_at, penalized));
        }
        let shared = self
            .shared_metrics
            .entry(key.0.clone())
            .or_insert_with(|| Arc::new(set.metric().clone()));
        Arc::clone(shared)
    }

    fn commit(&mut self, placement: &Placement, found: Found) {
        let Found {
            fleet_at,
            mut given,
            metric,
            evicts,
        } = found;
        let config = self.snapshot.scheduler_config();
        if !config.memory_oversubscription_enabled {
            given.forget_memory_max();
        }
        let victims = match evicts {
            Some(Evicts { victims, without }) => {
                self.fleet.add_for_evicted(fleet_at, without, &given);
                victims
            }
            None => {
                self.fleet.add(fleet_at, &given);
                Vec::new()
            }
        };
        self.recount(Some(fleet_at), &placement.group, true);
        let key = (placement.group.clone(), placement.job.version);
        if let Some(set) = self.sets.get_mut(&key) {
            set.look_again();
        }
        let node = self.fleet.nodes[fleet_at].node;
        let mut alloc = Allocation {
            id: self.cx.ids.next_alloc(),
            namespace: placement.job.namespace.clone(),
            eval_id: self.eval.id,
            name: placement.name.clone(),
            node_id: node.id,
            node_name: node.name.clone(),
            job_id: placement.job.id.clone(),
            task_group: placement.group.clone(),
            job: Arc::clone(&placement.job),
            job_version: placement.job.version,
            allocated_resources: given,
            metrics: metric,
            ..Allocation::default()
        };
        // A stand-in of an older version is no part of the deployment.
        let current = self
            .plan
            .job
            .as_ref()
            .is_some_and(|job| job.version == placement.job.version);
        if current && self.rolling.contains(&placement.group) {
            alloc.deployment_id = self.deployment_id;
            if placement.canary {
                // Those that get a share of their own get nothing before they are looked at.
                let policy = alloc.group().map(|group| group.rollout_policy());
                let is_governed = policy.is_some_and(|policy| policy.is_governed());
                alloc.deployment_status = Some(Box::new(AllocDeploymentStatus {
                    canary: true,
                    share: is_governed.then_some(0),
                    ..AllocDeploymentStatus::default()
                }));
            }
        }
        if let Some(previous) = &placement.previous {
            self.succeed(&mut alloc, previous, placement.reschedule);
        }
        let preemptions = &mut self.report.preemptions;
        preemptions.evict(victims, &mut self.plan, &mut alloc);
        self.put(alloc);
    }

    /// Makes `alloc` the successor of `previous`, with its history.
    fn succeed(&mut self, alloc: &mut Allocation, previous: &Allocation, reschedule: bool) {
        alloc.previous_allocation = Some(previous.id);
        alloc
            .reschedule_tracker
            .clone_from(&previous.reschedule_tracker);
        if !reschedule {
            return;
        }
        alloc.reschedule_tracker = Some(Box::new(next_tracker(previous, self.cx.now)));
        self.plan.stops.push(StoppedAlloc {
            alloc_id: previous.id,
            node_id: previous.node_id,
            description: texts::RESCHEDULED.into(),
            ..StoppedAlloc::default()
        });
    }
}

fn next_tracker(previous: &Allocation, now: Timestamp) -> RescheduleTracker {
    let mut events = previous
        .reschedule_tracker
        .as_ref()
        .map(|tracker| tracker.events.clone())
        .unwrap_or_default();
    let policy = previous.group().and_then(|g| g.reschedule_policy.as_ref());
    let mut delay = Span::ZERO;
    if let Some(policy) = policy {
        delay = reconcile::next_delay(policy, previous, previous.failed_at());
        if policy.unlimited {
            let surplus = events.len().saturating_sub(TRACKED_EVENTS_MAX - 1);
            events.drain(..surplus);
        } else {
            let since = previous.failed_at() - policy.interval;
            events.retain(|event| event.reschedule_time > since);
        }
    }
    events.push(RescheduleEvent {
        reschedule_time: now,
        prev_alloc_id: previous.id,
        prev_node_id: previous.node_id,
        delay,
    });
    RescheduleTracker { events }
}

use super::Action;
use crate::{
    model::{
        Allocation, EvalId, EvalStatus, Evaluation, GroupName, Index, Job, JobKey, Node, NodeId,
        NodeUsage, Room, TaskGroup, Timestamp,
    },
    scheduler,
    state::{AllocChange, Applied, Snapshot, Table},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most evaluations woken by one log entry; the rest waits for the next one.
pub const WOKEN_MAX: usize = 256;

/// Order of waking: priority, then age.
type Order = (Reverse<i32>, Index, EvalId);
/// Everything that decides where a group may be placed; groups of many jobs share one.
type ShapeKey = String;

/// Keeps evaluations that wait for capacity and wakes them when some comes: only as many as the
/// freed room takes, the highest priority first.
///
/// Invariants:
/// 1. A waiting evaluation stands in the shape of each of its groups that could not be placed.
/// 2. An evaluation is woken for a node only if the node got room after the evaluation was last
///    decided about.
/// 3. The room that woken evaluations were promised is offered to nobody else until they are
///    decided about.
#[derive(Debug, Default)]
pub struct Blocked {
    waiting: BTreeMap<Order, Waiting>,
    by_job: BTreeMap<JobKey, Order>,
    shapes: BTreeMap<ShapeKey, Shape>,
    /// Node id to the index at which it last got room: an evaluation that was decided about before,
    /// but written after, must not miss it.
    freed: BTreeMap<NodeId, Index>,
    freed_at: BTreeSet<(Index, NodeId)>,
    /// Id of a woken evaluation to the nodes on which it was promised room.
    promised: BTreeMap<EvalId, BTreeSet<NodeId>>,
    /// Node id to what is promised there, by evaluation.
    promised_on: BTreeMap<NodeId, BTreeMap<EvalId, Vec<Room>>>,
    /// Nodes with room for more than were woken at once; looked at again with the next entry.
    unfinished: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct Waiting {
    eval: Arc<Evaluation>,
    /// Shape to the number of allocations that wait.
    wants: BTreeMap<ShapeKey, u32>,
}

/// Groups that suit the same nodes and take the same room.
#[derive(Debug)]
struct Shape {
    /// One of the jobs.
    job: Arc<Job>,
    /// Its group.
    group: GroupName,
    waiting: BTreeSet<Order>,
}

impl Shape {
    fn group(&self) -> Option<&TaskGroup> {
        self.job.task_group(&self.group)
    }
}

impl Blocked {
    /// Takes up every blocked evaluation of the state; forgets everything else. Those that could be
    /// placed already are woken.
    pub fn restore(&mut self, _now: Timestamp, state: &Snapshot) -> Vec<Action> {
        *self = Self::default();
        for eval in state.open_evals() {
            if eval.status == EvalStatus::Blocked {
                self.keep(state, eval);
            }
        }
        // Whoever was decided about before this index may have missed room.
        let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
        for node in state.nodes("").filter(|node| node.is_ready()) {
            self.note_freed(node.id, state.index());
            nodes.insert(node.id);
        }
        self.wake(state, nodes)
    }

    /// Takes note of blocked evaluations, ended allocations and changed nodes.
    pub fn on_applied(
        &mut self,
        _now: Timestamp,
        state: &Snapshot,
        applied: &Applied,
    ) -> Vec<Action> {
        let mut nodes = std::mem::take(&mut self.unfinished);
        let mut freed: BTreeSet<NodeId> = BTreeSet::new();
        for change in &applied.allocs {
            let held = change.before.as_ref().is_some_and(|a| !a.client_terminal());
            let holds = change.after.as_ref().is_some_and(|a| !a.client_terminal());
            if let Some(row) = change
                .row()
                .filter(|_| held && !holds || is_less_important(change))
            {
                freed.insert(row.node_id);
            }
        }
        if applied.tables.contains(&Table::SchedulerConfig) {
            // Whose room may be taken is different now.
            let ready = state.nodes("").filter(|node| node.is_ready());
            freed.extend(ready.map(|node| node.id));
        }
        freed.extend(own_places(state, applied));
        for change in &applied.nodes {
            match (&change.after, &change.before) {
                (Some(after), _) if after.is_ready() => {
                    freed.insert(after.id);
                }
                (None, Some(before)) => self.forget_node(before.id),
                _ => {}
            }
        }
        for node_id in freed {
            self.note_freed(node_id, state.index());
            nodes.insert(node_id);
        }
        for eval in &applied.evals {
            nodes.extend(self.release(eval.id));
            if eval.status == EvalStatus::Blocked {
                self.keep(state, eval);
                nodes.extend(self.freed_since(eval.snapshot_index));
            } else {
                self.forget(eval);
            }
        }
        if nodes.is_empty() || self.waiting.is_empty() {
            return Vec::new();
        }
        self.wake(state, nodes)
    }

    fn note_freed(&mut self, node_id: NodeId, at: Index) {
        if let Some(before) = self.freed.insert(node_id, at) {
            self.freed_at.remove(&(before, node_id));
        }
        self.freed_at.insert((at, node_id));
    }

    fn forget_node(&mut self, node_id: NodeId) {
        if let Some(at) = self.freed.remove(&node_id) {
            self.freed_at.remove(&(at, node_id));
        }
    }

    /// Nodes that got room after the snapshot of that index.
    fn freed_since(&self, index: Index) -> impl Iterator<Item = NodeId> + '_ {
        let first = (index.saturating_add(1), NodeId::default());
        self.freed_at.range(first..).map(|(_, id)| *id)
    }

    /// Evaluations kept.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when none is kept.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn keep(&mut self, state: &Snapshot, eval: &Arc<Evaluation>) {
        if let Some(older) = self.by_job.get(&eval.job_key()).cloned() {
            self.remove(&older);
        }
        let order = (Reverse(eval.priority), eval.create_index, eval.id);
        let mut wants: BTreeMap<ShapeKey, u32> = BTreeMap::new();
        if let Some(job) = state.job(&eval.job_key()) {
            for (name, metric) in &eval.failed_tg_allocs {
                let Some(group) = job.task_group(name) else {
                    continue;
                };
                let key = shape_key(job, group);
                *wants.entry(key.clone()).or_default() +=
                    metric.coalesced_failures.saturating_add(1);
                let shape = self.shapes.entry(key).or_insert_with(|| Shape {
                    job: Arc::clone(job),
                    group: name.clone(),
                    waiting: BTreeSet::new(),
                });
                shape.waiting.insert(order);
            }
        }
        self.by_job.insert(eval.job_key(), order);
        let eval = Arc::clone(eval);
        self.waiting.insert(order, Waiting { eval, wants });
    }

    fn forget(&mut self, eval: &Evaluation) {
        let order = self.by_job.get(&eval.job_key());
        if let Some(order) = order.filter(|order| order.2 == eval.id).cloned() {
            self.remove(&order);
        }
    }

    fn remove(&mut self, order: &Order) -> Option<Arc<Evaluation>> {
        let waiting = self.waiting.remove(order)?;
        self.by_job.remove(&waiting.eval.job_key());
        for key in waiting.wants.keys() {
            if let Some(shape) = self.shapes.get_mut(key) {
                shape.waiting.remove(order);
                if shape.waiting.is_empty() {
                    self.shapes.remove(key);
                }
            }
        }
        Some(waiting.eval)
    }

    /// Takes back what an evaluation was promised, because it was decided about; answers with the
    /// nodes.
    fn release(&mut self, eval_id: EvalId) -> BTreeSet<NodeId> {
        let nodes = self.promised.remove(&eval_id).unwrap_or_default();
        for node_id in &nodes {
            if let Some(of_node) = self.promised_on.get_mut(node_id) {
                of_node.remove(&eval_id);
                if of_node.is_empty() {
                    self.promised_on.remove(node_id);
                }
            }
        }
        nodes
    }

    fn wake(&mut self, state: &Snapshot, ids: BTreeSet<NodeId>) -> Vec<Action> {
        let mut woken: BTreeSet<Order> = BTreeSet::new();
        for id in ids {
            if woken.len() >= WOKEN_MAX {
                self.unfinished.insert(id);
                continue;
            }
            if let (Some(node), Some(freed)) = (state.node(id), self.freed.get(&id).copied()) {
                self.offer(state, node, freed, &mut woken);
            }
        }
        let mut actions = Vec::with_capacity(woken.len());
        for order in &woken {
            if let Some(eval) = self.remove(order) {
                actions.push(Action::Enqueue(eval));
            }
        }
        actions
    }

    /// Promises the room of one node to those who wait, the first first.
    fn offer(
        &mut self,
        state: &Snapshot,
        node: &Arc<Node>,
        freed: Index,
        woken: &mut BTreeSet<Order>,
    ) {
        let mut usage: NodeUsage = state
            .node_usage(node.id)
            .map(|usage| (**usage).clone())
            .unwrap_or_default();
        let promised = self.promised_on.get(&node.id).into_iter();
        for room in promised.flat_map(BTreeMap::values).flatten() {
            usage.promise(room);
        }
        // Shape to the room that one allocation takes; those that find none are left out.
        let mut open: BTreeMap<&ShapeKey, Room> = BTreeMap::new();
        for (key, shape) in &self.shapes {
            let room = shape
                .group()
                .and_then(|group| scheduler::room_for(state, &shape.job, group, node, &usage));
            if let Some(room) = room {
                open.insert(key, room);
            }
        }
        let mut promises: Vec<(Order, ShapeKey, Room)> = Vec::new();
        // What was promised in this turn, by evaluation and shape.
        let mut given: BTreeMap<(&Order, &ShapeKey), u32> = BTreeMap::new();
        while !open.is_empty() {
            let first = open
                .iter()
                .filter_map(|(key, room)| {
                    let shape = self.shapes.get(*key)?;
                    let order = shape.waiting.iter().find(|order| {
                        self.waiting.get(order).is_some_and(|waiting| {
                            let wants = waiting.wants.get(*key).copied().unwrap_or(0);
                            let has = given.get(&(*order, *key)).copied().unwrap_or(0);
                            waiting.eval.snapshot_index < freed && has < wants
                        })
                    })?;
                    Some((order, *key, room.clone()))
                })
                .min_by(|a, b| a.0.cmp(b.0));
            let Some((order, key, room)) = first else {
                break;
            };
            if woken.len() >= WOKEN_MAX && !woken.contains(order) {
                self.unfinished.insert(node.id);
                break;
            }
            usage.promise(&room);
            woken.insert(*order);
            *given.entry((order, key)).or_default() += 1;
            promises.push((*order, key.clone(), room));
            open.retain(|_, room| room.fits(node, &usage));
        }
        for (order, key, room) in promises {
            self.promise(&order, &key, node.id, room);
        }
    }

    fn promise(&mut self, order: &Order, key: &ShapeKey, node_id: NodeId, room: Room) {
        if let Some(waiting) = self.waiting.get_mut(order)
            && let Some(wants) = waiting.wants.get_mut(key)
        {
            *wants = wants.saturating_sub(1);
        }
        let eval_id = order.2;
        let of_node = self.promised_on.entry(node_id).or_default();
        of_node.entry(eval_id).or_default().push(room);
        let nodes = self.promised.entry(eval_id).or_default();
        nodes.insert(node_id);
    }
}

/// Nodes with allocations of an older version, of the jobs whose last stopping allocation ended.
/// While one is stopping, replacements wait for its room, to come up beside what they replace; if
/// others get that room, they take the places of what they replace.
fn own_places(state: &Snapshot, applied: &Applied) -> BTreeSet<NodeId> {
    let is_stopping = |alloc: &Allocation| alloc.server_terminal() && !alloc.client_terminal();
    let ended = applied.allocs.iter().filter_map(|change| {
        let before = change
            .before
            .as_ref()
            .filter(|before| is_stopping(before))?;
        let after = change.after.as_ref();
        after
            .is_none_or(|after| after.client_terminal())
            .then(|| before.job_key())
    });
    let jobs: BTreeSet<JobKey> = ended.collect();
    let mut nodes = BTreeSet::new();
    for key in &jobs {
        let Some(job) = state.job(key).filter(|job| job.version > 0) else {
            continue;
        };
        if state.allocs_of_job(key).any(|alloc| is_stopping(alloc)) {
            continue;
        }
        let older = state.allocs_of_job(key);
        let older = older.filter(|alloc| alloc.job_version != job.version && !alloc.is_terminal());
        nodes.extend(older.map(|alloc| alloc.node_id));
    }
    nodes
}

/// True when others may take the room of the allocation that they could not take before.
fn is_less_important(change: &AllocChange) -> bool {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => after.job.priority < before.job.priority,
        _ => false,
    }
}

/// Two groups with the same key suit the same nodes and take the same room, also that of others. A
/// job that may still have allocations of an older version, whose room it can use, stands alone.
fn shape_key(job: &Job, group: &TaskGroup) -> ShapeKey {
    let tasks: Vec<_> = group
        .tasks
        .iter()
        .map(|task| (&task.driver, &task.resources, &task.constraints))
        .collect();
    let alone = (job.version > 0).then(|| (job.key(), job.version, &group.name));
    format!(
        "{:?}",
        (
            (&job.datacenters, &job.node_pool, &job.constraints),
            (
                &group.constraints,
                &group.networks,
                group.ephemeral_disk.size_mb
            ),
            tasks,
            alone,
            (job.job_type, job.priority),
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            AllocId, AllocMetric, AllocatedCpu, AllocatedResources, AllocatedTask, ClientStatus,
            DriverInfo, NodeStatus, PlanResult, Resources, Task,
        },
        state::{AllocUpdate, Command, RegisterJob, Stamp, State},
    };

    const SLOTS: i64 = 4;
    const SLOT_MHZ: i64 = 100;

    struct World {
        state: State,
        blocked: Blocked,
        index: Index,
    }

    impl World {
        /// One node whose slots are all taken by `full`, and `jobs` jobs that wait for one each.
        fn full(jobs: usize) -> Self {
            let mut world = Self {
                state: State::default(),
                blocked: Blocked::default(),
                index: 0,
            };
            let mut node = Node {
                id: NodeId::named("n"),
                datacenter: "dc1".into(),
                status: NodeStatus::Ready,
                ..Node::default()
            };
            node.node_resources.cpu.cpu_shares = SLOTS * SLOT_MHZ;
            node.node_resources.memory.memory_mb = 10_000;
            node.node_resources.disk.disk_mb = 1_000_000;
            let driver = DriverInfo {
                detected: true,
                healthy: true,
                ..DriverInfo::default()
            };
            node.drivers.insert("raw_exec".into(), driver);
            world.apply(Command::UpsertNode(Box::new(node)));
            world.register("full");
            let placements = (0..SLOTS).map(|at| alloc(&format!("a{at}"), "full"));
            world.apply(Command::ApplyPlans(vec![PlanResult {
                placements: placements.collect(),
                ..PlanResult::default()
            }]));
            for at in 0..jobs {
                let job = format!("job-{at:04}");
                world.register(&job);
                world.block(&job);
            }
            world
        }

        fn apply(&mut self, command: Command) -> Vec<String> {
            self.index += 1;
            let at = Stamp {
                index: self.index,
                now: Timestamp::from_nanos(1),
            };
            let applied = self.state.apply(at, command).unwrap();
            let actions = self
                .blocked
                .on_applied(at.now, self.state.current(), &applied);
            let woken = actions.into_iter().map(|action| match action {
                Action::Enqueue(eval) => eval.job_id.to_string(),
                Action::Propose(command) => panic!("{command:?}"),
            });
            woken.collect()
        }

        fn register(&mut self, id: &str) {
            let task = Task {
                name: "main".into(),
                driver: "raw_exec".into(),
                resources: Resources {
                    cpu: SLOT_MHZ,
                    memory_mb: 1,
                    ..Resources::default()
                },
                ..Task::default()
            };
            let job = Job {
                id: id.into(),
                namespace: "default".into(),
                datacenters: vec!["*".into()],
                task_groups: vec![TaskGroup {
                    name: "app".into(),
                    count: 1,
                    tasks: vec![task],
                    ..TaskGroup::default()
                }]
                .into(),
                ..Job::default()
            };
            self.apply(Command::RegisterJob(Box::new(RegisterJob {
                job,
                ..RegisterJob::default()
            })));
        }

        /// Writes the job's evaluation as decided about now and blocked.
        fn block(&mut self, job: &str) -> Vec<String> {
            let eval = Evaluation {
                id: EvalId::named(job),
                namespace: "default".into(),
                job_id: job.into(),
                priority: 50,
                status: EvalStatus::Blocked,
                snapshot_index: self.index,
                failed_tg_allocs: [("app".into(), AllocMetric::default())].into(),
                ..Evaluation::default()
            };
            self.apply(Command::UpsertEvals(vec![eval]))
        }

        /// Places the job's allocation and completes its evaluation.
        fn place(&mut self, job: &str) -> Vec<String> {
            let eval = Evaluation {
                id: EvalId::named(job),
                namespace: "default".into(),
                job_id: job.into(),
                status: EvalStatus::Complete,
                ..Evaluation::default()
            };
            self.apply(Command::ApplyPlans(vec![PlanResult {
                placements: vec![alloc(job, job)],
                evals: vec![eval],
                ..PlanResult::default()
            }]))
        }

        fn end(&mut self, id: &str) -> Vec<String> {
            let update = AllocUpdate {
                alloc_id: AllocId::named(id),
                client_status: ClientStatus::Complete,
                ..AllocUpdate::default()
            };
            self.apply(Command::UpdateAllocs {
                updates: vec![update],
                evals: Vec::new(),
            })
        }
    }

    fn alloc(id: &str, job: &str) -> Allocation {
        let task = AllocatedTask {
            cpu: AllocatedCpu {
                cpu_shares: SLOT_MHZ,
            },
            ..AllocatedTask::default()
        };
        let mut allocated_resources = AllocatedResources::default();
        allocated_resources.tasks.insert("main".into(), task);
        Allocation {
            id: AllocId::named(id),
            namespace: "default".into(),
            job_id: job.into(),
            task_group: "app".into(),
            node_id: NodeId::named("n"),
            allocated_resources,
            ..Allocation::default()
        }
    }

    #[test]
    fn a_freed_slot_wakes_one_evaluation_of_a_backlog() {
        let mut world = World::full(300);
        assert_eq!(world.end("a0"), ["job-0000"]);
        // A second slot while the first is promised.
        assert_eq!(world.end("a1"), ["job-0001"]);
        // The first used its room: nobody else is woken for it.
        assert!(world.place("job-0000").is_empty());
        assert!(world.place("job-0001").is_empty());
        assert_eq!(world.blocked.len(), 298);
    }

    #[test]
    fn room_that_was_promised_and_not_used_goes_to_the_next() {
        let mut world = World::full(3);
        assert_eq!(world.end("a0"), ["job-0000"]);
        // It could not use the room, for a reason that only the scheduler knows.
        assert_eq!(world.block("job-0000"), ["job-0001"]);
        assert_eq!(world.block("job-0001"), ["job-0002"]);
        // All have seen that room now: nobody is woken in circles.
        assert!(world.block("job-0002").is_empty());
        assert_eq!(world.end("a1"), ["job-0000", "job-0001"]);
    }

    #[test]
    fn room_that_came_between_a_decision_and_its_entry_is_not_missed() {
        let mut world = World::full(1);
        world.register("late");
        let seen = world.index;
        assert_eq!(world.end("a0"), ["job-0000"]);
        assert!(world.place("job-0000").is_empty());
        assert!(world.end("a1").is_empty());
        // Decided about before the second slot came back.
        world.index += 1;
        let eval = Evaluation {
            id: EvalId::named("late"),
            namespace: "default".into(),
            job_id: "late".into(),
            status: EvalStatus::Blocked,
            snapshot_index: seen,
            failed_tg_allocs: [("app".into(), AllocMetric::default())].into(),
            ..Evaluation::default()
        };
        assert_eq!(world.apply(Command::UpsertEvals(vec![eval])), ["late"]);
    }
}

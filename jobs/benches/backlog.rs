//! What a freed slot costs in a full cluster with a backlog: entries, log bytes, decisions and
//! time.
//!
//! Prints one line; `BACKLOG_JOBS` and `BACKLOG_SLOTS` change the size. No statistics: the run
//! itself is long.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a driver program that measures and prints"
)]

use jobs::{
    control::{Action, Blocked, Broker, triggers},
    ids::Ids,
    model::{
        AllocId, ClientStatus, DriverInfo, EphemeralDisk, Job, JobType, Node, NodeId, NodeStatus,
        Task, TaskGroup, Timestamp, Trigger,
    },
    scheduler::{Context, schedule_batch},
    state::{AllocUpdate, Command, RegisterJob, Stamp, State},
};
use std::{collections::VecDeque, env, sync::Arc, time::Instant};

const NOW: Timestamp = Timestamp::from_nanos(1);

const NODES: usize = 100;
const SLOTS_PER_NODE: usize = 10;
const SLOT_MHZ: i64 = 1_000;
/// As the server takes them.
const BATCH_MAX: usize = 256;

struct Cluster {
    state: State,
    broker: Broker,
    blocked: Blocked,
    ids: Ids,
    index: u64,
    seed: u64,
    /// Running allocations, oldest first.
    running: VecDeque<AllocId>,
    entries: usize,
    bytes: usize,
    decisions: usize,
}

impl Cluster {
    fn apply(&mut self, command: Command) {
        let encoded = serde_json::to_vec(&command).expect("a command can be encoded");
        self.bytes += encoded.len();
        self.entries += 1;
        self.index += 1;
        let at = Stamp {
            index: self.index,
            now: NOW,
        };
        let applied = self.state.apply(at, command).expect("the command applies");
        for change in &applied.allocs {
            if let (None, Some(alloc)) = (&change.before, &change.after) {
                self.running.push_back(alloc.id);
            }
        }
        self.broker.on_applied(NOW, &applied);
        let actions = self.blocked.on_applied(NOW, self.state.current(), &applied);
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Propose(command) => self.apply(command),
                Action::Enqueue(eval) => self.broker.on_eval(NOW, &eval),
            }
        }
    }

    fn settle(&mut self) {
        loop {
            let deliveries = self.broker.dequeue(NOW, BATCH_MAX);
            if deliveries.is_empty() {
                return;
            }
            self.decisions += deliveries.len();
            let evals: Vec<_> = deliveries.iter().map(|d| Arc::clone(&d.eval)).collect();
            self.seed += 1;
            let mut cx = Context::new(NOW, self.seed);
            let results = schedule_batch(self.state.current(), &evals, &mut cx);
            self.apply(Command::ApplyPlans(results));
            for delivery in deliveries {
                let actions = self.broker.ack(NOW, delivery.eval.id, delivery.token);
                self.act(actions);
            }
        }
    }

    fn register(&mut self, at: usize) {
        let mut task = Task {
            name: "main".into(),
            driver: "raw_exec".into(),
            ..Task::default()
        };
        task.resources.cpu = SLOT_MHZ;
        task.resources.memory_mb = 10;
        let job = Job {
            id: format!("job-{at:06}").into(),
            namespace: "default".into(),
            job_type: JobType::Batch,
            priority: 50,
            datacenters: vec!["dc1".into()],
            node_pool: "default".into(),
            task_groups: vec![TaskGroup {
                name: "app".into(),
                count: 1,
                tasks: vec![task],
                ephemeral_disk: EphemeralDisk {
                    size_mb: 10,
                    ..EphemeralDisk::default()
                },
                ..TaskGroup::default()
            }]
            .into(),
            ..Job::default()
        };
        let eval = triggers::for_job(&job, Trigger::JobRegister, NOW, &mut self.ids);
        self.apply(Command::RegisterJob(Box::new(RegisterJob {
            job,
            eval: Some(eval),
            ..RegisterJob::default()
        })));
    }

    /// The oldest allocation finishes.
    fn free_a_slot(&mut self) {
        let Some(alloc_id) = self.running.pop_front() else {
            return;
        };
        let update = AllocUpdate {
            alloc_id,
            client_status: ClientStatus::Complete,
            ..AllocUpdate::default()
        };
        self.apply(Command::UpdateAllocs {
            updates: vec![update],
            evals: Vec::new(),
        });
        self.settle();
    }
}

fn node(at: usize) -> Node {
    let mut node = Node {
        id: NodeId::named(&format!("n{at}")),
        name: format!("node-{at}").into(),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        status: NodeStatus::Ready,
        ..Node::default()
    };
    node.node_resources.cpu.cpu_shares = SLOT_MHZ * SLOTS_PER_NODE as i64;
    node.node_resources.memory.memory_mb = 32_000;
    node.node_resources.disk.disk_mb = 200_000;
    let driver = DriverInfo {
        detected: true,
        healthy: true,
        ..DriverInfo::default()
    };
    node.drivers.insert("raw_exec".into(), driver);
    node
}

fn size(name: &str, default: usize) -> usize {
    env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn main() {
    let waiting = size("BACKLOG_JOBS", 10_000);
    let slots = size("BACKLOG_SLOTS", 1_000);
    let mut cluster = Cluster {
        state: State::default(),
        broker: Broker::default(),
        blocked: Blocked::default(),
        ids: Ids::from_seed(1),
        index: 0,
        seed: 0,
        running: VecDeque::new(),
        entries: 0,
        bytes: 0,
        decisions: 0,
    };
    for at in 0..NODES {
        cluster.apply(Command::UpsertNode(Box::new(node(at))));
    }
    for at in 0..NODES * SLOTS_PER_NODE + waiting {
        cluster.register(at);
    }
    cluster.settle();
    let full = cluster.running.len();
    (cluster.entries, cluster.bytes, cluster.decisions) = (0, 0, 0);
    let start = Instant::now();
    for _ in 0..slots {
        cluster.free_a_slot();
    }
    let elapsed = start.elapsed();
    let each = |sum: usize| sum as f64 / slots.max(1) as f64;
    println!(
        "{full} slots taken, {waiting} jobs waiting, {slots} slots freed one by one; per freed slot: \
         {:.1} entries, {:.0} bytes of commands as JSON, {:.1} decisions, {:.3} ms",
        each(cluster.entries),
        each(cluster.bytes),
        each(cluster.decisions),
        elapsed.as_secs_f64() * 1e3 / slots.max(1) as f64,
    );
}

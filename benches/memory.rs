//! What the rows of a job cost in memory, read from their serialized form as after a restart.
//! Prints a table.
//!
//! `cargo bench --bench memory -- [JOBS] [ALLOCATIONS]`: that many small jobs that have ended, and
//! one job with that many running allocations. Figures are the growth of this process's anonymous
//! pages, in bytes per row.

#![expect(
    clippy::print_stdout,
    reason = "a driver program prints its measurements"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a measurement that goes wrong ends the program"
)]

use jobs::{
    control::triggers,
    ids::Ids,
    model::{
        Allocation, ClientStatus, DriverInfo, EvalStatus, FlatMap, Job, JobType, Node, NodeCpu,
        NodeDisk, NodeId, NodeMemory, NodeResources, NodeStatus, Resources, Task, TaskEvent,
        TaskGroup, TaskPhase, TaskState, Timestamp, Trigger,
    },
    scheduler::{self, Context},
    state::{AllocUpdate, Command, RegisterJob, Snapshot, Stamp, State},
};
use std::{collections::BTreeMap, fs, sync::Arc};

const NOW: Timestamp = Timestamp::from_nanos(1);

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Evaluations that are decided about together.
const BATCH: usize = 16;

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let number = |at: usize, otherwise: usize| numbers.get(at).copied().unwrap_or(otherwise);
    let (jobs, allocations) = (number(0, 10_000), number(1, 50_000));
    println!("| row | bytes |");
    println!("|---|---|");
    // The first jobs pay for what every process has once.
    let mut warm = World::new();
    warm.finish_jobs(jobs / 10);
    drop(warm);
    let mut world = World::new();
    let before = anonymous_bytes();
    world.finish_jobs(jobs);
    print("finished one-task batch job", before, jobs);
    drop(world);
    let mut world = World::new();
    let before = anonymous_bytes();
    world.run_job(u32::try_from(allocations).unwrap());
    print("running allocation of one service job", before, allocations);
    let rows = world.state.current().allocs("").count();
    assert_eq!(rows, allocations, "every allocation was placed");
    for (name, size) in [
        ("`Allocation` itself", size_of::<Allocation>()),
        ("`Evaluation` itself", size_of::<jobs::model::Evaluation>()),
        ("`Job` itself", size_of::<Job>()),
        ("`TaskGroup` itself", size_of::<TaskGroup>()),
        ("`Task` itself", size_of::<Task>()),
        ("`TaskEvent` itself", size_of::<TaskEvent>()),
    ] {
        println!("| {name} | {size} |");
    }
}

fn print(name: &str, before: u64, rows: usize) {
    let grown = anonymous_bytes().saturating_sub(before);
    println!(
        "| {name} | {} |",
        grown / u64::try_from(rows.max(1)).unwrap()
    );
}

fn anonymous_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Anonymous:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse::<u64>().unwrap() * 1024
}

/// One server's tables without a log.
struct World {
    state: State,
    index: u64,
    ids: Ids,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            state: State::default(),
            index: 0,
            ids: Ids::from_seed(1),
        };
        world.apply(Command::UpsertNode(Box::new(node())));
        world
    }

    /// Applies the command as a server reads it from its log.
    fn apply(&mut self, command: Command) {
        self.index += 1;
        let bytes = rmp_serde::to_vec_named(&command).unwrap();
        let command = rmp_serde::from_slice(&bytes).unwrap();
        let at = Stamp {
            index: self.index,
            now: Timestamp::from_nanos(i64::try_from(self.index).unwrap()),
        };
        self.state.apply(at, command).unwrap();
    }

    fn register(&mut self, job: Job) {
        let eval = triggers::for_job(&job, Trigger::JobRegister, NOW, &mut self.ids);
        self.apply(Command::RegisterJob(Box::new(RegisterJob {
            job,
            eval: Some(eval),
            ..RegisterJob::default()
        })));
    }

    /// Decides until no evaluation is pending: one plan places a bounded number.
    fn settle(&mut self) {
        loop {
            let snapshot = self.state.snapshot();
            let pending: Vec<_> = snapshot
                .evals("")
                .filter(|eval| eval.status == EvalStatus::Pending)
                .cloned()
                .collect();
            if pending.is_empty() {
                return;
            }
            let mut cx = Context::new(NOW, self.index);
            let results = scheduler::schedule_batch(&snapshot, &pending, &mut cx);
            self.apply(Command::ApplyPlans(results));
        }
    }

    fn finish_jobs(&mut self, count: usize) {
        for first in (0..count).step_by(BATCH) {
            let numbers = first..count.min(first + BATCH);
            for number in numbers.clone() {
                self.register(small_job(number));
            }
            // Only these are pending; the others are looked at no more.
            self.settle_jobs(numbers.clone());
            let snapshot = self.state.snapshot();
            for phase in [TaskPhase::Running, TaskPhase::Dead] {
                let updates = numbers
                    .clone()
                    .flat_map(|number| ended(&snapshot, &small_job(number), phase))
                    .collect();
                let evals = Vec::new();
                self.apply(Command::UpdateAllocs { updates, evals });
            }
        }
    }

    fn settle_jobs(&mut self, numbers: std::ops::Range<usize>) {
        let snapshot = self.state.snapshot();
        let evals: Vec<_> = numbers
            .flat_map(|number| snapshot.evals_of_job(&small_job(number).key()).cloned())
            .collect();
        let mut cx = Context::new(NOW, self.index);
        let results = scheduler::schedule_batch(&snapshot, &evals, &mut cx);
        self.apply(Command::ApplyPlans(results));
    }

    fn run_job(&mut self, count: u32) {
        let mut job = small_job(0);
        job.job_type = JobType::Service;
        job.task_groups[0].count = count;
        job.task_groups[0].tasks[0].resources.cpu = 0;
        job.task_groups[0].tasks[0].resources.memory_mb = 0;
        self.register(job.clone());
        self.settle();
        let snapshot = self.state.snapshot();
        let updates: Vec<_> = ended(&snapshot, &job, TaskPhase::Running);
        drop(snapshot);
        for some in updates.chunks(1_000) {
            let (updates, evals) = (some.to_vec(), Vec::new());
            self.apply(Command::UpdateAllocs { updates, evals });
        }
    }
}

/// What a client reports of the job's allocations: the events of a run until that phase.
fn ended(snapshot: &Snapshot, job: &Job, phase: TaskPhase) -> Vec<AllocUpdate> {
    let done = phase == TaskPhase::Dead;
    let mut events = vec![
        event("Received", "Task received by client", &[]),
        event("Task Setup", "Building Task Directory", &[]),
        event("Started", "Task started by client", &[]),
    ];
    if done {
        let details = [
            ("exit_code", "0"),
            ("exit_message", ""),
            ("oom_killed", "false"),
            ("signal", "0"),
        ];
        events.push(event("Terminated", "Exit Code: 0", &details));
    }
    let state = TaskState {
        state: phase,
        started_at: NOW,
        finished_at: Timestamp::from_nanos(i64::from(done)),
        events,
        ..TaskState::default()
    };
    let status = if done {
        ClientStatus::Complete
    } else {
        ClientStatus::Running
    };
    let allocs = snapshot.allocs_of_job(&job.key());
    allocs
        .map(|alloc: &Arc<Allocation>| AllocUpdate {
            alloc_id: alloc.id,
            client_status: status,
            task_states: FlatMap::from([("main".into(), state.clone())]),
            ..AllocUpdate::default()
        })
        .collect()
}

fn event(event_type: &str, message: &str, details: &[(&str, &str)]) -> TaskEvent {
    let owned = |(key, value): &(&str, &str)| ((*key).into(), (*value).into());
    TaskEvent {
        event_type: event_type.into(),
        time: NOW,
        display_message: message.into(),
        details: details.iter().map(owned).collect(),
        ..TaskEvent::default()
    }
}

fn small_job(number: usize) -> Job {
    let id = format!("small-{number:06}");
    let task = Task {
        name: "main".into(),
        driver: "raw_exec".into(),
        config: [("command".into(), "/bin/true".into())]
            .into_iter()
            .collect(),
        resources: Resources {
            cpu: 1,
            memory_mb: 10,
            ..Resources::default()
        },
        ..Task::default()
    };
    Job {
        region: "global".into(),
        namespace: "default".into(),
        id: id.as_str().into(),
        name: id,
        job_type: JobType::Batch,
        priority: 50,
        datacenters: vec!["dc1".into()],
        node_pool: "default".into(),
        task_groups: vec![TaskGroup {
            name: "work".into(),
            count: 1,
            tasks: vec![task],
            ..TaskGroup::default()
        }]
        .into(),
        ..Job::default()
    }
}

fn node() -> Node {
    let driver = DriverInfo {
        detected: true,
        healthy: true,
        ..DriverInfo::default()
    };
    Node {
        id: NodeId::named("node"),
        name: "node".into(),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        status: NodeStatus::Ready,
        node_resources: NodeResources {
            cpu: NodeCpu {
                cpu_shares: 1 << 40,
                ..NodeCpu::default()
            },
            memory: NodeMemory { memory_mb: 1 << 40 },
            disk: NodeDisk { disk_mb: 1 << 40 },
            ..NodeResources::default()
        },
        drivers: BTreeMap::from([("raw_exec".to_owned(), driver)]),
        ..Node::default()
    }
}

//! How long decisions take.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jobs::{
    control::triggers,
    ids::Ids,
    model::{
        Constraint, DriverInfo, EphemeralDisk, Evaluation, Job, JobType, Node, NodeId, NodeStatus,
        Spread, Task, TaskGroup, Timestamp, Trigger,
    },
    scheduler::{Context, schedule, schedule_batch},
    state::{Command, RegisterJob, Stamp, State},
};
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_nanos(1);

const NODES: usize = 5_000;
const RACKS: usize = 25;
const ALLOCS: u32 = 1_200;
const TINY_JOBS: usize = 1_000;

fn node(at: usize) -> Node {
    let mut node = Node {
        id: NodeId::named(&format!("{at:08x}")),
        name: format!("node-{at}").into(),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        status: NodeStatus::Ready,
        ..Node::default()
    };
    node.node_resources.cpu.cpu_shares = 14_000;
    node.node_resources.memory.memory_mb = 32_000;
    node.node_resources.disk.disk_mb = 200_000;
    node.attributes
        .insert("rack".into(), format!("r{}", at % RACKS));
    node.attributes.insert("kernel.name".into(), "linux".into());
    let driver = DriverInfo {
        detected: true,
        healthy: true,
        ..DriverInfo::default()
    };
    node.drivers.insert("raw_exec".into(), driver);
    node
}

fn job(id: &str, count: u32, spread: bool) -> Job {
    let mut job = Job {
        id: id.into(),
        name: id.into(),
        namespace: "default".into(),
        job_type: JobType::Batch,
        priority: 50,
        datacenters: vec!["dc1".into()],
        node_pool: "default".into(),
        constraints: vec![Constraint {
            l_target: "${attr.rack}".into(),
            operand: "regexp".into(),
            r_target: "^r".into(),
        }],
        task_groups: vec![TaskGroup {
            name: "app".into(),
            count,
            tasks: vec![Task {
                name: "main".into(),
                driver: "raw_exec".into(),
                ..Task::default()
            }],
            ephemeral_disk: EphemeralDisk {
                size_mb: 10,
                ..EphemeralDisk::default()
            },
            ..TaskGroup::default()
        }]
        .into(),
        ..Job::default()
    };
    if spread {
        job.spreads.push(Spread {
            attribute: "${attr.rack}".into(),
            weight: 50,
            ..Spread::default()
        });
    }
    job
}

fn cluster(nodes: usize, jobs: Vec<Job>) -> (State, Vec<Arc<Evaluation>>) {
    let mut state = State::default();
    let mut ids = Ids::from_seed(1);
    let mut index = 0;
    let mut apply = |state: &mut State, command| {
        index += 1;
        let applied = state.apply(Stamp { index, now: NOW }, command);
        applied.expect("the command applies").evals
    };
    for at in 0..nodes {
        apply(&mut state, Command::UpsertNode(Box::new(node(at))));
    }
    let mut evals = Vec::new();
    for job in jobs {
        let eval = triggers::for_job(&job, Trigger::JobRegister, NOW, &mut ids);
        let registration = RegisterJob {
            job,
            eval: Some(eval),
            ..RegisterJob::default()
        };
        evals.extend(apply(
            &mut state,
            Command::RegisterJob(Box::new(registration)),
        ));
    }
    (state, evals)
}

fn bulk(criterion: &mut Criterion) {
    for (name, spread) in [("plain", false), ("spread", true)] {
        let (state, evals) = cluster(NODES, vec![job("bulk", ALLOCS, spread)]);
        criterion.bench_function(
            &format!("1200 allocations on 5000 nodes, {name}"),
            |bench| {
                bench.iter_batched(
                    || Context::new(NOW, 7),
                    |mut cx| {
                        let outcome = schedule(state.current(), &evals[0], &mut cx);
                        assert!(outcome.blocked.is_none());
                        outcome
                    },
                    BatchSize::PerIteration,
                );
            },
        );
    }
}

fn tiny(criterion: &mut Criterion) {
    for nodes in [1, 100] {
        let jobs = (0..TINY_JOBS).map(|at| {
            let mut job = job(&format!("tiny-{at}"), 1, false);
            job.task_groups[0].tasks[0].resources.cpu = 10;
            job.task_groups[0].tasks[0].resources.memory_mb = 10;
            job
        });
        let (state, evals) = cluster(nodes, jobs.collect());
        criterion.bench_function(&format!("1000 tiny batch jobs on {nodes} nodes"), |bench| {
            bench.iter_batched(
                || Context::new(NOW, 7),
                |mut cx| schedule_batch(state.current(), &evals, &mut cx),
                BatchSize::PerIteration,
            );
        });
    }
}

fn commit(criterion: &mut Criterion) {
    let (state, evals) = cluster(NODES, vec![job("bulk", ALLOCS, false)]);
    let results = schedule_batch(state.current(), &evals, &mut Context::new(NOW, 7));
    let at = Stamp {
        index: state.current().index() + 1,
        now: NOW,
    };
    criterion.bench_function("apply a plan of 1200 allocations", |bench| {
        bench.iter_batched(
            || (state.clone(), Command::ApplyPlans(results.clone())),
            |(mut state, command)| state.apply(at, command),
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(decisions, bulk, tiny, commit);
criterion_main!(decisions);

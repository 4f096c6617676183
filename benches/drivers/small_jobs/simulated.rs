//! Small batch jobs from submission to their end on simulated agents: a durable log, real streams,
//! no processes.

#[path = "../../../src/server/sessions/fixtures.rs"]
mod fixtures;

use jobs::{
    control::operator::Registration,
    model::{ClientStatus, FlatMap, Job, JobStatus, JobType, Node, TaskPhase, TaskState},
    state::{AllocUpdate, Table},
};
use rpc::{
    message::{Assignment, Hello, Report, ToClient, ToServer},
    transport::{self, Listener},
};
use server::{Config, Handle, Server, log::watch::Topic};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Agents that simulate.
const AGENTS: usize = 2;

/// `jobs` jobs, submitted by `submitters` at a time.
pub(super) async fn run(jobs: usize, submitters: usize) {
    measure(jobs, submitters, AGENTS).await;
}

async fn measure(jobs: usize, submitters: usize, agents: usize) {
    let directory = tempfile::tempdir().expect("the measurement goes on");
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("the measurement goes on");
    let address = listener.local_addr();
    let config = Config {
        data_dir: directory.path().to_owned(),
        name: "bench".into(),
        datacenter: "dc1".into(),
        region: "global".into(),
        serves_alone: false,
        tuning: server::Tuning::default(),
        rpc_address: address.to_string(),
        lease: Config::LEASE,
        oidc_issuer: None,
        gc: jobs::control::GcLimits::default(),
        cluster: server::ClusterConfig::default(),
    };
    let started = Instant::now();
    let server = Server::start(config, listener)
        .await
        .expect("the measurement goes on");
    let start_took = started.elapsed();
    let handle = server.handle();
    tokio::spawn(server.run(std::future::pending()));
    for number in 0..agents {
        tokio::spawn(agent(address, number));
    }
    until(&handle, Table::Nodes, |handle| {
        handle.snapshot().jobs.nodes("").count() == agents
    })
    .await;

    let memory_before = resident_kib();
    let index_before = handle.snapshot().index;
    let started = Instant::now();
    submit(&handle, jobs, submitters).await;
    let accepted = started.elapsed();
    until(&handle, Table::Allocs, |handle| {
        handle.snapshot().jobs.allocs("").count() >= jobs
    })
    .await;
    let placed = started.elapsed();
    until(&handle, Table::Jobs, |handle| {
        let snapshot = handle.snapshot();
        let all = snapshot.jobs.jobs(None, "");
        all.filter(|job| job.status == JobStatus::Dead).count() >= jobs
    })
    .await;
    let finished = started.elapsed();

    let rate = |took: Duration| jobs as f64 / took.as_secs_f64();
    println!("{jobs} jobs, {submitters} submitters, {agents} simulated agents, durable log");
    println!(
        "start to leading       {:>10.1} ms",
        start_took.as_secs_f64() * 1e3
    );
    println!("accepted               {:>10.0} jobs/s", rate(accepted));
    println!("placed                 {:>10.0} jobs/s", rate(placed));
    println!("finished               {:>10.0} jobs/s", rate(finished));
    println!(
        "log entries            {:>10.2} per job",
        (handle.snapshot().index - index_before) as f64 / jobs as f64
    );
    println!(
        "memory                 {:>10.1} KiB per finished job",
        (resident_kib() - memory_before) / jobs as f64
    );
}

async fn submit(handle: &Handle, jobs: usize, submitters: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..submitters {
        let (handle, next) = (handle.clone(), Arc::clone(&next));
        running.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= jobs {
                    return;
                }
                let registration = Registration {
                    job: job(number),
                    ..Registration::default()
                };
                handle
                    .register_job(registration)
                    .await
                    .expect("the measurement goes on");
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("the measurement goes on");
    }
}

async fn until(handle: &Handle, table: Table, done: impl Fn(&Handle) -> bool) {
    loop {
        let subscription = handle
            .subscribe([Topic::Jobs(table)])
            .expect("the measurement goes on");
        if done(handle) {
            return;
        }
        subscription.changed().await;
        // Counting is not what is measured.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs everything at once and without error.
async fn agent(server: SocketAddr, number: usize) {
    let mut link = transport::connect(server)
        .await
        .expect("the measurement goes on");
    let hello = Hello {
        agent_id: number.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        rules: client::RULES,
        node: Some(node(number)),
        ..Hello::default()
    };
    link.outgoing
        .send(ToServer::Hello(Box::new(hello)))
        .await
        .expect("the measurement goes on");
    let mut report_number = 0;
    while let Some(message) = link.incoming.recv().await {
        let ToClient::Allocs { assignments, .. } = message else {
            continue;
        };
        for (status, phase) in [
            (ClientStatus::Running, TaskPhase::Running),
            (ClientStatus::Complete, TaskPhase::Dead),
        ] {
            let updates: Vec<_> = assignments
                .iter()
                .filter(|assignment| !assignment.alloc.client_terminal())
                .map(|assignment| update(assignment, status, phase))
                .collect();
            report_number += 1;
            let report = ToServer::Report {
                number: report_number,
                report: Report::Allocs(updates),
            };
            link.outgoing
                .send(report)
                .await
                .expect("the measurement goes on");
        }
    }
}

fn update(assignment: &Assignment, status: ClientStatus, phase: TaskPhase) -> AllocUpdate {
    let state = TaskState {
        state: phase,
        ..TaskState::default()
    };
    AllocUpdate {
        alloc_id: assignment.alloc.id,
        client_status: status,
        task_states: FlatMap::from([("main".into(), state)]),
        ..AllocUpdate::default()
    }
}

fn node(number: usize) -> Node {
    let mut node = fixtures::node(&format!("node-{number}"));
    let resources = &mut node.node_resources;
    resources.cpu.cpu_shares = 1_000_000;
    resources.cpu.total_cpu_cores = 64;
    resources.memory.memory_mb = 1_000_000;
    resources.disk.disk_mb = 10_000_000;
    node
}

fn job(number: usize) -> Job {
    let mut job = fixtures::job(&format!("small-{number:06}"), JobType::Batch, 1);
    for group in &mut job.task_groups {
        group.ephemeral_disk.size_mb = 10;
        for task in &mut group.tasks {
            task.resources.cpu = 20;
            task.resources.memory_mb = 10;
        }
    }
    job
}

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the measurement goes on");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    figure.and_then(|figure| figure.parse().ok()).unwrap_or(0.0)
}

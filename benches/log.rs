//! What the log costs: entries and time until silent nodes are down, and bytes written for
//! snapshots while jobs are registered and changed. Prints a table.
//!
//! `cargo bench --bench log -- [NODES] [JOBS] [CHANGES]`

#![expect(
    clippy::print_stdout,
    reason = "a driver program prints its measurements"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a measurement that goes wrong ends the program"
)]

use jobs::{
    model::{Job, Node, NodeId, NodeStatus, Task, TaskGroup},
    state::{Command, RegisterJob, Table},
};
use rpc::transport::Listener;
use server::{Config, Handle, Server, log::watch::Topic};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// Writers at the same time.
const WRITERS: usize = 64;
const MIB: f64 = 1_048_576.0;

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let number = |at: usize, otherwise: usize| numbers.get(at).copied().unwrap_or(otherwise);
    let directory = tempfile::tempdir().unwrap();
    let handle = start(directory.path()).await;
    nodes_down(&handle, number(0, 5000)).await;
    snapshots(
        &handle,
        directory.path(),
        number(1, 20_000),
        number(2, 40_000),
    )
    .await;
}

async fn start(data_dir: &Path) -> Handle {
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let config = Config {
        data_dir: data_dir.to_owned(),
        name: "bench".into(),
        datacenter: "dc1".into(),
        region: "global".into(),
        rpc_address: listener.local_addr().to_string(),
        lease: Duration::from_secs(3),
        oidc_issuer: None,
        gc: jobs::control::GcLimits::default(),
        serves_alone: false,
        tuning: server::Tuning::default(),
        cluster: server::ClusterConfig::default(),
    };
    let server = Server::start(config, listener).await.unwrap();
    let handle = server.handle();
    tokio::spawn(server.run(std::future::pending()));
    handle
}

/// Registers nodes that never say anything more, and waits until all of them are down.
async fn nodes_down(handle: &Handle, nodes: usize) {
    let write = |number: usize| {
        Command::UpsertNode(Box::new(Node {
            id: NodeId::named(&number.to_string()),
            name: format!("node-{number}").into(),
            status: NodeStatus::Ready,
            ..Node::default()
        }))
    };
    write_all(handle, nodes, write).await;
    let (started, before) = (Instant::now(), handle.raft_metrics().last_log_index);
    loop {
        let subscription = handle.subscribe([Topic::Jobs(Table::Nodes)]).unwrap();
        let snapshot = handle.snapshot();
        if snapshot
            .jobs
            .nodes("")
            .all(|node| node.status == NodeStatus::Down)
        {
            break;
        }
        subscription.changed().await;
    }
    let entries = handle.raft_metrics().last_log_index - before;
    println!("{nodes} silent nodes down   {entries:>8} entries (one sync each)");
    println!(
        "  since the last of them registered  {:>8.2} s",
        started.elapsed().as_secs_f64()
    );
}

/// Registers jobs, then changes them again and again; sums up what is written for snapshots.
async fn snapshots(handle: &Handle, data_dir: &Path, jobs: usize, changes: usize) {
    let file = data_dir.join("raft/snapshot");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let counting = tokio::spawn(count_snapshots(handle.clone(), file, stopped));
    let started = Instant::now();
    let written_before = written_bytes();
    write_all(handle, jobs + changes, move |number| {
        register(number % jobs, number)
    })
    .await;
    let took = started.elapsed();
    stop.send(()).unwrap();
    let (count, bytes) = counting.await.unwrap();
    let all = written_bytes() - written_before;
    println!(
        "{jobs} jobs, {changes} changes  {:>8.0} writes/s",
        (jobs + changes) as f64 / took.as_secs_f64()
    );
    println!("  snapshots   {count:>8}");
    println!("  bytes of snapshots   {:>8.1} MiB", bytes as f64 / MIB);
    println!("  bytes written in all   {:>8.1} MiB", all as f64 / MIB);
}

fn register(job: usize, version: usize) -> Command {
    let task = Task {
        name: "t".into(),
        driver: "raw_exec".into(),
        env: [("VERSION".to_owned(), format!("{version:01000}"))].into(),
        ..Task::default()
    };
    let group = TaskGroup {
        name: "g".into(),
        tasks: vec![task],
        ..TaskGroup::default()
    };
    let job = Job {
        id: format!("job-{job}").into(),
        name: format!("job-{job}"),
        namespace: "default".into(),
        task_groups: vec![group].into(),
        ..Job::default()
    };
    Command::RegisterJob(Box::new(RegisterJob {
        job,
        ..RegisterJob::default()
    }))
}

async fn write_all(
    handle: &Handle,
    count: usize,
    make: impl Fn(usize) -> Command + Send + Sync + 'static,
) {
    let (next, make) = (Arc::new(AtomicUsize::new(0)), Arc::new(make));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (handle, next, make) = (handle.clone(), Arc::clone(&next), Arc::clone(&make));
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                handle.propose(make(number)).await.unwrap().1.unwrap();
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
}

/// Looks for new snapshots until told to stop; answers with their number and bytes.
async fn count_snapshots(
    handle: Handle,
    file: PathBuf,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) -> (usize, u64) {
    let (mut last, mut count, mut bytes) = (handle.raft_metrics().snapshot_index, 0, 0);
    loop {
        let now = handle.raft_metrics().snapshot_index;
        if now != last {
            last = now;
            count += 1;
            bytes += std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
        }
        tokio::select! {
            _ = &mut stopped => return (count, bytes),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
}

/// Bytes that this process has handed to the system for writing.
fn written_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.unwrap().parse().unwrap()
}

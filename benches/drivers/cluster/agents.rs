//! Many simulated agents: what each costs the servers at rest, and a server that was away while
//! they got their allocations and is sent all of the state.

use super::{Latencies, leader, rpc_addresses, start};
use crate::{
    harness::{Agent, http},
    process,
};
use jobs::{
    model::{
        ClientStatus, DriverInfo, FlatMap, NetworkResource, Node, NodeCpu, NodeDisk, NodeId,
        NodeMemory, NodeResources, TaskPhase, TaskState,
    },
    state::AllocUpdate,
};
use registration::Version;
use reqwest::StatusCode;
use rpc::{
    message::{Confirmation, Hello, Report, RulesVersion},
    security::Security,
    servers::Servers,
    session::{AllocDelta, Handle, Session},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long the servers are looked at while nothing happens.
const REST: Duration = Duration::from_secs(30);
/// Allocations of a job.
const PER_JOB: usize = 1000;
/// Nothing that is waited for here takes longer.
const PATIENCE: Duration = Duration::from_secs(600);
/// Pause between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);
const GROUP: u8 = 4;

pub(super) async fn run(agents: usize, allocs: usize) {
    let mut servers = start(GROUP, 3).await;
    at_rest(&servers, agents).await;
    if allocs > 0 {
        installed(&mut servers, allocs).await;
    }
}

/// What the servers hold and use.
struct Used {
    cpu: Duration,
    kib: u64,
}

fn used(servers: &[Agent]) -> Vec<Used> {
    let of = |server: &Agent| Used {
        cpu: process::cpu_time(server.pid()),
        kib: process::anonymous_kib(server.pid()),
    };
    servers.iter().map(of).collect()
}

/// CPU of each server while nothing happens, and what they hold at the end.
async fn rested(servers: &[Agent]) -> Vec<Used> {
    let before = used(servers);
    sleep(REST).await;
    let after = used(servers).into_iter();
    after
        .zip(before)
        .map(|(after, before)| Used {
            cpu: after.cpu - before.cpu,
            ..after
        })
        .collect()
}

async fn at_rest(servers: &[Agent], agents: usize) {
    let empty = rested(servers).await;
    let begun = Instant::now();
    for number in 0..agents {
        tokio::spawn(agent(number));
    }
    until("all nodes are ready", async || {
        ready_nodes(&servers[0]).await == agents
    })
    .await;
    let connected = begun.elapsed();
    // What the registrations left to do is done.
    sleep(Duration::from_secs(10)).await;
    let full = rested(servers).await;
    let leads = leader(servers).await;
    println!(
        "{agents} simulated agents that follow the catalog, connected within {:.1} s; nothing happens for {} s\n",
        connected.as_secs_f64(),
        REST.as_secs()
    );
    println!("| server | memory MiB | KiB per agent | CPU % | CPU % without agents |");
    println!("|---|---|---|---|---|");
    for (at, (full, empty)) in full.iter().zip(&empty).enumerate() {
        let percent = |used: &Used| used.cpu.as_secs_f64() / REST.as_secs_f64() * 100.0;
        println!(
            "| {} | {:.1} | {:.1} | {:.2} | {:.2} |",
            if at == leads { "leads" } else { "follows" },
            full.kib as f64 / 1024.0,
            full.kib.saturating_sub(empty.kib) as f64 / agents.max(1) as f64,
            percent(full),
            percent(empty),
        );
    }
    println!();
}

/// A server is away while the allocations are placed; then it comes back.
async fn installed(servers: &mut [Agent], allocs: usize) {
    let leads = leader(servers).await;
    let away = (leads + 1) % servers.len();
    servers[away].kill().await;
    let begun = Instant::now();
    let jobs = allocs.div_ceil(PER_JOB);
    for job in 0..jobs {
        register(&servers[leads], job, PER_JOB.min(allocs - job * PER_JOB)).await;
    }
    until("all allocations run", async || {
        running_allocs(&servers[leads], jobs).await >= allocs
    })
    .await;
    let placed = begun.elapsed();
    until("a snapshot in the place of the log", async || {
        has_snapshot(servers[leads].dir())
    })
    .await;
    put(&servers[leads], "last").await;
    let snapshot = servers[leads].dir().join("data/raft/snapshot");
    let bytes = std::fs::metadata(snapshot).map_or(0, |file| file.len());

    let calm = writes_for(&servers[leads], Duration::from_secs(5)).await;
    let ends = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(writes(
        servers[leads].url("catalog", "/v1/kv/meanwhile"),
        Arc::clone(&ends),
    ));
    let begun = Instant::now();
    servers[away].start_again().await;
    let started = begun.elapsed();
    let url = servers[away].url("catalog", "/v1/kv/last?stale");
    let client = http::client();
    until("the state is there", async || {
        let answer = client.get(&url).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    })
    .await;
    let took = begun.elapsed();
    ends.store(true, Ordering::Relaxed);
    let meanwhile = writing.await.expect("the writer does not panic");

    println!(
        "{allocs} allocations of {jobs} jobs, placed and reported as running within {:.1} s by the two servers that \
         were left; their snapshot has {:.1} MiB\n",
        placed.as_secs_f64(),
        bytes as f64 / f64::from(1 << 20)
    );
    println!(
        "| the third: start to ready s | start to whole state s | its memory MiB | leader's memory MiB | \
         write p50, p99, longest ms before | meanwhile |"
    );
    println!("|---|---|---|---|---|---|");
    let three = |found: &Latencies| {
        let [half, most, all] = [50, 99, 100].map(|percent| found.percentile(percent));
        format!("{half:.1}, {most:.1}, {all:.1}")
    };
    println!(
        "| {:.2} | {:.2} | {:.0} | {:.0} | {} | {} |\n",
        started.as_secs_f64(),
        took.as_secs_f64(),
        process::resident_kib(servers[away].pid()) as f64 / 1024.0,
        process::resident_kib(servers[leads].pid()) as f64 / 1024.0,
        three(&calm),
        three(&meanwhile),
    );
}

async fn writes_for(server: &Agent, time: Duration) -> Latencies {
    let ends = Arc::new(AtomicBool::new(false));
    let url = server.url("catalog", "/v1/kv/before");
    let writing = tokio::spawn(writes(url, Arc::clone(&ends)));
    sleep(time).await;
    ends.store(true, Ordering::Relaxed);
    writing.await.expect("the writer does not panic")
}

/// Writes one after the other.
async fn writes(url: String, ends: Arc<AtomicBool>) -> Latencies {
    let client = http::client();
    let mut latencies = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = client.put(&url).body("1").send().await;
        let answer = answer.expect("the leader answers");
        assert_eq!(answer.status(), StatusCode::OK);
        latencies.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Latencies::new(latencies)
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not so in time");
        sleep(LOOK).await;
    }
}

async fn put(server: &Agent, key: &str) {
    let url = server.url("catalog", &format!("/v1/kv/{key}"));
    let answer = http::client().put(url).body("1").send().await;
    let status = answer.expect("the server answers").status();
    assert_eq!(status, StatusCode::OK);
}

async fn ready_nodes(server: &Agent) -> usize {
    let nodes = http::get(&server.url("http", "/v1/nodes?stale")).await;
    let nodes = nodes.as_array().cloned().unwrap_or_default();
    nodes
        .iter()
        .filter(|node| node["Status"] == "ready")
        .count()
}

async fn running_allocs(server: &Agent, jobs: usize) -> usize {
    let mut running = 0;
    for job in 0..jobs {
        let path = format!("/v1/job/{}/summary?stale", name_of(job));
        let summary = http::get(&server.url("http", &path)).await;
        let found = summary["Summary"]["group"]["Running"].as_u64().unwrap_or(0);
        running += usize::try_from(found).unwrap_or(0);
    }
    running
}

fn has_snapshot(dir: &Path) -> bool {
    let log = dir.join("data/raft");
    log.join("snapshot").exists() && !log.join("00000000000000000001.log").exists()
}

fn name_of(job: usize) -> String {
    format!("job-{job}")
}

async fn register(server: &Agent, job: usize, count: usize) {
    let text = format!(
        "job {:?} {{\n  group \"group\" {{\n    count = {count}\n    task \"main\" {{\n      driver = \"raw_exec\"\n      \
         config {{\n        command = \"/bin/true\"\n      }}\n      resources {{\n        cpu = 1\n        memory = 10\n      }}\n    \
         }}\n  }}\n}}\n",
        name_of(job)
    );
    server.register(&text).await;
}

/// A machine with room for a few thousand small tasks.
fn node(name: &str) -> Node {
    let driver = DriverInfo {
        detected: true,
        healthy: true,
        ..DriverInfo::default()
    };
    Node {
        id: NodeId::named(name),
        name: name.into(),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        node_resources: NodeResources {
            cpu: NodeCpu {
                cpu_shares: 100_000,
                total_cpu_cores: 64,
                ..NodeCpu::default()
            },
            memory: NodeMemory { memory_mb: 100_000 },
            disk: NodeDisk {
                disk_mb: 10_000_000,
            },
            networks: vec![NetworkResource {
                ip: "10.0.1.1".into(),
                ..NetworkResource::default()
            }],
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
            ..NodeResources::default()
        },
        drivers: BTreeMap::from([("raw_exec".into(), driver)]),
        attributes: serde_json::from_value(json!({"kernel.name": "linux", "cpu.arch": "amd64"}))
            .expect("texts"),
        ..Node::default()
    }
}

/// One agent: it follows the catalog, and says of whatever it is given that it runs.
async fn agent(number: usize) {
    let name = format!("simulated-{number}");
    let hello = Hello {
        agent_id: sys::random::uuid(),
        version: env!("CARGO_PKG_VERSION").into(),
        rules: RulesVersion(Version::SUPPORTED.number()),
        node: Some(node(&name)),
        data_plane: true,
        region: "global".into(),
        ..Hello::default()
    };
    let servers = Servers::new(rpc_addresses(GROUP, 3));
    let (session, handle, mut deltas) = Session::with(servers, Security::Plain, hello);
    tokio::spawn(session.run(future::pending()));
    tokio::spawn(confirm(handle.clone()));
    while let Some(delta) = deltas.recv().await {
        let updates = run_all(delta);
        if !updates.is_empty() {
            // A refusal ends with the driver: what waits for the reports finds none.
            handle.report(Report::Allocs(updates)).await.ok();
        }
    }
}

fn run_all(delta: AllocDelta) -> Vec<AllocUpdate> {
    let new = delta.assignments.into_iter();
    let new = new.filter(|(_, assignment)| {
        let alloc = &assignment.alloc;
        alloc.client_status == ClientStatus::Pending && !alloc.server_terminal()
    });
    new.map(|(id, _)| {
        let state = TaskState {
            state: TaskPhase::Running,
            ..TaskState::default()
        };
        AllocUpdate {
            alloc_id: id,
            client_status: ClientStatus::Running,
            task_states: FlatMap::from_iter([("main".into(), state)]),
            ..AllocUpdate::default()
        }
    })
    .collect()
}

async fn confirm(handle: Handle) {
    let mut catalog = handle.catalog();
    while catalog.changed().await.is_ok() {
        let at = catalog.borrow_and_update().at;
        if let Some(at) = at {
            handle.confirm(Confirmation {
                at,
                busy: Vec::new(),
            });
        }
    }
}

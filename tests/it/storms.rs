//! Requests that cost much do not slow down what else the agent does, and need bounded memory.

use crate::harness::{
    Agent, Echo, eventually, http,
    probes::{MemoryCeiling, Probes},
    raw,
};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

/// Requests of an attack that are answered before it ends.
const ENDED_MIN: usize = 2;
/// What the agent may need during any attack beyond what it needed before, KiB.
const MEMORY_KIB_MAX: u64 = 400 * 1024;

/// Attacks an agent with many of one request at a time, again and again, until dropped.
struct Storm {
    running: JoinSet<()>,
    ended: Arc<AtomicUsize>,
}

impl Storm {
    fn start(address: SocketAddr, at_once: usize, path: &'static str, body: String) -> Self {
        let mut running = JoinSet::new();
        let (ended, body) = (Arc::new(AtomicUsize::new(0)), Arc::new(body));
        for _ in 0..at_once {
            let (ended, body) = (Arc::clone(&ended), Arc::clone(&body));
            running.spawn(async move {
                loop {
                    let answer =
                        raw::send(address, "PUT", path, &[("host", "localhost")], &body).await;
                    // Refused for what it is, or because too many ask at once.
                    let is_refused = matches!(answer.status, 400 | 500 | 503);
                    assert!(is_refused, "{} {}", answer.status, answer.body);
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { running, ended }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_and_names_are_answered_while_large_jobs_are_read() {
    let agent = Agent::start().await;
    Echo::new("web", 1).run(&agent).await;
    let probes = Probes::start();
    let address = agent.address("http");

    let groups = |count: usize| {
        let groups = "{},".repeat(count);
        format!("{{\"Job\":{{\"ID\":\"many\",\"TaskGroups\":[{groups}{{}}]}}}}")
    };
    let task = json!({"Name": "t", "Services": vec![json!({"Checks": vec![json!({}); 9]}); 9]});
    let group = json!({"Name": "g", "Tasks": vec![task; 2]});
    let wrong = json!({"Job": {"ID": "wrong", "TaskGroups": vec![group; 100]}}).to_string();
    let doubled: String = (1..=30)
        .map(|n| format!("l{n} = [local.l{}, local.l{}]\n", n - 1, n - 1))
        .collect();
    let doubled = format!("locals {{\nl0 = [1, 2]\n{doubled}}}\njob \"x\" {{}}\n");
    let grown: String = (1..=30)
        .map(|n| format!("l{n} = \"${{local.l{}}}${{local.l{}}}\"\n", n - 1, n - 1))
        .collect();
    let grown = format!("locals {{\nl0 = \"ab\"\n{grown}}}\njob \"x\" {{}}\n");
    let parse = |hcl: &str| json!({ "JobHCL": hcl }).to_string();
    let tokens = parse(&format!(
        "locals {{\nl = [{}]\n}}\njob \"x\" {{}}\n",
        "1,".repeat(1_500_000)
    ));
    for (what, at_once, path, body) in [
        ("20,000 groups", 3, "/v1/jobs", groups(20_000)),
        ("2,000,000 groups", 3, "/v1/jobs", groups(2_000_000)),
        ("many errors", 3, "/v1/jobs", wrong),
        ("a doubled list", 6, "/v1/jobs/parse", parse(&doubled)),
        ("a doubled text", 3, "/v1/jobs/parse", parse(&grown)),
        ("a long list", 3, "/v1/jobs/parse", tokens),
    ] {
        let memory = MemoryCeiling::above_now(&agent, MEMORY_KIB_MAX);
        let mut storm = Storm::start(address, at_once, path, body);
        // It blows until some of it was answered.
        while storm.ended.load(Ordering::Relaxed) < ENDED_MIN {
            probes.assert_in_time(&agent, what).await;
            memory.assert_kept(&agent, what);
            let failed = storm.running.try_join_next();
            assert!(failed.is_none(), "{what}: {failed:?}");
        }
        storm.running.shutdown().await;
    }
    let jobs = http::get(&agent.url("http", "/v1/jobs")).await;
    assert_eq!(jobs.as_array().map(Vec::len), Some(1), "{jobs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_never_end_take_little_memory_and_keep_nobody_out() {
    const BODIES: usize = 100;
    const BODY_BYTES: usize = 4 << 20;
    let agent = Agent::start().await;
    Echo::new("web", 1).run(&agent).await;
    let probes = Probes::start();
    // All of them would be 400 MiB.
    let memory = MemoryCeiling::above_now(&agent, 200 * 1024);
    let mut sending = JoinSet::new();
    for _ in 0..BODIES {
        let address = agent.address("http");
        sending.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let head = format!(
                "PUT /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
                BODY_BYTES + 1
            );
            stream.write_all(head.as_bytes()).await.ok();
            // Refused ones are closed in the middle.
            stream.write_all(&vec![b' '; BODY_BYTES]).await.ok();
            stream
        });
    }
    let open: Vec<TcpStream> = sending.join_all().await;
    probes.assert_in_time(&agent, "partial bodies").await;
    memory.assert_kept(&agent, "partial bodies");
    // An ordinary job is registered meanwhile.
    let job = json!({"Job": {"ID": "meanwhile", "Type": "batch", "TaskGroups": [{"Name": "g", "Tasks": [
        {"Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}]}]}});
    http::put(&agent.url("http", "/v1/jobs"), &job).await;
    drop(open);
}

/// What was needed once is given back also when the agent has nothing to do: by threads of the
/// allocator, which are there from the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_rests_gives_memory_back() {
    let agent = Agent::start().await;
    eventually("a thread of the allocator", || async {
        let threads = std::fs::read_dir(format!("/proc/{}/task", agent.pid())).expect("procfs");
        let names = threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        let names: Vec<String> = names.collect();
        let is_there = names.iter().any(|name| name.starts_with("jemalloc_bg"));
        is_there.then_some(()).ok_or_else(|| names.concat())
    })
    .await;
}

#[test]
fn the_allocator_reads_the_settings_of_the_program() {
    // It prints them at the end of the process when it is asked to, in its own words.
    let output = std::process::Command::new(crate::harness::agent::TRIVET)
        .arg("version")
        .env("_RJEM_MALLOC_CONF", "stats_print:true")
        .output()
        .expect("it runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    let arenas = printed
        .lines()
        .find(|line| line.trim_start().starts_with("opt.narenas:"));
    assert_eq!(arenas.map(str::trim), Some("opt.narenas: 2"), "{printed}");
}

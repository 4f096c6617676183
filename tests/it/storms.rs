//! Requests that cost much do not slow down what else the agent does, and need bounded memory.

use crate::harness::{Agent, Echo, dns, http, raw};
use hickory_proto::rr::RecordType;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::Instant};

/// How long traffic and names may take while an agent is attacked.
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);
/// What a busy machine may add: so many times what the same took without an attack.
const SLOWER_MAX: u32 = 3;
/// Probes of one window, and windows of which one must be good: other programs on the machine must not
/// decide.
const PROBES: usize = 8;
const WINDOWS: usize = 6;
/// Requests of an attack that are answered before it ends.
const ENDED_MIN: usize = 2;
/// What the agent may need during any attack beyond what it needed before, KiB.
const MEMORY_KIB_MAX: u64 = 400 * 1024;

/// A request through the ingress and a DNS query; how long the slower one took.
async fn probe(agent: &Agent) -> Duration {
    let ingress = agent.address("ingress");
    let by_http = async {
        let asked = Instant::now();
        let headers = [("host", "localhost")];
        let answer = raw::send(ingress, "GET", "/web", &headers, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        asked.elapsed()
    };
    let by_dns = async {
        let asked = Instant::now();
        let name = "web.service.consul.";
        let answer = dns::ask(agent.address("dns"), name, RecordType::SRV).await;
        assert!(!answer.answers.is_empty(), "{answer:?}");
        asked.elapsed()
    };
    let (http, dns) = tokio::join!(by_http, by_dns);
    http.max(dns)
}

async fn window(agent: &Agent) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..PROBES {
        slowest = slowest.max(probe(agent).await);
    }
    slowest
}

/// A line of the agent's status in procfs, KiB.
fn memory(agent: &Agent, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()));
    let status = status.expect("the agent runs");
    let found = status.lines().find_map(|row| row.strip_prefix(line));
    let digits = found.and_then(|rest| rest.split_whitespace().next());
    digits
        .and_then(|digits| digits.parse().ok())
        .expect("a number")
}

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

/// Waits for one good window, and checks the memory that was needed meanwhile.
async fn unmoved(agent: &Agent, what: &str, calm: Duration, before_kib: u64) {
    let limit = ANSWERED_WITHIN.max(calm * SLOWER_MAX);
    let mut seen = Vec::new();
    for _ in 0..WINDOWS {
        seen.push(window(agent).await);
        if seen.iter().any(|slowest| *slowest <= limit) {
            break;
        }
    }
    assert!(
        seen.iter().any(|slowest| *slowest <= limit),
        "{what}: traffic or names took {seen:?}; {calm:?} without it"
    );
    let peak = memory(agent, "VmHWM:");
    assert!(
        peak <= before_kib + MEMORY_KIB_MAX,
        "{what}: {peak} KiB at the peak, {before_kib} KiB before"
    );
}

/// Sets the peak of the memory back to what is used now.
fn forget_peak(agent: &Agent) {
    std::fs::write(format!("/proc/{}/clear_refs", agent.pid()), "5").expect("own processes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_and_names_are_answered_while_large_jobs_are_read() {
    let agent = Agent::start().await;
    let run = Echo::new("web", 1).command(&agent, &["job", "run"]).await;
    assert_eq!(run.code, 0, "{}", run.text());
    let calm = window(&agent).await;
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
        forget_peak(&agent);
        let before_kib = memory(&agent, "VmRSS:");
        let mut storm = Storm::start(address, at_once, path, body);
        // It blows until some of it was answered.
        while storm.ended.load(Ordering::Relaxed) < ENDED_MIN {
            unmoved(&agent, what, calm, before_kib).await;
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
    let run = Echo::new("web", 1).command(&agent, &["job", "run"]).await;
    assert_eq!(run.code, 0, "{}", run.text());
    let calm = window(&agent).await;
    forget_peak(&agent);
    let before_kib = memory(&agent, "VmRSS:");
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
    unmoved(&agent, "partial bodies", calm, before_kib).await;
    let peak = memory(&agent, "VmHWM:");
    // All of them would have been 400 MiB.
    let ceiling = before_kib + 200 * 1024;
    assert!(
        peak < ceiling,
        "{peak} KiB at the peak, {before_kib} KiB before"
    );
    // An ordinary job is registered meanwhile.
    let job = json!({"Job": {"ID": "meanwhile", "Type": "batch", "TaskGroups": [{"Name": "g", "Tasks": [
        {"Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}]}]}});
    http::put(&agent.url("http", "/v1/jobs"), &job).await;
    drop(open);
}

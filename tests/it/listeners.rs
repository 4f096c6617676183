//! Attacks on one listener: the others go on, and traffic is not delayed.

use crate::harness::{
    Agent, DEADLINE, Echo,
    agent::{Mode, Room, no_process_left},
    command::trivet,
    dns, http,
    probes::{MemoryCeiling, Probes, named, routed},
};
use hickory_proto::rr::RecordType;
use reqwest::{Method, StatusCode};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

/// What the agent may need beyond what it needed before, during any attack of idle connections,
/// KiB.
const MEMORY_KIB_MAX: u64 = 96 * 1024;
/// The same, for requests that cost much to answer, KiB.
const HEAVY_KIB_MAX: u64 = 400 * 1024;
/// An attacker that opened no connection for so long opens no more.
const OPENING_MAX: Duration = Duration::from_secs(1);
/// Connections of an attacker.
const ATTACK: usize = 400;

const LISTENERS: [&str; 6] = ["http", "rpc", "catalog", "dns", "ingress", "ingress_admin"];

/// Connections that say nothing, and then whatever `say` is; more than `least` of them.
async fn hold(address: SocketAddr, say: &'static [u8], least: usize) -> Vec<TcpStream> {
    let mut opening = JoinSet::new();
    for _ in 0..ATTACK {
        opening.spawn(async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            stream.write_all(say).await.ok()?;
            Some(stream)
        });
    }
    // What the system does not let in any more is no part of the attack.
    let start = Instant::now();
    let mut open = Vec::new();
    loop {
        match timeout(OPENING_MAX, opening.join_next()).await {
            Ok(Some(stream)) => open.extend(stream.ok().flatten()),
            // The machine may have been busy with others.
            Err(_) if open.len() <= least && start.elapsed() < DEADLINE => {}
            Ok(None) | Err(_) => return open,
        }
    }
}

async fn answers(agent: &Agent, listener: &str) {
    let path = match listener {
        "http" => "/v1/status/leader",
        "catalog" => "/v1/catalog/services",
        "ingress_admin" => "/api/routes",
        "ingress" => return routed(agent).await,
        "dns" => {
            named(agent).await;
            let asked = dns::ask_by_tcp(agent.address("dns"), "web.service.consul.", RecordType::A);
            assert_eq!(asked.await.answers.len(), 1);
            return;
        }
        // The agent's own stream goes through it.
        _ => return,
    };
    let (status, body) = http::send(Method::GET, &agent.url(listener, path), None).await;
    assert_eq!(status, StatusCode::OK, "{listener}: {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_listener_takes_the_descriptors_of_the_others() {
    let mut agent = Agent::start_in(Mode::Durable, "", Room::Descriptors { count: 256 }).await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    job.passing(&agent, 1).await;
    for attacked in LISTENERS {
        let memory = MemoryCeiling::above_now(&agent, MEMORY_KIB_MAX);
        let held = hold(agent.address(attacked), b"", ATTACK / 8).await;
        assert!(
            held.len() > ATTACK / 8,
            "{attacked}: {} connections",
            held.len()
        );
        for listener in LISTENERS {
            // Idle clients of DNS make room for new ones; the others wait in the queue of the one
            // that is full.
            if listener != attacked || listener == "dns" {
                answers(&agent, listener).await;
            }
        }
        memory.assert_kept(&agent, attacked);
        drop(held);
        answers(&agent, attacked).await;
    }
    // A check that could not run would have taken the instance out of the routes by now.
    job.passing(&agent, 1).await;
    routed(&agent).await;
    let log = std::fs::read_to_string(agent.dir().join("agent.log")).expect("a log");
    assert!(
        !log.contains("Too many open files"),
        "the caps keep a reserve: {log}"
    );
    trivet(&agent, &["job", "stop", "-purge", "-detach", "web"])
        .await
        .ok();
    no_process_left(&agent.dir().join("data")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_is_not_delayed_by_attacks_on_any_listener() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    job.passing(&agent, 1).await;
    let probes = Probes::start();
    for (listener, say) in [
        ("dns", &b""[..]),
        ("dns", &b"\x01\x00half"[..]),
        ("ingress", &b""[..]),
        ("ingress", &b"GET /web HTTP/1.1\r\nHost: a\r\nX: "[..]),
        (
            "http",
            &b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n{"[..],
        ),
        ("rpc", &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]),
    ] {
        let attack = format!("{listener} with {say:?}");
        let memory = MemoryCeiling::above_now(&agent, MEMORY_KIB_MAX);
        let held = hold(agent.address(listener), say, ATTACK / 4).await;
        assert!(held.len() > ATTACK / 4, "{attack}: {}", held.len());
        probes.assert_in_time(&agent, &attack).await;
        memory.assert_kept(&agent, &attack);
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_is_not_delayed_by_heavy_requests_to_the_api() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    job.passing(&agent, 1).await;
    let probes = Probes::start();
    let memory = MemoryCeiling::above_now(&agent, HEAVY_KIB_MAX);
    // Text that takes long to read: many small blocks.
    let block = "group \"g\" { task \"t\" { driver = \"raw_exec\" } }\n".repeat(4_000);
    let body = serde_json::json!({"JobHCL": format!("job \"big\" {{\n{block}}}\n")});
    let (client, url) = (http::client(), agent.url("http", "/v1/jobs/parse"));
    let mut heavy = JoinSet::new();
    for _ in 0..4 {
        let (client, url, body) = (client.clone(), url.clone(), body.clone());
        heavy.spawn(async move {
            loop {
                let answer = client.post(&url).json(&body).send().await;
                drop(answer.expect("an answer").bytes().await);
            }
        });
    }
    probes.assert_in_time(&agent, "heavy requests").await;
    memory.assert_kept(&agent, "heavy requests");
    assert!(heavy.try_join_next().is_none(), "the attack goes on");
    heavy.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_keep_the_limit_of_files_that_the_agent_raises_for_itself() {
    let agent = Agent::start_in(Mode::Dev, "", Room::SoftDescriptors { count: 300 }).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.pid())).expect("limits");
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .expect("a limit");
    let own: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(own[0], own[1], "the soft limit is the hard one: {files}");
    let job = r#"
job "limits" {
  type = "batch"
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "ulimit -S -n"]
      }
      resources {
        cpu    = 10
        memory = 10
      }
    }
  }
}
"#;
    let file = agent.dir().join("limits.nomad");
    std::fs::write(&file, job).expect("a file");
    let run = ["job", "run", "-detach", file.to_str().expect("a path")];
    trivet(&agent, &run).await.ok();
    let alloc = agent
        .wait("/v1/job/limits/allocations", |allocs| {
            let alloc = allocs.get(0)?;
            (alloc["ClientStatus"] == "complete").then(|| alloc["ID"].clone())
        })
        .await;
    let logs = ["alloc", "logs", alloc.as_str().expect("an id")];
    let logs = trivet(&agent, &logs).await.ok();
    assert_eq!(logs.stdout.trim(), "300");
}

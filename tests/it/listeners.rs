//! Attacks on one listener: the others go on, and traffic is not delayed.

use crate::harness::{
    Agent, DEADLINE, Echo,
    agent::{Mode, no_process_left},
    command::trivet,
    dns, http,
};
use hickory_proto::rr::RecordType;
use reqwest::{Method, StatusCode};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Within which traffic is answered while something else is attacked.
const TRAFFIC_MAX: Duration = Duration::from_millis(100);
/// Requests of one window; its longest counts.
const WINDOW: usize = 5;
/// Connections of an attacker.
const ATTACK: usize = 400;

const LISTENERS: [&str; 6] = ["http", "rpc", "catalog", "dns", "ingress", "ingress_admin"];

/// Connections that say nothing, and then whatever `say` is.
async fn hold(address: SocketAddr, say: &'static [u8]) -> Vec<TcpStream> {
    let mut opening = JoinSet::new();
    for _ in 0..ATTACK {
        opening.spawn(async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            stream.write_all(say).await.ok()?;
            Some(stream)
        });
    }
    // What the system does not let in any more is no part of the attack.
    let opened = timeout(Duration::from_secs(3), async {
        let mut open = Vec::new();
        while let Some(stream) = opening.join_next().await {
            open.extend(stream.ok().flatten());
        }
        open
    });
    opened.await.unwrap_or_default()
}

async fn routed(agent: &Agent) {
    let (status, body) = http::send(Method::GET, &agent.url("ingress", "/web"), None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

async fn named(agent: &Agent) {
    let answer = dns::ask(agent.address("dns"), "web.service.consul.", RecordType::A).await;
    assert_eq!(answer.answers.len(), 1, "{answer:?}");
}

/// Traffic is answered in time. Other processes of the machine may take the processor away for a moment, so
/// windows are tried until one is undisturbed.
async fn traffic_flows(agent: &Agent, attack: &str) {
    let start = Instant::now();
    loop {
        let mut longest = Duration::ZERO;
        for _ in 0..WINDOW {
            longest = longest.max(timed(routed(agent)).await);
            longest = longest.max(timed(named(agent)).await);
        }
        if longest <= TRAFFIC_MAX {
            return;
        }
        assert!(
            start.elapsed() < DEADLINE / 2,
            "{attack}: the last window took up to {longest:?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

async fn timed(work: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    timeout(DEADLINE, work).await.expect("an answer");
    start.elapsed()
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
    let mut agent = Agent::start_with_descriptors(Mode::Durable, "", 256).await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    job.passing(&agent, 1).await;
    for attacked in LISTENERS {
        let held = hold(agent.address(attacked), b"").await;
        assert!(held.len() > 50, "{attacked}: {} connections", held.len());
        for listener in LISTENERS {
            // Idle clients of DNS make room for new ones; the others wait in the queue of the one that is full.
            if listener != attacked || listener == "dns" {
                answers(&agent, listener).await;
            }
        }
        drop(held);
        answers(&agent, attacked).await;
    }
    // A check that could not run would have taken the instance out of the routes by now.
    job.passing(&agent, 1).await;
    traffic_flows(&agent, "after the attacks").await;
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
    traffic_flows(&agent, "nothing").await;
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
        let held = hold(agent.address(listener), say).await;
        assert_eq!(held.len(), ATTACK, "{attack}");
        traffic_flows(&agent, &attack).await;
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_is_not_delayed_by_heavy_requests_to_the_api() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    job.passing(&agent, 1).await;
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
    traffic_flows(&agent, "heavy requests").await;
    assert!(heavy.try_join_next().is_none(), "the attack goes on");
    heavy.shutdown().await;
}

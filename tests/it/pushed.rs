//! Figures that are pushed to those who do not ask for them.

use crate::harness::{Agent, DEADLINE, Echo, agent::Mode, eventually, http};
use reqwest::{Method, StatusCode};
use std::net::SocketAddr;
use tokio::{net::UdpSocket, time::timeout};

/// Requests that are counted.
const REQUESTS: u64 = 5;

async fn receiver(at: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(at).await.expect("a socket");
    let address = socket.local_addr().expect("its address");
    (socket, address)
}

/// Reads lines until `wanted` has what it wants.
async fn read<T>(socket: &UdpSocket, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
    let reading = async {
        let mut buffer = vec![0; 2048];
        loop {
            let length = socket.recv(&mut buffer).await.expect("a datagram");
            let text = std::str::from_utf8(&buffer[..length]).expect("text");
            assert!(text.ends_with('\n') && length <= 1400, "{text}");
            if let Some(found) = text.lines().find_map(&mut wanted) {
                return found;
            }
        }
    };
    timeout(DEADLINE, reading).await.expect("it is told")
}

/// Waits until as many requests as there were are told, as what was added each time.
async fn counts(socket: &UdpSocket) {
    let mut sum = 0;
    read(socket, |line| {
        let (name, rest) = line.split_once(':').expect("a value");
        let is_answer = name.starts_with("trivet.ingress.attempts_total")
            && ["web", "2xx"].iter().all(|part| line.contains(part));
        let (count, _) = rest.split_once("|c").filter(|_| is_answer)?;
        sum += count.parse::<u64>().expect("a number");
        assert!(sum <= REQUESTS, "{sum}");
        (sum == REQUESTS).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_pushed_and_prometheus_may_be_off() {
    let (plain, plain_at) = receiver("127.0.0.1:0").await;
    let (tagged, tagged_at) = receiver("127.0.0.1:0").await;
    let text = format!(
        "telemetry {{\n  statsd_address = \"{plain_at}\"\n  datadog_address = \"{tagged_at}\"\n  \
         datadog_tags = [\"team:web\"]\n  collection_interval = \"200ms\"\n  \
         disable_hostname = true\n  prometheus_metrics = false\n  \
         publish_node_metrics = true\n  publish_allocation_metrics = true\n  \
         statsite_address = \"{plain_at}\"\n}}\n"
    );
    let agent = Agent::start_with(Mode::Dev, &text).await;
    let note = "`telemetry.statsite_address` is known and not acted on";
    assert!(agent.said().contains(note), "{}", agent.said());
    Echo::new("web", 1).run(&agent).await;
    let has = |wanted: &'static str| move |line: &str| (line == wanted).then_some(());
    read(&plain, has("trivet.jobs.running:1|g")).await;
    read(&tagged, has("trivet.jobs:1|g|#status:running,team:web")).await;
    // What the machine and its tasks use.
    for start in [
        "nomad.client.host.memory.total:",
        "nomad.client.allocs.memory.rss:",
    ] {
        let is_it = |line: &str| (line.starts_with(start) && !line.contains(":0|")).then_some(());
        read(&tagged, is_it).await;
    }

    let url = agent.url("ingress", "/web");
    eventually("the route", async || {
        match http::send(Method::GET, &url, None).await.0 {
            StatusCode::OK => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    for _ in 1..REQUESTS {
        assert_eq!(http::send(Method::GET, &url, None).await.0, StatusCode::OK);
    }
    counts(&plain).await;
    counts(&tagged).await;

    let metrics = agent.url("http", "/v1/metrics");
    let (status, text) =
        http::send(Method::GET, &format!("{metrics}?format=prometheus"), None).await;
    assert_eq!(
        (status, &*text),
        (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Prometheus is not enabled"
        )
    );
    let shown = http::get(&metrics).await;
    assert!(!shown["Gauges"].as_array().expect("gauges").is_empty());

    // A receiver that is gone is told of once, and gets figures again when it is back.
    drop(plain);
    eventually("a word about the receiver", async || {
        let said = agent.said();
        let found = said.matches("figures do not get to who is pushed them");
        (found.count() == 1).then_some(()).ok_or(said)
    })
    .await;
    let (plain, _) = receiver(&plain_at.to_string()).await;
    read(&plain, has("trivet.jobs.running:1|g")).await;
    let said = agent.said();
    assert_eq!(said.matches("figures do not get to").count(), 1, "{said}");
}

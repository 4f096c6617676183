//! Figures that are pushed to those who do not ask for them.

use crate::{
    harness::{
        Agent, DEADLINE, Echo,
        agent::{Mode, TRIVET},
        eventually, http,
    },
    program_names::Named,
};
use reqwest::{Method, StatusCode};
use std::{collections::BTreeMap, net::SocketAddr, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::{TcpListener, UdpSocket},
    process::Command,
    time::timeout,
};

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

/// How often lines that begin so were told: as what was added, or as times, which may stand for
/// several. Waits until there are as many as requests.
async fn told(socket: &UdpSocket, wanted: &[(&str, &str)]) {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    read(socket, |line| {
        for (start, kind) in wanted {
            let Some(rest) = line.strip_prefix(start) else {
                continue;
            };
            let (value, rest) = rest.split_once('|').expect("a kind");
            let value: f64 = value.parse().expect("a number");
            assert!(rest.starts_with(kind), "{line}");
            let rate = rest.split_once("|@").map(|(_, rate)| {
                let rate = rate.split('|').next().unwrap_or_default();
                rate.parse::<f64>().expect("a rate")
            });
            let count = match *kind {
                "c" => value,
                _ => 1.0 / rate.unwrap_or(1.0),
            };
            *sums.entry(start).or_default() += count;
        }
        let is_all = |sum: &f64| (sum - REQUESTS as f64).abs() < 0.01;
        assert!(
            sums.values().all(|sum| *sum <= REQUESTS as f64 + 0.01),
            "{sums:?}"
        );
        (sums.len() == wanted.len() && sums.values().all(is_all)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ingress_alone_pushes_metrics_by_their_published_names() {
    let (plain, plain_at) = receiver("127.0.0.1:0").await;
    let (tagged, tagged_at) = receiver("127.0.0.1:0").await;
    let graphite = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let backend = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = backend.local_addr().expect("an address");
    tokio::spawn(async move {
        let router = axum::Router::new().fallback(|| async { "here" });
        axum::serve(backend, router).await.expect("it serves");
    });
    let routes = format!(
        "-registry.static.routes=route add web /web http://{target}/\n\
         route add old /old https://new.example/ opts \"redirect=301\"\n"
    );
    let at = graphite.local_addr().expect("an address");
    let addresses = [
        format!("-metrics.statsd.addr={plain_at}"),
        format!("-metrics.dogstatsd.addr={tagged_at}"),
        format!("-metrics.graphite.addr={at}"),
    ];
    let [statsd, dogstatsd, graphite_at] = &addresses;
    let arguments = [
        "-registry.backend=static",
        &routes,
        "-proxy.addr=127.0.0.1:0",
        "-ui.addr=127.0.0.1:0",
        "-metrics.target=statsd_raw,dogstatsd,graphite",
        "-metrics.prefix=edge.",
        "-metrics.interval=200ms",
        statsd,
        dogstatsd,
        graphite_at,
    ];
    let dir = tempfile::tempdir().expect("a directory");
    let edge = Named::run("fabio", dir, &arguments, &[]).await;
    let status = async |path: &str| {
        let url = edge.url_of("ingress", path);
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client = client.tls_certs_only([]).build().expect("a client");
        let answer = client.get(url).send().await.expect("an answer");
        answer.status().as_u16()
    };
    drop(http::client());
    eventually("the route", async || match status("/web").await {
        200 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    for _ in 1..REQUESTS {
        assert_eq!(status("/web/x").await, 200);
    }
    for _ in 0..REQUESTS {
        assert_eq!(status("/old").await, 301);
    }
    // Of calls of gRPC, one that goes nowhere ends as well.
    for _ in 0..REQUESTS {
        let call = http::client().post(edge.url_of("ingress", "/nowhere/Call"));
        let call = call.header("content-type", "application/grpc");
        let answer = call.header("te", "trailers").send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.headers()["grpc-status"], "5");
    }
    let port = target.port();
    let of_target = format!("edge.web._./web.127_0_0_1_{port}:");
    told(
        &plain,
        &[
            ("edge.requests.service.web:", "ms"),
            ("edge.http.status.code.200.service.web:", "ms"),
            ("edge.http.redirect.count.code.301:", "c"),
            ("edge.grpc.requests:", "ms"),
            ("edge.grpc.status.code.NotFound:", "ms"),
            (&of_target, "ms"),
        ],
    )
    .await;
    read(&plain, |line| (line == "edge.ws.conn:0|g").then_some(())).await;
    let route =
        format!("|#fabio-service:web,fabio-host:_,path:/web,target:http://127.0.0.1:{port}/");
    read(&tagged, |line| {
        let is_it = line.starts_with("edge.route:") && line.ends_with(&route);
        (is_it && line.contains("|h|")).then_some(())
    })
    .await;
    let reading = async {
        loop {
            let (mut stream, _) = graphite.accept().await.expect("a connection");
            let mut text = String::new();
            stream.read_to_string(&mut text).await.expect("lines");
            assert!(text.contains("edge.notfound "), "{text}");
            if text.contains("edge.requests.service.web.p99 ") {
                return;
            }
        }
    };
    timeout(DEADLINE, reading).await.expect("it is told");

    // The same for those who ask.
    let url = edge.url_of("ingress_admin", "/metrics");
    let metrics = http::send(Method::GET, &url, None).await.1;
    for line in [
        format!("edge__http_status_count{{code=\"200\",service=\"web\"}} {REQUESTS}\n"),
        format!("edge__http_redirect_count{{code=\"301\"}} {REQUESTS}\n"),
        format!("edge__grpc_requests_count {REQUESTS}\n"),
        format!("edge__grpc_status_count{{code=\"NotFound\"}} {REQUESTS}\n"),
        format!("trivet_ingress_grpc_calls_total{{status=\"NotFound\"}} {REQUESTS}\n"),
        "edge__requests_bucket{service=\"web\",le=\"0.005\"} ".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog_alone_pushes_figures_too() {
    let (plain, plain_at) = receiver("127.0.0.1:0").await;
    let (tagged, tagged_at) = receiver("127.0.0.1:0").await;
    let dir = tempfile::tempdir().expect("a directory");
    let block = format!(
        "ports {{ http = 0, dns = 0, server = 0 }}\ntelemetry {{\n  \
         statsd_address = \"{plain_at}\"\n  dogstatsd_addr = \"{tagged_at}\"\n  \
         dogstatsd_tags = [\"team:web\"]\n  disable_hostname = true\n}}\n"
    );
    let file = dir.path().join("server.hcl");
    std::fs::write(&file, block).expect("a file");
    let file = file.display().to_string();
    let arguments = ["agent", "-dev", "-config-file", &file];
    let agent = Named::run("consul", dir, &arguments, &[]).await;
    let has = |wanted: &'static str| move |line: &str| (line == wanted).then_some(());
    read(&plain, has("trivet.raft.is_leader:1|g")).await;
    read(&tagged, has("trivet.raft.is_leader:1|g|#team:web")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ingress_alone_writes_metrics_where_that_is_wanted() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("fabio");
    std::os::unix::fs::symlink(TRIVET, &program).expect("a link");
    let mut edge = Command::new(program)
        .args(["-registry.backend=static", "-proxy.addr=127.0.0.1:0"])
        .args(["-ui.addr=127.0.0.1:0", "-metrics.target=stdout"])
        .args(["-metrics.interval=200ms", "-metrics.prefix=edge."])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program");
    let mut lines = BufReader::new(edge.stdout.take().expect("a pipe")).lines();
    let reading = async {
        while let Some(line) = lines.next_line().await.expect("a line") {
            if line == "edge.ws.conn:0|g" {
                return true;
            }
        }
        false
    };
    assert!(timeout(DEADLINE, reading).await.expect("a line in time"));
}

//! Ingress beside nginx: same backend, same load, keep-alive on both sides.

use crate::{
    harness::{Agent, agent::Mode, eventually, http},
    process,
};
use nix::unistd::Pid;
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::process::{Child, Command};

const SECONDS: u32 = 8;
const ROUNDS: usize = 3;
const CONNECTIONS: [u32; 2] = [64, 256];

/// One run of the load generator.
struct Run {
    per_second: f64,
    cpu_us: f64,
    p50: String,
    p99: String,
}

pub(crate) async fn run() {
    let Some([nginx, wrk]) = process::need([("nginx", "nginx-light"), ("wrk", "wrk")]) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let (backend_port, proxy_port) = (free_port(), free_port());
    let backend = Nginx::start(&nginx, dir.path(), "backend", &backend_conf(backend_port)).await;
    let peer = Nginx::start(
        &nginx,
        dir.path(),
        "proxy",
        &proxy_conf(proxy_port, backend_port),
    )
    .await;
    let agent = Agent::start_with(Mode::Dev, "").await;
    let text = format!("route add bench / http://127.0.0.1:{backend_port}/\n");
    let told = http::client()
        .put(agent.url("http", "/v1/trivet/routes/overrides"))
        .body(text)
        .send()
        .await
        .expect("an answer");
    assert!(told.status().is_success(), "{}", told.status());
    for address in [
        local(backend_port),
        local(proxy_port),
        agent.address("ingress"),
    ] {
        answers(address).await;
    }

    println!(
        "backend nginx with 1 worker, {SECONDS} s a run, {ROUNDS} interleaved rounds, wrk with 1 thread, GET of 42 bytes\n"
    );
    println!("| connections | proxy | requests/s | CPU µs/request | p50 | p99 | CPU to nginx |");
    println!("|---|---|---|---|---|---|---|");
    for connections in CONNECTIONS {
        for _ in 0..ROUNDS {
            let worker = process::children(peer.pid())
                .first()
                .copied()
                .expect("a worker");
            let theirs = load(&wrk, local(proxy_port), worker, connections).await;
            let ours = load(&wrk, agent.address("ingress"), agent.pid(), connections).await;
            let ratio = ours.cpu_us / theirs.cpu_us;
            for (name, run, note) in [
                ("nginx", &theirs, String::new()),
                ("trivet", &ours, format!("{ratio:.2}")),
            ] {
                println!(
                    "| {connections} | {name} | {:.0} | {:.1} | {} | {} | {note} |",
                    run.per_second, run.cpu_us, run.p50, run.p99
                );
            }
        }
    }
    backend.stop().await;
    peer.stop().await;
}

async fn load(wrk: &Path, address: SocketAddr, proxy: Pid, connections: u32) -> Run {
    let before = process::cpu_time(proxy);
    let output = Command::new(wrk)
        .args([
            "-t1",
            &format!("-c{connections}"),
            &format!("-d{SECONDS}s"),
            "--latency",
        ])
        .arg(format!("http://{address}/"))
        .output()
        .await
        .expect("wrk runs");
    let used = process::cpu_time(proxy) - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = |start: &str, at: usize| {
        text.lines()
            .map(str::trim)
            .find(|line| line.starts_with(start))
            .and_then(|line| line.split_whitespace().nth(at))
            .unwrap_or("?")
            .to_owned()
    };
    let total: f64 = text
        .lines()
        .find(|line| line.contains("requests in"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::NAN);
    assert!(!text.contains("Non-2xx"), "{text}");
    Run {
        per_second: word("Requests/sec:", 1).parse().unwrap_or(f64::NAN),
        cpu_us: used.as_secs_f64() * 1e6 / total,
        p50: word("50%", 1),
        p99: word("99%", 1),
    }
}

struct Nginx {
    child: Child,
}

impl Nginx {
    async fn start(nginx: &Path, dir: &Path, name: &str, server: &str) -> Self {
        let home = dir.join(name);
        std::fs::create_dir_all(&home).expect("a directory");
        let conf = format!(
            "daemon off;\nworker_processes 1;\npid {0}/pid;\nerror_log {0}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n access_log off;\n keepalive_requests 10000000;\n {server}\n}}\n",
            home.display()
        );
        std::fs::write(home.join("nginx.conf"), conf).expect("a file");
        let child = Command::new(nginx)
            .arg("-p")
            .arg(&home)
            .arg("-c")
            .arg(home.join("nginx.conf"))
            .kill_on_drop(true)
            .spawn()
            .expect("nginx starts");
        Self { child }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().expect("it runs")).expect("a process id"))
    }

    async fn stop(mut self) {
        nix::sys::signal::kill(self.pid(), nix::sys::signal::Signal::SIGTERM).expect("it runs");
        tokio::time::timeout(Duration::from_secs(10), self.child.wait())
            .await
            .expect("it stops")
            .ok();
    }
}

fn backend_conf(port: u16) -> String {
    let body = "x".repeat(42);
    format!(
        "server {{ listen 127.0.0.1:{port} reuseport; location / {{ return 200 \"{body}\"; }} }}"
    )
}

fn proxy_conf(port: u16, backend: u16) -> String {
    format!(
        "upstream backend {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 10000000; }}\n\
         server {{ listen 127.0.0.1:{port} reuseport;\n location / {{ proxy_pass http://backend; \
         proxy_http_version 1.1; proxy_set_header Connection \"\"; \
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Host $host; }} }}"
    )
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

async fn answers(address: SocketAddr) {
    eventually("an answer", || async {
        let response = http::client()
            .get(format!("http://{address}/"))
            .send()
            .await;
        match response {
            Ok(response) if response.status().is_success() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

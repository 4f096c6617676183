//! Readers that wait and say nothing, and clients that read slowly or not at all.

use crate::harness::{Agent, DEADLINE, dns, http, probes::MemoryCeiling};
use hickory_proto::rr::RecordType;
use reqwest::Method;
use std::net::SocketAddr;
use sys::descriptors;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Readers that wait for something that does not change.
const IDLE: usize = 1000;
/// What they may take together, KiB.
const IDLE_KIB_MAX: u64 = 96 * 1024;
/// Clients that ask for a large value and never read the answer.
const MUTE: usize = 100;
/// Bytes of that value.
const VALUE_BYTES: usize = 400 * 1024;
/// What they may take together, KiB: each its value and buffers.
const MUTE_KIB_MAX: u64 = 128 * 1024;

async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it is taken");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_wait_cost_little_and_harm_nobody() {
    descriptors::raise().expect("room for the clients");
    let agent = Agent::start().await;
    let url = |path: &str| agent.url("catalog", path);
    let put = async |path: &str, body: &str| {
        let sent = http::client()
            .put(url(path))
            .body(body.to_owned())
            .send()
            .await;
        assert!(sent.expect("an answer").status().is_success(), "{path}");
    };
    put("/v1/kv/quiet", "1").await;
    put("/v1/kv/loud", "1").await;
    let index = async |path: &str| {
        let answer = reqwest::get(url(path)).await.expect("an answer");
        let index = answer.headers()["x-consul-index"].to_str().expect("text");
        index.to_owned()
    };
    let address = agent.address("catalog");
    let memory = MemoryCeiling::above_now(&agent, IDLE_KIB_MAX);
    let quiet = format!(
        "/v1/kv/quiet?index={}&wait=10m",
        index("/v1/kv/quiet").await
    );
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        idle.push(ask(address, &quiet).await);
    }
    let loud = format!("/v1/kv/loud?index={}&wait=10m", index("/v1/kv/loud").await);
    let mut waiting = ask(address, &loud).await;
    put("/v1/kv/loud", "2").await;
    let mut head = [0; 12];
    let woken = timeout(DEADLINE, waiting.read_exact(&mut head)).await;
    woken.expect("it is woken").expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    let (status, _) = http::send(Method::GET, &url("/v1/catalog/services"), None).await;
    assert_eq!(status, 200);
    let name = "consul.service.consul.";
    dns::ask(agent.address("dns"), name, RecordType::A).await;
    memory.assert_kept(&agent, "idle readers");
    put("/v1/kv/quiet", "2").await;
    for stream in &mut idle {
        let woken = timeout(DEADLINE, stream.read_exact(&mut head)).await;
        woken.expect("each is woken").expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_are_bounded_and_harm_nobody() {
    descriptors::raise().expect("room for the clients");
    let agent = Agent::start().await;
    let large = "x".repeat(VALUE_BYTES);
    let sent = http::client()
        .put(agent.url("catalog", "/v1/kv/large"))
        .body(large)
        .send()
        .await;
    assert!(sent.expect("an answer").status().is_success());
    let memory = MemoryCeiling::above_now(&agent, MUTE_KIB_MAX);
    let mut mute = Vec::with_capacity(MUTE);
    for _ in 0..MUTE {
        mute.push(ask(agent.address("catalog"), "/v1/kv/large?raw").await);
    }
    // Half of them go away in the middle of it.
    mute.truncate(MUTE / 2);
    for _ in 0..20 {
        let (status, _) =
            http::send(Method::GET, &agent.url("catalog", "/v1/kv/?keys"), None).await;
        assert_eq!(status, 200);
    }
    memory.assert_kept(&agent, "clients that never read");
    drop(mute);
}

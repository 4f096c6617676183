//! Files that a task needs before it starts.

use crate::harness::{Agent, http};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{convert::Infallible, fmt::Write, net::SocketAddr};

/// An archive with one script.
fn archive() -> Vec<u8> {
    let script = b"#!/bin/sh\necho unpacked and run\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(script.len() as u64);
    header.set_mode(0o755);
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut tar = tar::Builder::new(gzip);
    tar.append_data(&mut header, "bin/run.sh", &script[..])
        .expect("a file");
    tar.into_inner()
        .and_then(flate2::write::GzEncoder::finish)
        .expect("an archive")
}

/// Serves `body` under every path.
async fn serve(body: Vec<u8>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let body = bytes::Bytes::from(body);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let body = body.clone();
            let service = hyper::service::service_fn(move |_| {
                let body = http_body_util::Full::new(body.clone());
                async move { Ok::<_, Infallible>(hyper::Response::new(body)) }
            });
            let io = hyper_util::rt::TokioIo::new(socket);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    address
}

async fn run(agent: &Agent, source: &str, checksum: &str) -> Value {
    let job = json!({"Job": {
        "ID": "fetch", "Type": "batch",
        "TaskGroups": [{"Name": "g",
            "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
            "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
            "Tasks": [{
                "Name": "t", "Driver": "raw_exec", "Config": {"command": "local/bin/run.sh"},
                "Artifacts": [{
                    "GetterSource": source, "GetterOptions": {"checksum": checksum}
                }],
                "Resources": {"CPU": 10, "MemoryMB": 10}}]}],
    }});
    http::put(&agent.url("http", "/v1/jobs"), &job).await;
    agent
        .wait("/v1/job/fetch/allocations", |allocs| {
            let alloc = allocs.get(0)?;
            let over = ["complete", "failed"].contains(&alloc["ClientStatus"].as_str()?);
            over.then(|| alloc.clone())
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_fetched_checked_unpacked_and_run() {
    let agent = Agent::start().await;
    let archive = archive();
    let digest = Sha256::digest(&archive)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes text");
            hex
        });
    let address = serve(archive).await;
    let source = format!("http://{address}/tool.tar.gz");
    let alloc = run(&agent, &source, &format!("sha256:{digest}")).await;
    assert_eq!(alloc["ClientStatus"], "complete", "{alloc}");
    let id = alloc["ID"].as_str().expect("an id");
    let logs = crate::harness::command::trivet(&agent, &["alloc", "logs", id])
        .await
        .ok();
    assert_eq!(logs.stdout, "unpacked and run\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_checksum_runs_nothing() {
    let agent = Agent::start().await;
    let address = serve(archive()).await;
    let wrong = format!("sha256:{}", "0".repeat(64));
    let alloc = run(&agent, &format!("http://{address}/tool.tar.gz"), &wrong).await;
    assert_eq!(alloc["ClientStatus"], "failed", "{alloc}");
    let events = alloc["TaskStates"]["t"]["Events"]
        .as_array()
        .expect("events")
        .clone();
    let told = events.iter().any(|event| {
        event["Type"] == "Failed Artifact Download"
            && event["DisplayMessage"]
                .as_str()
                .is_some_and(|text| text.contains("checksum"))
    });
    assert!(told, "{events:#?}");
    assert!(
        events.iter().all(|event| event["Type"] != "Started"),
        "{events:#?}"
    );
}

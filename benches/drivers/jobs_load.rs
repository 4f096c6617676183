//! Small jobs: one-task batch jobs of `/bin/true` through the durable log to their end.

use crate::{
    harness::{Agent, agent::Mode, http},
    process,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep},
};

const JOBS: usize = 1_000;
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 3;

pub(crate) async fn run() {
    println!(
        "{JOBS} one-task raw_exec batch jobs of /bin/true, {CONNECTIONS} connections, durable log\n"
    );
    println!(
        "| round | accepted/s | placed/s | finished/s | agent CPU ms/job | memory before → after MiB | KiB/finished job |"
    );
    println!("|---|---|---|---|---|---|---|");
    let agent = Agent::start_with(Mode::Durable, "").await;
    for round in 0..ROUNDS {
        measure(&agent, round).await;
    }
}

async fn measure(agent: &Agent, round: usize) {
    let memory_before = process::resident_kib(agent.pid());
    let cpu_before = process::cpu_time(agent.pid());
    let start = Instant::now();
    submit(agent, round).await;
    let accepted = start.elapsed();
    let mut placed = None;
    let finished = loop {
        let allocs = http::get(&agent.url("http", &format!("/v1/jobs?prefix=b{round}-"))).await;
        let (running_or_done, done) = count(&allocs);
        if running_or_done >= JOBS && placed.is_none() {
            placed = Some(start.elapsed());
        }
        if done >= JOBS {
            break start.elapsed();
        }
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "only {done} finished"
        );
        sleep(Duration::from_millis(50)).await;
    };
    let placed = placed.unwrap_or(finished);
    let cpu = process::cpu_time(agent.pid()) - cpu_before;
    let memory_after = process::resident_kib(agent.pid());
    let per_second = |time: Duration| JOBS as f64 / time.as_secs_f64();
    println!(
        "| {round} | {:.0} | {:.0} | {:.0} | {:.2} | {:.1} → {:.1} | {:.1} |",
        per_second(accepted),
        per_second(placed),
        per_second(finished),
        cpu.as_secs_f64() * 1e3 / JOBS as f64,
        memory_before as f64 / 1024.0,
        memory_after as f64 / 1024.0,
        (memory_after as f64 - memory_before as f64) / JOBS as f64,
    );
}

/// Jobs with an allocation, and jobs whose allocation is complete.
fn count(jobs: &Value) -> (usize, usize) {
    let group =
        |job: &Value, field: &str| job["JobSummary"]["Summary"]["g"][field].as_u64() > Some(0);
    let jobs = jobs.as_array().map_or(&[][..], Vec::as_slice);
    let done = jobs.iter().filter(|job| group(job, "Complete")).count();
    let live = jobs
        .iter()
        .filter(|job| group(job, "Starting") || group(job, "Running"))
        .count();
    (done + live, done)
}

async fn submit(agent: &Agent, round: usize) {
    let next = Arc::new(Mutex::new(0..JOBS));
    let url = agent.url("http", "/v1/jobs");
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, url) = (Arc::clone(&next), url.clone());
        workers.spawn(async move {
            let client = http::client();
            loop {
                let Some(number) = next.lock().await.next() else {
                    return;
                };
                let job = json!({"Job": {
                    "ID": format!("b{round}-{number:04}"), "Type": "batch", "Datacenters": ["*"],
                    "TaskGroups": [{"Name": "g", "Tasks": [{
                        "Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"},
                        "Resources": {"CPU": 1, "MemoryMB": 10}}],
                        "EphemeralDisk": {"SizeMB": 1}}],
                }});
                let response = client.put(&url).json(&job).send().await.expect("an answer");
                assert!(response.status().is_success(), "{}", response.status());
                response.bytes().await.expect("a body");
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.expect("a worker does not panic");
    }
}

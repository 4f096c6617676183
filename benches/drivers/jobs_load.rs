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
const ROUNDS: usize = 4;
/// Pause between two looks at the jobs.
const LOOK: Duration = Duration::from_millis(500);
/// Longer than the allocator keeps pages that nobody uses.
const SETTLE: Duration = Duration::from_secs(12);

pub(crate) async fn run() {
    println!(
        "{JOBS} one-task raw_exec batch jobs of /bin/true, {CONNECTIONS} connections, durable log\n\
         memory is of the whole agent, client and log cache included, {} s after the last end\n",
        SETTLE.as_secs()
    );
    println!(
        "| round | accepted/s | placed/s | finished/s | agent CPU ms/job | anonymous memory before → after MiB | KiB/finished job |"
    );
    println!("|---|---|---|---|---|---|---|");
    let agent = Agent::start_with(Mode::Durable, "").await;
    for round in 0..ROUNDS {
        measure(&agent, round).await;
    }
}

async fn measure(agent: &Agent, round: usize) {
    let memory_before = settled_memory(agent).await;
    let cpu_before = process::cpu_time(agent.pid());
    let (start, since_epoch) = (Instant::now(), now_ns());
    submit(agent, round).await;
    let accepted = start.elapsed();
    until_all_complete(agent, round, start).await;
    let cpu = process::cpu_time(agent.pid()) - cpu_before;
    let (placed, finished) = last_times(agent, round).await;
    let since_start = |time: i64| (time - since_epoch) as f64 / 1e9;
    let memory_after = settled_memory(agent).await;
    println!(
        "| {round} | {:.0} | {:.0} | {:.0} | {:.2} | {:.1} → {:.1} | {:.1} |",
        JOBS as f64 / accepted.as_secs_f64(),
        JOBS as f64 / since_start(placed),
        JOBS as f64 / since_start(finished),
        cpu.as_secs_f64() * 1e3 / JOBS as f64,
        memory_before as f64 / 1024.0,
        memory_after as f64 / 1024.0,
        (memory_after as f64 - memory_before as f64) / JOBS as f64,
    );
}

/// Waits for the end with few questions: a list of all jobs costs the agent as much as several jobs.
async fn until_all_complete(agent: &Agent, round: usize, start: Instant) {
    let url = agent.url("http", &format!("/v1/jobs?prefix=b{round}-"));
    loop {
        let jobs = http::get(&url).await;
        let jobs = jobs.as_array().map_or(&[][..], Vec::as_slice);
        let complete = |job: &&Value| {
            job["JobSummary"]["Summary"]["g"]["Complete"]
                .as_u64()
                .is_some_and(|count| count > 0)
        };
        let done = jobs.iter().filter(complete).count();
        if done >= JOBS {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "only {done} finished"
        );
        sleep(LOOK).await;
    }
}

/// When the last allocation of the round was placed, and when the servers took note of the last end;
/// nanoseconds since the epoch, by the agent.
async fn last_times(agent: &Agent, round: usize) -> (i64, i64) {
    let allocs = http::get(&agent.url("http", "/v1/allocations?task_states=false")).await;
    let prefix = format!("b{round}-");
    let of_round = |field: &str| {
        let rows = allocs.as_array().map_or(&[][..], Vec::as_slice);
        rows.iter()
            .filter(|row| {
                row["JobID"]
                    .as_str()
                    .is_some_and(|id| id.starts_with(&prefix))
            })
            .filter_map(|row| row[field].as_i64())
            .max()
            .expect("the round has allocations")
    };
    (of_round("CreateTime"), of_round("ModifyTime"))
}

/// Anonymous resident memory in KiB once the allocator has given back what it gives back.
async fn settled_memory(agent: &Agent) -> u64 {
    sleep(SETTLE).await;
    process::anonymous_kib(agent.pid())
}

fn now_ns() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock is past the epoch");
    i64::try_from(now.as_nanos()).expect("the clock is before the year 2262")
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
                        "Resources": {"CPU": 1, "MemoryMB": 10},
                        "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": 1}}],
                        "EphemeralDisk": {"SizeMB": 10}}],
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

//! Writes of one key each, from so many clients at a time, on one server and on three.

use super::{Latencies, start};
use crate::{harness::Agent, harness::http, process};
use reqwest::StatusCode;
use std::time::Duration;
use tokio::time::Instant;

/// Clients that write at a time, each on one connection that it keeps.
const CLIENTS: [usize; 2] = [1, 64];
/// Writes before those that count.
const WARM_UP: Duration = Duration::from_secs(1);

/// What one window found.
struct Row {
    per_second: f64,
    latencies: Latencies,
    cpu_per_write: Duration,
}

pub(super) async fn run(rounds: usize, seconds: Duration) {
    let groups = [start(1, 1).await, start(2, 3).await];
    println!(
        "writes of a key of 16 bytes over the catalog API, to all servers of the group by turns; a server that \
         does not lead passes them on; durable logs on one disk; windows of {} s in turn\n",
        seconds.as_secs()
    );
    println!("| round | servers | clients | writes/s | p50 ms | p99 ms | CPU ms/write |");
    println!("|---|---|---|---|---|---|---|");
    for round in 0..rounds {
        for clients in CLIENTS {
            let mut both = Vec::new();
            for servers in &groups {
                let row = window(servers, clients, seconds).await;
                println!(
                    "| {round} | {} | {clients} | {:.0} | {:.2} | {:.2} | {:.3} |",
                    servers.len(),
                    row.per_second,
                    row.latencies.percentile(50),
                    row.latencies.percentile(99),
                    row.cpu_per_write.as_secs_f64() * 1e3,
                );
                both.push(row);
            }
            println!(
                "| {round} | 3 / 1 | {clients} | {:.2} | {:.2} | {:.2} | {:.2} |",
                both[1].per_second / both[0].per_second,
                both[1].latencies.percentile(50) / both[0].latencies.percentile(50),
                both[1].latencies.percentile(99) / both[0].latencies.percentile(99),
                both[1].cpu_per_write.as_secs_f64() / both[0].cpu_per_write.as_secs_f64(),
            );
        }
    }
    println!();
}

async fn window(servers: &[Agent], clients: usize, seconds: Duration) -> Row {
    written(servers, clients, WARM_UP).await;
    let used = || -> Duration {
        let all = servers.iter();
        all.map(|server| process::cpu_time(server.pid())).sum()
    };
    let before = used();
    let start = Instant::now();
    let latencies = written(servers, clients, seconds).await;
    let took = start.elapsed();
    let count = latencies.len().max(1);
    Row {
        per_second: count as f64 / took.as_secs_f64(),
        cpu_per_write: (used() - before) / u32::try_from(count).expect("not so many writes"),
        latencies: Latencies::new(latencies),
    }
}

/// Latencies of all writes of a window, microseconds.
async fn written(servers: &[Agent], clients: usize, time: Duration) -> Vec<u64> {
    let until = Instant::now() + time;
    let writing = (0..clients).map(|client| {
        let url = servers[client % servers.len()].url("catalog", "/v1/kv/bench");
        tokio::spawn(async move {
            let http = http::client();
            let mut latencies = Vec::new();
            let mut number = 0u64;
            while Instant::now() < until {
                number += 1;
                let begun = Instant::now();
                let sent = http.put(format!("{url}/{client}/{}", number % 1000));
                let answer = sent.body("sixteen bytes...").send().await;
                let answer = answer.expect("the server answers");
                assert_eq!(answer.status(), StatusCode::OK);
                // The connection is kept once the body is read.
                answer.bytes().await.expect("a body");
                latencies.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            latencies
        })
    });
    let mut all = Vec::new();
    for one in futures_util::future::join_all(writing).await {
        all.extend(one.expect("a client does not panic"));
    }
    all
}

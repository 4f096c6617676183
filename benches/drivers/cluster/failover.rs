//! The leader is killed: how long until a write is taken again.

use super::{leader, start, voting};
use crate::harness::{Agent, DEADLINE, http};
use reqwest::StatusCode;
use std::time::Duration;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// Pause between two attempts to write, which do not wait for each other.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn run(runs: usize) {
    let mut servers = start(3, 3).await;
    println!(
        "three servers, the leader is killed (kill -9); a write is tried every {} ms at both of the others; the \
         first that is acknowledged counts\n",
        PAUSE.as_millis()
    );
    let mut taken = Vec::new();
    for run in 0..runs {
        let at = leader(&servers).await;
        servers[at].kill().await;
        let killed = Instant::now();
        let others = servers.iter().enumerate().filter(|(other, _)| *other != at);
        let others: Vec<&Agent> = others.map(|(_, server)| server).collect();
        first_write(&others, run).await;
        taken.push(killed.elapsed());
        servers[at].start_again().await;
        voting(&servers[at], 3).await;
    }
    taken.sort_unstable();
    let seconds = |at: usize| taken.get(at).map_or(f64::NAN, Duration::as_secs_f64);
    println!("| runs | shortest s | median s | 90 % s | longest s |");
    println!("|---|---|---|---|---|");
    println!(
        "| {runs} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
        seconds(0),
        seconds(taken.len() / 2),
        seconds(taken.len() * 9 / 10),
        seconds(taken.len().saturating_sub(1)),
    );
}

/// Waits until one of the servers acknowledges a write.
async fn first_write(servers: &[&Agent], run: usize) {
    let client = http::client();
    let begun = Instant::now();
    let mut attempts = JoinSet::new();
    for attempt in 0u64.. {
        for server in servers {
            let url = server.url("catalog", &format!("/v1/kv/after/{run}/{attempt}"));
            let sent = client.put(url).body("1").send();
            attempts.spawn(async move {
                let answer = sent.await;
                answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
            });
        }
        sleep(PAUSE).await;
        while let Some(ended) = attempts.try_join_next() {
            if ended.expect("an attempt does not panic") {
                return;
            }
        }
        assert!(begun.elapsed() < DEADLINE, "no write was taken");
    }
}

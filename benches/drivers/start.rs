//! Agent start to ready, and what it holds when nothing happens.

use crate::{harness::Agent, process};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const ROUNDS: usize = 5;
const IDLE: Duration = Duration::from_secs(5);

pub(crate) async fn run() {
    println!(
        "dev agent with all roles: jobs API, catalog, DNS, ingress, client; ready is when it says so\n"
    );
    println!(
        "| round | start to ready ms | idle memory MiB | idle CPU % over {} s |",
        IDLE.as_secs()
    );
    println!("|---|---|---|---|");
    for round in 0..ROUNDS {
        let start = Instant::now();
        let mut agent = Agent::start().await;
        let ready = start.elapsed();
        let before = process::cpu_time(agent.pid());
        sleep(IDLE).await;
        let used = process::cpu_time(agent.pid()) - before;
        println!(
            "| {round} | {:.0} | {:.1} | {:.1} |",
            ready.as_secs_f64() * 1e3,
            process::resident_kib(agent.pid()) as f64 / 1024.0,
            used.as_secs_f64() / IDLE.as_secs_f64() * 100.0
        );
        agent.stop().await;
    }
}

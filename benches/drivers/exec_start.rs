//! Starts of isolated tasks, one at a time on an idle agent, beside those without isolation.
//! Needs root.

use crate::{
    harness::{Agent, agent::Mode},
    task_start,
};
use serde_json::json;

/// Starts of each driver.
const STARTS: usize = 100;
/// Milliseconds from placement to start of an isolated task, at the median.
const GOAL_MS: f64 = 20.0;
const DRIVERS: [&str; 2] = ["exec", "raw_exec"];

pub(crate) async fn run() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let agent = Agent::start_with(Mode::Durable, "").await;
    let exec = agent
        .wait("/v1/nodes", |nodes| {
            let exec = &nodes[0]["Drivers"]["exec"];
            exec.is_object().then(|| exec.clone())
        })
        .await;
    if exec["Healthy"] != true {
        println!(
            "SKIPPED: needs what `exec` needs: {}",
            exec["HealthDescription"]
        );
        return;
    }
    println!(
        "{STARTS} one-task batch jobs of /bin/true with each driver in turn, each submitted when the one before has ended; \
         durable log; placed to started by the agent's times\n"
    );
    let mut times: [Vec<f64>; DRIVERS.len()] = Default::default();
    for number in 0..STARTS {
        for (driver, times) in DRIVERS.iter().zip(&mut times) {
            let id = format!("{}-{number}", driver.replace('_', "-"));
            let task = json!({
                "Driver": driver, "Config": {"command": "/bin/true"},
                "Resources": {"CPU": 10, "MemoryMB": 16},
            });
            let job = task_start::job(&id, "batch", &task);
            let alloc = task_start::reaches(&agent, &id, &job, "complete").await;
            times.push(task_start::placed_to_started(&alloc));
        }
    }
    println!("| driver | first ms | median ms | p90 ms | most ms |\n|---|---|---|---|---|");
    let mut medians = [0.0; DRIVERS.len()];
    for ((driver, times), middle) in DRIVERS.iter().zip(&mut times).zip(&mut medians) {
        let first = times[0];
        *middle = task_start::median(times);
        let (late, most) = (
            task_start::percentile(times, 90),
            task_start::percentile(times, 100),
        );
        println!("| {driver} | {first:.1} | {middle:.1} | {late:.1} | {most:.1} |");
    }
    let [isolated, plain] = medians;
    let met = if isolated <= GOAL_MS { "met" } else { "missed" };
    println!(
        "\nexec / raw_exec: {:.2}; goal of {GOAL_MS:.0} ms at the median: {met}",
        isolated / plain
    );
}

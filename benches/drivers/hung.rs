//! One of three instances hangs under load: how many requests fail, and how long they take.

use crate::{
    harness::{
        Agent, Echo, http,
        load::{Load, Request, failures, p99},
    },
    process,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::time::Duration;

const PER_SECOND: u32 = 200;

/// Requests before the instance hangs, and while it does.
const REQUESTS: (usize, usize) = (400, 1600);

pub(crate) async fn run() {
    let agent = Agent::start().await;
    let job = Echo {
        check_timeout: "1s".into(),
        ..Echo::new("web", 3)
    };
    job.run(&agent).await;
    job.passing(&agent, 3).await;
    let allocs = job.running(&agent, 3).await;
    let id = allocs[0]["ID"].as_str().expect("an id");
    let alloc = http::get(&agent.url("http", &format!("/v1/allocation/{id}"))).await;
    let port = &alloc["AllocatedResources"]["Shared"]["Ports"][0]["Value"];
    let server = serving(&agent, &format!("127.0.0.1:{port}"));
    println!("3 instances, {PER_SECOND} GET/s, checks every second, SIGSTOP of one\n");
    println!("| signal | requests | failed | p50 | p99 | slowest |");
    println!("|---|---|---|---|---|---|");
    let load = Load::start(
        agent.address("ingress"),
        "/web",
        PER_SECOND,
        Duration::from_secs(30),
    );
    load.more(REQUESTS.0).await;
    kill(server, Signal::SIGSTOP).expect("it runs");
    load.more(REQUESTS.1).await;
    kill(server, Signal::SIGCONT).expect("it is there");
    job.passing(&agent, 3).await;
    row("SIGSTOP, SIGCONT", &load.stop().await);
}

/// The process that serves an address.
fn serving(agent: &Agent, listen: &str) -> Pid {
    let serves = |pid: &Pid| {
        let words = process::command_line(*pid);
        words.get(1).is_some_and(|word| word == "echo") && words.iter().any(|word| word == listen)
    };
    agent
        .task_processes()
        .into_iter()
        .find(serves)
        .expect("a process serves the port")
}

fn row(signal: &str, requests: &[Request]) {
    let mut times: Vec<Duration> = requests.iter().map(|request| request.took).collect();
    times.sort_unstable();
    println!(
        "| {signal} | {} | {} | {:.1?} | {:.1?} | {:.1?} |",
        requests.len(),
        failures(requests).len(),
        times[times.len() / 2],
        p99(requests),
        times.last().copied().unwrap_or_default()
    );
}

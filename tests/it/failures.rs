//! Tasks that die, hang or turn sick.

use crate::{
    harness::{
        Agent, DEADLINE, Echo, dns, eventually, http,
        load::{self, Load, none_failed},
    },
    walkthrough::targets,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{path::Path, time::Duration};
use tokio::time::Instant;

/// The process of the task itself, not of its supervisor, that serves `port`.
pub(crate) fn server_process(agent: &Agent, port: u16) -> Pid {
    let listen = format!("127.0.0.1:{port}");
    let serves = |pid: &Pid| {
        let line = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"));
        let line = line.unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        words.get(1) == Some(&&b"echo"[..]) && words.contains(&listen.as_bytes())
    };
    agent
        .task_processes()
        .into_iter()
        .find(serves)
        .expect("a process serves the port")
}

pub(crate) fn port(alloc: &Value) -> u16 {
    let port = &alloc["AllocatedResources"]["Shared"]["Ports"][0]["Value"];
    u16::try_from(port.as_u64().expect("a port")).expect("a port")
}

pub(crate) async fn read_alloc(agent: &Agent, stub: &Value) -> Value {
    let id = stub["ID"].as_str().expect("an id");
    http::get(&agent.url("http", &format!("/v1/allocation/{id}"))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_task_is_restarted_and_no_get_fails() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 3);
    job.run(&agent).await;
    targets(&agent, "web", 3).await;
    let allocs = job.running(&agent, 3).await;
    let victim = read_alloc(&agent, &allocs[0]).await;
    let load = Load::start(agent.address("ingress"), "/web", 500, DEADLINE);
    load.more(200).await;
    kill(server_process(&agent, port(&victim)), Signal::SIGKILL).expect("it runs");
    let path = format!("/v1/allocation/{}", victim["ID"].as_str().expect("an id"));
    let restarted = agent
        .wait(&path, |alloc| {
            let state = &alloc["TaskStates"]["server"];
            (state["Restarts"] == 1 && state["State"] == "running").then(|| state.clone())
        })
        .await;
    job.passing(&agent, 3).await;
    load.more(200).await;
    let requests = load.stop().await;
    none_failed(&requests);

    let events: Vec<&str> = restarted["Events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["DisplayMessage"].as_str())
        .collect();
    assert!(
        events
            .iter()
            .any(|text| text.starts_with("Exit Code: 137, Signal: 9")),
        "{events:?}"
    );
}

/// Instances that are taken out soon when they hang.
fn impatient(count: u32) -> Echo {
    Echo {
        check_timeout: "1s".into(),
        ..Echo::new("web", count)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_instance_leaves_the_routes_and_no_get_fails() {
    let agent = Agent::start().await;
    let job = impatient(3);
    job.run(&agent).await;
    targets(&agent, "web", 3).await;
    let allocs = job.running(&agent, 3).await;
    let victim = read_alloc(&agent, &allocs[0]).await;
    let pid = server_process(&agent, port(&victim));
    let load = Load::start(agent.address("ingress"), "/web", 200, DEADLINE);
    load.more(100).await;
    // Interval and timeout are one second each; one more for a loaded machine, which may hold up
    // one of them for longer, but not each.
    let most = Duration::from_secs(3);
    let mut out = Duration::MAX;
    for _ in 0..5 {
        let hung = Instant::now();
        kill(pid, Signal::SIGSTOP).expect("it runs");
        targets(&agent, "web", 2).await;
        out = out.min(hung.elapsed());
        load.more(200).await;
        kill(pid, Signal::SIGCONT).expect("it is there");
        job.passing(&agent, 3).await;
        targets(&agent, "web", 3).await;
        if out < most {
            break;
        }
    }
    let requests = load.stop().await;
    assert!(out < most, "out of the routes after {out:?}");
    // What it swallowed was given to others. Where the machine has time, 99 of 100 take less than
    // 1.5 s; the driver `hung` measures that.
    println!("99 of 100 requests took {:?} at most", load::p99(&requests));
    none_failed(&requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_check_takes_exactly_that_instance_out_and_brings_it_back() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 3);
    job.text = "${NOMAD_ALLOC_INDEX}".into();
    let flags = agent.dir().join("sick");
    std::fs::create_dir(&flags).expect("a directory");
    job.service = format!(
        "check {{\n name = \"flag\"\n type = \"script\"\n task = \"server\"\n command = \"/bin/sh\"\n \
         args = [\"-c\", \"test ! -e {}/$NOMAD_ALLOC_INDEX || exit 2\"]\n interval = \"1s\"\n timeout = \"10s\"\n }}",
        flags.display()
    );
    job.run(&agent).await;
    targets(&agent, "web", 3).await;
    std::fs::write(flags.join("1"), "").expect("a file");
    job.passing(&agent, 2).await;
    targets(&agent, "web", 2).await;
    let seen = load::spread(&agent.url("ingress", "/web"), 20).await;
    assert_eq!(
        seen.keys().map(String::as_str).collect::<Vec<_>>(),
        ["0", "2"]
    );
    assert_eq!(srv(&agent, 2).await.len(), 2);
    std::fs::remove_file(flags.join("1")).expect("a file");
    job.passing(&agent, 3).await;
    targets(&agent, "web", 3).await;
    let seen = load::spread(&agent.url("ingress", "/web"), 30).await;
    assert!(
        seen.len() == 3 && seen.values().all(|&count| count == 10),
        "{seen:?}"
    );
    assert_eq!(srv(&agent, 3).await.len(), 3);
}

async fn srv(agent: &Agent, count: usize) -> Vec<u16> {
    eventually("the SRV answers", || async {
        let ports = dns::srv_ports(agent.address("dns"), "web.service.consul.").await;
        if ports.len() == count {
            Ok(ports)
        } else {
            Err(format!("{ports:?}"))
        }
    })
    .await
}

/// When a change of the one instance of `web` shows in the catalog and in the routes.
async fn follow(agent: &Agent, count: usize) -> (Instant, Instant) {
    let catalog = agent.wait_catalog("/v1/health/service/web?passing", |entries| {
        (entries.as_array()?.len() == count).then(Instant::now)
    });
    let routes = async {
        targets(agent, "web", count).await;
        Instant::now()
    };
    tokio::join!(catalog, routes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_follow_the_check_result_within_a_tenth_of_a_second() {
    let agent = Agent::start().await;
    let job = impatient(1);
    job.run(&agent).await;
    targets(&agent, "web", 1).await;
    let allocs = job.running(&agent, 1).await;
    let pid = server_process(&agent, port(&read_alloc(&agent, &allocs[0]).await));
    // A machine that is busy with other tests may hold up one change, but not each of them.
    let most = Duration::from_millis(100);
    let mut best = Duration::MAX;
    for (signal, count) in [(Signal::SIGSTOP, 0), (Signal::SIGCONT, 1)].repeat(10) {
        kill(pid, signal).expect("it is there");
        let (result, route) = follow(&agent, count).await;
        best = best.min(route.max(result) - route.min(result));
        if best < most && count == 1 {
            break;
        }
    }
    assert!(best < most, "the route followed after {best:?}");
}

//! The agent dies or restarts; tasks and state do not.

use crate::{
    harness::{
        Agent, Echo,
        agent::{Mode, Room, no_process_left},
        command::{run, trivet},
        http,
    },
    walkthrough::targets,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_outlive_a_killed_agent_and_are_taken_up_again() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let job = Echo::new("web", 3);
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    let before = job.running(&agent, 3).await;
    let mut processes = agent.task_processes();
    processes.sort_unstable();

    agent.kill().await;
    for pid in &processes {
        assert!(
            nix::sys::signal::kill(*pid, None).is_ok(),
            "{pid} runs without the agent"
        );
    }

    agent.start_again().await;
    job.passing(&agent, 3).await;
    targets(&agent, "web", 3).await;
    let after = job.running(&agent, 3).await;
    let mut again = agent.task_processes();
    again.sort_unstable();
    assert_eq!(again, processes, "the same processes");
    let ids = |allocs: &[Value]| {
        let mut ids: Vec<String> = allocs.iter().map(|alloc| alloc["ID"].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&before), ids(&after));
    assert!(
        after
            .iter()
            .all(|alloc| alloc["TaskStates"]["server"]["Restarts"] == 0),
        "{after:?}"
    );
    let (status, body) = http::send(Method::GET, &agent.url("ingress", "/web"), None).await;
    assert!(status.is_success(), "{body}");

    trivet(&agent, &["job", "stop", "-purge", "-detach", "web"])
        .await
        .ok();
    no_process_left(&agent.dir().join("data")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_a_kill() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let url = agent.url("http", "/v1/jobs");
    let counter = Arc::clone(&acknowledged);
    // Jobs that no node can hold: each is one write and nothing runs.
    let writing = tokio::spawn(async move {
        let client = http::client();
        for number in 0..10_000 {
            let body = json!({"Job": {
                "ID": format!("w{number:05}"), "Type": "batch", "Datacenters": ["nowhere"],
                "TaskGroups": [{"Name": "g", "Tasks": [
                    {"Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}]}],
            }});
            match client.put(&url).json(&body).send().await {
                Ok(response) if response.status().is_success() => {
                    counter.store(number + 1, Ordering::SeqCst);
                }
                _ => return,
            }
        }
    });
    while acknowledged.load(Ordering::SeqCst) < 50 {
        tokio::task::yield_now().await;
    }
    agent.kill().await;
    writing.await.expect("the writer does not panic");
    let acknowledged = acknowledged.load(Ordering::SeqCst);

    agent.start_again().await;
    let jobs = http::get(&agent.url("http", "/v1/jobs?prefix=w")).await;
    let known: Vec<&str> = jobs
        .as_array()
        .expect("jobs")
        .iter()
        .filter_map(|job| job["ID"].as_str())
        .collect();
    for number in 0..acknowledged {
        let id = format!("w{number:05}");
        assert!(
            known.contains(&id.as_str()),
            "{id} of {acknowledged} is lost"
        );
    }
    assert!(
        known.len() <= acknowledged + 1,
        "nothing appears that was not asked for"
    );
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_keeps_its_files_and_tells_its_address_as_the_operator_says() {
    let base = tempfile::tempdir().expect("a directory");
    let at = |name: &str| base.path().join(name);
    let more = format!(
        "advertise {{\n http = \"127.0.0.1:14646\"\n}}\nserver {{\n data_dir = {:?}\n raft_multiplier = 2\n default_scheduler_config {{\n scheduler_algorithm = \"spread\"\n }}\n}}\nclient {{\n alloc_dir = {:?}\n state_dir = {:?}\n}}\n",
        at("server"),
        at("alloc"),
        at("state")
    );
    let mut agent = Agent::start_below(base.path(), Mode::Durable, &more, Room::Free, |_| ()).await;
    for place in [
        "server/raft/identity",
        "alloc",
        "state/node",
        "state/allocs",
    ] {
        assert!(at(place).exists(), "{place}");
    }
    for place in ["raft", "alloc", "client"] {
        let usual = agent.dir().join("data").join(place);
        assert!(!usual.exists(), "{place}");
    }
    let shown = http::get(&agent.url("http", "/v1/agent/self")).await;
    let shown = &shown["config"];
    assert_eq!(
        shown["Client"]["AllocDir"],
        at("alloc").display().to_string()
    );
    // What it tells others is as is written too.
    assert_eq!(shown["AdvertiseAddrs"]["HTTP"], "127.0.0.1:14646");
    let nodes = http::get(&agent.url("http", "/v1/nodes")).await;
    let node = nodes[0]["ID"].as_str().expect("a node");
    let node = http::get(&agent.url("http", &format!("/v1/node/{node}"))).await;
    assert_eq!(node["HTTPAddr"], "127.0.0.1:14646");

    // A new cluster schedules as is written, until somebody says otherwise.
    let scheduler = "/v1/operator/scheduler/configuration";
    let is = |wanted: &'static str| {
        move |answer: &Value| {
            let found = &answer["SchedulerConfig"]["SchedulerAlgorithm"];
            (*found == wanted).then_some(())
        }
    };
    agent.wait(scheduler, is("spread")).await;
    let other = json!({ "SchedulerAlgorithm": "binpack" });
    http::put(&agent.url("http", scheduler), &other).await;
    agent.stop().await;
    agent.start_again().await;
    let kept = http::get(&agent.url("http", scheduler)).await;
    assert_eq!(is("binpack")(&kept), Some(()), "{kept}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_agent_stops_its_tasks_and_says_so_by_its_exit_code() {
    let mut agent = Agent::start().await;
    Echo::new("web", 2).run(&agent).await;
    assert!(!agent.task_processes().is_empty());
    let status = agent.stop().await;
    assert!(status.success(), "{status}");
    no_process_left(agent.dir()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_agent_leaves_its_tasks_running_when_it_stops() {
    let mut agent = Agent::start_with(Mode::Durable, "").await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    let processes = agent.task_processes();
    agent.stop().await;
    assert_eq!(agent.task_processes(), processes);
    agent.start_again().await;
    job.passing(&agent, 1).await;
    assert_eq!(agent.task_processes(), processes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_kept_in_files_as_objects_and_the_oldest_go() {
    let logs = tempfile::tempdir().expect("a directory");
    let config = format!(
        "log_level = \"debug\"\nlog_json = true\nlog_file = \"{}/deep/\"\nlog_rotate_bytes = 300\nlog_rotate_max_files = 2",
        logs.path().display()
    );
    let mut agent = Agent::start_with(Mode::Dev, &config).await;
    let path = "/.well-known/openid-configuration";
    let (status, said) = http::send(Method::GET, &agent.url("http", path), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{said}");
    assert!(said.contains("oidc_issuer"), "{said}");
    assert!(agent.stop().await.success());
    let directory = logs.path().join("deep");
    let names: Vec<String> = std::fs::read_dir(&directory)
        .expect("a directory")
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.to_string_lossy().into_owned()
        })
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in &names {
        let text = std::fs::read_to_string(directory.join(name)).expect("a text");
        assert!(!text.is_empty(), "{name}");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("an object");
            assert!(line["timestamp"].is_string() && line["level"].is_string());
        }
    }
    // What cannot be written is said before anything starts.
    let file = logs.path().join("taken");
    std::fs::write(&file, "").expect("a file");
    let config = logs.path().join("agent.hcl");
    let text = format!("log_file = \"{}/x.log\"\n", file.display());
    std::fs::write(&config, text).expect("a file");
    let config = config.to_str().expect("a path");
    let refused = run(&["agent", "-dev", "-config", config], None, logs.path()).await;
    assert_eq!(refused.code, 1, "{}", refused.text());
    let said = refused.text();
    assert!(
        said.contains("log_file") && said.contains("taken"),
        "{said}"
    );
}

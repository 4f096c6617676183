//! Agents that leave on purpose and empty their nodes first.

use crate::{
    cluster::Addresses,
    harness::{
        Agent, DEADLINE, Echo,
        agent::Mode,
        http,
        load::{Load, failures},
    },
    walkthrough::targets,
};
use nix::sys::signal::{Signal, kill};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// The path of the node of a client.
async fn node_path(client: &Agent) -> String {
    let own = http::get(&client.url("http", "/v1/agent/self")).await;
    let id = own["stats"]["client"]["node_id"].as_str().expect("a node");
    format!("/v1/node/{id}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_of_a_client_that_leaves_runs_elsewhere_before_it_ends() {
    let addresses = Addresses::new();
    let server = addresses.start_server(1, 1).await;
    let text = format!(
        "leave_on_terminate = true\n{}client {{\n  drain_on_shutdown {{\n    deadline = \"10m\"\n  }}\n}}\n",
        addresses.client()
    );
    let start = || Agent::start_with(Mode::Client, &text);
    let (mut first, mut second) = tokio::join!(start(), start());
    let mut job = Echo::new("web", 4);
    job.group = "migrate {\n max_parallel = 1\n min_healthy_time = \"0s\"\n \
                 healthy_deadline = \"30s\"\n }"
        .into();
    job.run(&server).await;
    job.deployment(&server, 0, "successful").await;
    let path = node_path(&first).await;
    let on_node = |allocs: &[Value]| {
        let of = |alloc: &&Value| path.ends_with(alloc["NodeID"].as_str().expect("an id"));
        allocs.iter().filter(of).count()
    };
    let before = job.running(&server, 4).await;
    assert!(on_node(&before) > 0, "both nodes have some: {before:?}");

    targets(&second, "web", 4).await;
    let load = Load::start(second.address("ingress"), "/web", 50, DEADLINE);
    load.more(20).await;
    kill(first.pid(), Signal::SIGTERM).expect("the client runs");
    let status = first.ended().await;
    assert!(status.success(), "{status}");
    // As it is at that moment: nothing is left to be told.
    let node = http::get(&server.url("http", &path)).await;
    assert_eq!(node["SchedulingEligibility"], "ineligible");
    assert_eq!(node["DrainStrategy"], Value::Null);
    assert_eq!(node["LastDrain"]["Status"], "complete");
    assert_eq!(node["LastDrain"]["Meta"]["message"], "shutting down");
    let allocs = http::get(&server.url("http", &format!("{path}/allocations"))).await;
    let allocs = allocs.as_array().expect("allocations");
    assert_eq!(allocs.len(), on_node(&before));
    for alloc in allocs {
        assert_eq!(alloc["ClientStatus"], "complete", "{alloc}");
    }
    assert_eq!(first.task_processes(), []);
    assert_eq!(on_node(&job.running(&server, 4).await), 0);
    job.passing(&server, 4).await;
    load.more(20).await;
    let requests = load.stop().await;
    assert_eq!(failures(&requests).len(), 0, "{:?}", failures(&requests));

    // It takes nothing when it is back until somebody says so.
    first.start_again().await;
    let node = http::get(&server.url("http", &path)).await;
    assert_eq!(
        (&node["Status"], &node["SchedulingEligibility"]),
        (&"ready".into(), &"ineligible".into())
    );

    // What runs on the other one cannot go anywhere: it waits, until it is told not to.
    kill(second.pid(), Signal::SIGTERM).expect("the client runs");
    let other = node_path(&second).await;
    server
        .wait(&other, |node| (node["Drain"] == true).then_some(()))
        .await;
    let url = second.url("catalog", "/v1/agent/reload");
    let (status, text) = http::send(Method::PUT, &url, None).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    assert!(text.contains("the agent is leaving"), "{text}");
    kill(second.pid(), Signal::SIGTERM).expect("the client runs");
    let status = second.ended().await;
    assert!(status.success(), "{status}");
    let node = http::get(&server.url("http", &other)).await;
    assert_eq!(node["Drain"], true);
    assert_ne!(second.task_processes(), [], "tasks outlive their agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_the_only_server_drains_its_node_before_it_leaves() {
    let text = "client {\n  drain_on_shutdown {}\n}\n";
    let mut agent = Agent::start_with(Mode::Durable, text).await;
    let said = "neither `leave_on_interrupt` nor `leave_on_terminate` is set";
    assert!(agent.said().contains(said), "{}", agent.said());
    Echo::new("web", 1).run(&agent).await;
    let url = agent.url("catalog", "/v1/agent/leave");
    let (status, text) = http::send(Method::PUT, &url, None).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let status = agent.ended().await;
    assert!(status.success(), "{status}");
    assert_eq!(agent.task_processes(), []);

    // A signal for which it does not leave stops it alone.
    agent.start_again().await;
    let path = node_path(&agent).await;
    let eligibility = serde_json::json!({"Eligibility": "eligible"});
    http::put(
        &agent.url("http", &format!("{path}/eligibility")),
        &eligibility,
    )
    .await;
    Echo::new("web", 1).passing(&agent, 1).await;
    assert!(agent.stop().await.success());
    assert_ne!(agent.task_processes(), [], "tasks outlive their agent");
}

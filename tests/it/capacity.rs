//! What has no room waits, and starts when there is some.

use crate::harness::{
    Agent, Echo,
    agent::Mode,
    http::{self, send},
};
use reqwest::{Method, StatusCode};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reserved_is_given_to_no_job() {
    // Of four dynamic ports two are kept back, one of them by a listener of the agent.
    let ports = |agent: &Agent| agent.own_port(0)..=agent.own_port(3);
    let probe = Agent::start().await;
    let [first, .., last] = Vec::from_iter(ports(&probe))[..] else {
        panic!("it has ports of its own")
    };
    let more = format!(
        "client {{\n  memory_total_mb = 500\n  min_dynamic_port = {first}\n  max_dynamic_port = {last}\n  \
         reserved {{\n    memory = 300\n    reserved_ports = \"22,{last}\"\n  }}\n}}\n\
         ingress {{\n  listener \"127.0.0.1:{first}\" {{\n    proto = \"http\"\n  }}\n}}\n"
    );
    let agent = Agent::start_with(Mode::Dev, &more).await;
    let node = http::get(&agent.url("http", "/v1/nodes?resources=true")).await;
    let kept = &node[0]["ReservedResources"];
    assert_eq!(kept["Memory"]["MemoryMB"], 300, "{kept}");
    let text = format!("22,{first},{last}");
    assert_eq!(kept["Networks"]["ReservedHostPorts"], text, "{kept}");

    let mut job = Echo::new("large", 1);
    job.memory = 250;
    let eval = job.register(&agent).await;
    agent
        .wait(&format!("/v1/evaluation/{eval}"), |eval| {
            let dimensions = &eval["FailedTGAllocs"]["web"]["DimensionExhausted"];
            (dimensions["memory"] == 1).then_some(())
        })
        .await;

    let mut job = Echo::new("web", 3);
    job.memory = 50;
    job.register(&agent).await;
    let eval = agent
        .wait("/v1/job/web/evaluations", |evals| {
            let failed = |eval: &&Value| eval["FailedTGAllocs"].is_object();
            evals.as_array()?.iter().find(failed).cloned()
        })
        .await;
    let metrics = &eval["FailedTGAllocs"]["web"];
    let exhausted = "network: dynamic port selection failed";
    assert_eq!(metrics["DimensionExhausted"][exhausted], 1, "{metrics}");
    let allocs = http::get(&agent.url("http", "/v1/allocations?resources=true")).await;
    let given = allocs.as_array().expect("a list").iter();
    let mut given: Vec<u64> = given
        .filter_map(|alloc| alloc["AllocatedResources"]["Shared"]["Ports"][0]["Value"].as_u64())
        .collect();
    given.sort_unstable();
    assert_eq!(given, [u64::from(first) + 1, u64::from(first) + 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_without_room_waits_until_another_leaves() {
    let more = "client {\n  memory_total_mb = 500\n}\n";
    let agent = Agent::start_with(Mode::Dev, more).await;
    let mut first = Echo::new("first", 1);
    first.memory = 300;
    first.run(&agent).await;
    let mut second = Echo::new("second", 1);
    second.memory = 300;
    let eval = second.register(&agent).await;

    let blocked = agent
        .wait(&format!("/v1/evaluation/{eval}"), |eval| {
            let blocked = eval["BlockedEval"].as_str()?;
            (eval["Status"] == "complete" && !blocked.is_empty()).then(|| {
                let dimensions = &eval["FailedTGAllocs"]["web"]["DimensionExhausted"];
                assert_eq!(dimensions["memory"], 1, "{eval}");
                blocked.to_owned()
            })
        })
        .await;
    let waiting = http::get(&agent.url("http", &format!("/v1/evaluation/{blocked}"))).await;
    assert_eq!(waiting["Status"], "blocked", "{waiting}");
    let allocs = http::get(&agent.url("http", "/v1/job/second/allocations")).await;
    assert_eq!(allocs, serde_json::json!([]));

    let (status, answer) = send(Method::DELETE, &agent.url("http", "/v1/job/first"), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    second.passing(&agent, 1).await;
    agent
        .wait(&format!("/v1/evaluation/{blocked}"), |eval| {
            (eval["Status"] == "complete").then_some(())
        })
        .await;
    let node = http::get(&agent.url("http", "/v1/nodes?resources=true")).await;
    assert_eq!(node[0]["NodeResources"]["Memory"]["MemoryMB"], 500);
}

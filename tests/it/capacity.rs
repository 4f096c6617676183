//! What has no room waits, and starts when there is some.

use crate::harness::{
    Agent, Echo,
    agent::Mode,
    http::{self, send},
};
use reqwest::{Method, StatusCode};

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

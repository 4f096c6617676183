//! An index tells one version, and the answer of a write is about that write.

use crate::harness::{Agent, http};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn register(agent: &Agent, priority: usize, enforce: Option<u64>) -> Result<Value, String> {
    let group = json!({"Name": "g", "Count": 0, "Tasks": [
        {"Name": "t", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}]});
    let body = json!({
        "Job": {"ID": "one", "Type": "batch", "Priority": priority, "TaskGroups": [group]},
        "EnforceIndex": enforce.is_some(),
        "JobModifyIndex": enforce.unwrap_or(0),
    });
    let url = agent.url("http", "/v1/jobs");
    let (status, body) = http::send(Method::PUT, &url, Some(&body)).await;
    if status.is_success() {
        Ok(serde_json::from_str(&body).expect("JSON"))
    } else {
        Err(body)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_that_race_for_a_job_only_the_last_holds_its_index() {
    let agent = Agent::start().await;
    for round in 0..4 {
        let writes = (1..9).map(|number| register(&agent, round * 10 + number, None));
        let mut indexes = BTreeSet::new();
        for answer in join_all(writes).await {
            let answer = answer.expect("it is taken");
            let index = answer["JobModifyIndex"].as_u64().expect("an index");
            assert_eq!(answer["Index"], index);
            assert!(indexes.insert(index), "{index} was answered twice");
        }
        let newest = indexes.pop_last().expect("answers");
        let job = http::get(&agent.url("http", "/v1/job/one")).await;
        assert_eq!(job["JobModifyIndex"], newest);
        for overtaken in indexes {
            let refused = register(&agent, 90, Some(overtaken)).await;
            let refused = refused.expect_err("it was overtaken");
            assert!(refused.contains("Enforcing job modify index"), "{refused}");
        }
        register(&agent, 91, Some(newest))
            .await
            .expect("it is the newest");
    }
    let before = http::get(&agent.url("http", "/v1/job/one")).await;
    let url = agent.url("http", "/v1/job/one?purge=true");
    let (status, body) = http::send(Method::DELETE, &url, None).await;
    assert!(status.is_success(), "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(answer["JobModifyIndex"], answer["Index"]);
    assert!(answer["JobModifyIndex"].as_u64() > before["JobModifyIndex"].as_u64());
}

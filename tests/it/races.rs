//! Writes that meet each other: what was acknowledged last stands, and nothing that was
//! acknowledged is lost.

use crate::harness::{Agent, http};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Registrations that wait for the scheduler while something else happens.
const WAITING: usize = 200;
/// How often each race is run.
const ROUNDS: usize = 4;

/// A job that no machine runs: its deployment stays active without a process.
fn job(id: &str, kind: &str, groups: &[&str], note: &str) -> Value {
    let groups: Vec<Value> = groups
        .iter()
        .map(|name| {
            json!({
                "Name": name,
                "Count": 1,
                "Tasks": [{
                    "Name": "main",
                    "Driver": "raw_exec",
                    "Config": { "command": "/bin/true" },
                    "Env": { "NOTE": note },
                }],
            })
        })
        .collect();
    let mut job = json!({
        "ID": id,
        "Name": id,
        "Type": kind,
        "Datacenters": ["*"],
        "Constraints": [{ "LTarget": "${attr.kernel.name}", "RTarget": "none", "Operand": "=" }],
        "TaskGroups": groups,
    });
    if kind == "service" {
        job["Update"] = json!({ "MaxParallel": 1, "AutoRevert": true });
    }
    job
}

async fn register(agent: &Agent, job: &Value) {
    let url = agent.url("http", "/v1/jobs");
    http::put(&url, &json!({ "Job": job })).await;
}

async fn read(agent: &Agent, id: &str) -> Value {
    http::get(&agent.url("http", &format!("/v1/job/{id}"))).await
}

/// Id of the active deployment of a version.
async fn active_deployment(agent: &Agent, id: &str, version: u64) -> String {
    let url = agent.url("http", &format!("/v1/job/{id}/deployments"));
    http::wait_until(&url, "x-nomad-index", |deployments| {
        let of_version = deployments.as_array()?.iter().find(|deployment| {
            deployment["JobVersion"] == version && deployment["Status"] == "running"
        })?;
        of_version["ID"].as_str().map(str::to_owned)
    })
    .await
}

/// Registers many small jobs at once, and answers when the first of them are being written.
fn crowd(agent: &Arc<Agent>, round: usize) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for at in 0..WAITING {
        let agent = Arc::clone(agent);
        crowd.spawn(async move {
            let id = format!("crowd-{round}-{at}");
            register(&agent, &job(&id, "batch", &["app"], "")).await;
        });
    }
    crowd
}

/// A stable version 0 and a version 1 whose deployment is active.
async fn bad_version(agent: &Agent, id: &str) -> String {
    register(agent, &job(id, "service", &["app"], "stable")).await;
    let stable = json!({ "JobID": id, "JobVersion": 0, "Stable": true });
    http::put(&agent.url("http", &format!("/v1/job/{id}/stable")), &stable).await;
    register(agent, &job(id, "service", &["app"], "bad")).await;
    active_deployment(agent, id, 1).await
}

/// Fails a deployment, unless the scheduler ended it before.
async fn fail(agent: &Agent, deployment: &str) {
    let url = agent.url("http", &format!("/v1/deployment/fail/{deployment}"));
    let (status, text) = http::send(Method::PUT, &url, None).await;
    let ended = text.contains("terminal");
    assert!(status == StatusCode::OK || ended, "{status}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_deployment_undoes_neither_a_registration_nor_a_stop() {
    let agent = Arc::new(Agent::start().await);
    for round in 0..ROUNDS {
        let (web, api) = (format!("web-{round}"), format!("api-{round}"));
        let of_web = bad_version(&agent, &web).await;
        let of_api = bad_version(&agent, &api).await;
        let mut waiting = crowd(&agent, round);
        waiting.join_next().await;
        register(&agent, &job(&web, "service", &["app"], "good")).await;
        fail(&agent, &of_web).await;
        let url = agent.url("http", &format!("/v1/job/{api}"));
        let (status, text) = http::send(Method::DELETE, &url, None).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        fail(&agent, &of_api).await;
        while let Some(registered) = waiting.join_next().await {
            registered.expect("a registration");
        }
        let now = read(&agent, &web).await;
        let note = &now["TaskGroups"][0]["Tasks"][0]["Env"]["NOTE"];
        assert_eq!(note, "good", "round {round}: {now}");
        let now = read(&agent, &api).await;
        assert_eq!(now["Stop"], true, "round {round}: {now}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_scalings_at_once_none_is_lost() {
    let agent = Arc::new(Agent::start().await);
    let groups = ["a", "b", "c", "d"];
    register(&agent, &job("s", "batch", &groups, "")).await;
    for round in 0..u64::try_from(ROUNDS).expect("a small number") {
        let mut scalings = JoinSet::new();
        for group in groups {
            let agent = Arc::clone(&agent);
            scalings.spawn(async move {
                let url = agent.url("http", "/v1/job/s/scale");
                let body = json!({ "Count": round + 2, "Target": { "Job": "s", "Group": group } });
                http::put(&url, &body).await;
            });
        }
        while let Some(scaled) = scalings.join_next().await {
            scaled.expect("a scaling");
        }
        let now = read(&agent, "s").await;
        for at in 0..groups.len() {
            assert_eq!(now["TaskGroups"][at]["Count"], round + 2, "{now}");
        }
    }
    // An index that a caller names is enforced when the entry is applied.
    let index = read(&agent, "s").await["JobModifyIndex"].clone();
    let url = agent.url("http", "/v1/job/s/scale");
    let body = |count: u64| json!({ "Count": count, "Target": { "Job": "s", "Group": "a" }, "JobModifyIndex": index });
    let (one, two) = (body(20), body(21));
    let (one, two) = tokio::join!(
        http::send(Method::PUT, &url, Some(&one)),
        http::send(Method::PUT, &url, Some(&two)),
    );
    let taken = [&one, &two]
        .into_iter()
        .filter(|(status, _)| *status == StatusCode::OK)
        .count();
    assert_eq!(taken, 1, "{one:?} {two:?}");
}

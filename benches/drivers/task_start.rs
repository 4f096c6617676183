//! How long tasks take to start, by the times that the agent tells of them.

use crate::harness::{Agent, http};
use serde_json::{Value, json};

/// A job with one task `t`.
pub(crate) fn job(id: &str, kind: &str, task: &Value) -> Value {
    let mut task = task.clone();
    for (key, value) in [
        ("Name", json!("t")),
        ("LogConfig", json!({"MaxFiles": 1, "MaxFileSizeMB": 1})),
    ] {
        task[key] = value;
    }
    json!({"Job": {
        "ID": id, "Type": kind, "Datacenters": ["*"],
        "TaskGroups": [{"Name": "g", "Tasks": [task], "EphemeralDisk": {"SizeMB": 10}}],
    }})
}

/// Registers the job and waits until its allocation has the status.
pub(crate) async fn reaches(agent: &Agent, id: &str, job: &Value, status: &str) -> Value {
    http::put(&agent.url("http", "/v1/jobs"), job).await;
    until(agent, id, status).await
}

/// Waits until the one allocation of the job has the status.
pub(crate) async fn until(agent: &Agent, id: &str, status: &str) -> Value {
    let path = format!("/v1/job/{id}/allocations");
    agent
        .wait(&path, |allocs| {
            let alloc = allocs.as_array()?.first()?;
            assert!(
                status == "failed" || alloc["ClientStatus"] != "failed",
                "{alloc}"
            );
            (alloc["ClientStatus"] == status).then(|| alloc.clone())
        })
        .await
}

/// Milliseconds from the creation of an allocation to the start of its task `t`, by the agent's
/// clock.
pub(crate) fn placed_to_started(alloc: &Value) -> f64 {
    let events = alloc["TaskStates"]["t"]["Events"].as_array();
    let started = events.and_then(|events| {
        let started = events.iter().find(|event| event["Type"] == "Started");
        started?["Time"].as_i64()
    });
    let created = alloc["CreateTime"].as_i64();
    let took = started.expect("a start") - created.expect("a time");
    took as f64 / 1e6
}

/// The value in the middle; sorts them.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value below which so many of a hundred are, of sorted ones.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

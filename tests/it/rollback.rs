//! Deployments that end by themselves: back to what was stable, given up in time, promoted.

use crate::harness::{
    Agent, DEADLINE, Echo, http,
    load::{Load, failures},
};
use serde_json::Value;

/// A check that never passes.
/// Critical: a code of 1 would be a warning, with which an instance still gets requests.
const SICK: &str = "check {\n name = \"sick\"\n type = \"script\"\n task = \"server\"\n \
    command = \"/bin/sh\"\n args = [\"-c\", \"exit 2\"]\n interval = \"1s\"\n timeout = \"1s\"\n }";

/// The version of the job that each live instance belongs to.
async fn versions(agent: &Agent, job: &Echo) -> Vec<u64> {
    let running = job.running(agent, job.count as usize).await;
    let version = |alloc: &Value| alloc["JobVersion"].as_u64().expect("a version");
    running.iter().map(version).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_version_goes_back_to_the_last_stable_one_and_drops_nothing() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 3);
    // What is well gets all the time that a busy machine needs.
    let update = |seconds: u32| {
        format!(
            "max_parallel = 1\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"{seconds}s\"\n\
             progress_deadline = \"60s\"\nauto_revert = true"
        )
    };
    job.update = update(50);
    job.group = "reschedule {\n attempts = 0\n unlimited = false\n }".into();
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    let stable = http::get(&agent.url("http", "/v1/job/web")).await;
    assert_eq!(stable["Stable"], true, "{stable}");

    let load = Load::start(agent.address("ingress"), "/web", 200, DEADLINE);
    load.more(100).await;
    let good = job.clone();
    job.text = "bad".into();
    job.service = SICK.into();
    job.update = update(3);
    job.register(&agent).await;
    let failed = job.deployment(&agent, 1, "failed").await;
    assert_eq!(
        failed["StatusDescription"],
        "Failed due to unhealthy allocations - rolling back to job version 0"
    );
    good.deployment(&agent, 2, "successful").await;
    good.passing(&agent, 3).await;
    load.more(100).await;
    let requests = load.stop().await;
    let lost = failures(&requests);
    assert!(
        lost.is_empty(),
        "{} of {} failed: {:?}",
        lost.len(),
        requests.len(),
        lost[0]
    );
    assert!(
        requests.iter().all(|r| r.outcome.as_deref() == Ok("one")),
        "nobody was sent to the version that never passed"
    );
    // The two that the bad version never reached stayed as they are, with the version's number of
    // now.
    assert_eq!(versions(&agent, &good).await, [2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_without_progress_is_given_up() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 1);
    job.update =
        "min_healthy_time = \"0s\"\nhealthy_deadline = \"1s\"\nprogress_deadline = \"3s\"".into();
    job.service = SICK.into();
    job.task = "kill_timeout = \"1s\"".into();
    job.register(&agent).await;
    let failed = job.deployment(&agent, 0, "failed").await;
    assert_eq!(
        failed["StatusDescription"],
        "Failed due to progress deadline"
    );
    let shown = crate::harness::command::trivet(&agent, &["job", "status", "web"]).await;
    assert!(
        shown.text().contains("Failed due to progress deadline"),
        "{}",
        shown.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_canary_promotes_itself_where_that_is_asked_for() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 2);
    job.update = "canary = 1\nmax_parallel = 2\nauto_promote = true\nmin_healthy_time = \"0s\"\n\
        healthy_deadline = \"30s\""
        .into();
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    job.text = "two".into();
    job.register(&agent).await;
    let done = job.deployment(&agent, 1, "successful").await;
    assert_eq!(
        done["StatusDescription"],
        "Deployment completed successfully"
    );
    assert_eq!(done["TaskGroups"]["web"]["Promoted"], true, "{done}");
    assert_eq!(versions(&agent, &job).await, [1, 1]);
    job.passing(&agent, 2).await;
}

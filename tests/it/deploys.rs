//! Deploys under load drop no request.

use crate::harness::{
    Agent, DEADLINE, Echo,
    load::{Load, none_failed},
};

/// Replaces three instances three times at 500 requests a second.
async fn roll_under_load(args: &[&str], kill_timeout: &str) {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 3);
    job.args = args.iter().map(|&arg| arg.to_owned()).collect();
    job.task = format!("kill_timeout = \"{kill_timeout}\"");
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    let load = Load::start(agent.address("ingress"), "/web", 500, DEADLINE);
    load.more(200).await;
    for version in 1..=3 {
        job.text = format!("version-{version}");
        job.register(&agent).await;
        job.deployment(&agent, version, "successful").await;
        job.running(&agent, 3).await;
        load.more(200).await;
    }
    // The end of the deployment does not wait for the last instance of before to leave.
    job.passing_version(&agent, 3, 3).await;
    load.more(400).await;
    let requests = load.stop().await;
    none_failed(&requests);
    let last = requests
        .iter()
        .max_by_key(|request| request.sent)
        .expect("requests");
    assert_eq!(last.outcome.as_deref(), Ok("version-3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_three_times_drops_nothing_with_a_task_that_exits_at_once() {
    roll_under_load(&[], "5s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_three_times_drops_nothing_with_a_task_that_drains() {
    roll_under_load(&["-drain", "5s", "-delay", "20ms"], "10s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_passes_before_the_old_instance_leaves() {
    let agent = Agent::start().await;
    let mut job = Echo::new("web", 2);
    job.run(&agent).await;
    job.deployment(&agent, 0, "successful").await;
    let watched = agent.wait_catalog("/v1/health/service/web?passing", {
        let mut lowest = usize::MAX;
        let mut replaced = false;
        move |entries| {
            let entries = entries.as_array()?;
            lowest = lowest.min(entries.len());
            let new = entries
                .iter()
                .filter(|e| e["Service"]["Meta"]["job_version"] == "1")
                .count();
            replaced |= new == 2;
            (replaced && entries.len() == 2).then_some(lowest)
        }
    });
    job.text = "two".into();
    let (lowest, _) = tokio::join!(watched, job.register(&agent));
    assert_eq!(lowest, 2, "never fewer than two passed");
}

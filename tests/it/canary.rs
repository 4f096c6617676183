//! The canary walk: plan, wait, share, promote; and what happens when the canary is sick.

use crate::{
    harness::{Agent, Echo, command::trivet, eventually, http, load},
    walkthrough::targets,
};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;

/// Five old instances and one canary of the new version.
async fn with_canary(agent: &Agent, canary: impl FnOnce(&mut Echo)) -> Echo {
    let mut job = Echo::new("shop", 5);
    job.text = "old-${NOMAD_ALLOC_INDEX}".into();
    job.service = "canary_tags = [\"urlprefix-/shop\", \"canary\"]".into();
    job.update =
        "canary = 1\nmax_parallel = 5\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"30s\""
            .into();
    job.run(agent).await;
    job.deployment(agent, 0, "successful").await;
    job.text = "new-${NOMAD_ALLOC_INDEX}".into();
    canary(&mut job);
    job
}

/// How many requests the new version answered.
fn canaries(seen: &BTreeMap<String, usize>) -> usize {
    let new = seen.iter().filter(|(text, _)| text.starts_with("new-"));
    new.map(|(_, count)| count).sum()
}

async fn waiting_for_promotion(agent: &Agent, job: &Echo) -> String {
    let deployment = agent
        .wait(&format!("/v1/job/{}/deployment", job.id), |deployment| {
            let state = &deployment["TaskGroups"]["web"];
            let ready = deployment["JobVersion"] == 1 && state["HealthyAllocs"] == 1;
            ready.then(|| deployment.clone())
        })
        .await;
    assert_eq!(
        deployment["StatusDescription"],
        "Deployment is running but requires manual promotion"
    );
    deployment["ID"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_takes_its_turn_until_it_is_promoted() {
    let agent = Agent::start().await;
    let job = with_canary(&agent, |_| {}).await;
    let plan = job.command(&agent, &["job", "plan"]).await;
    assert!(
        plan.stdout.contains("(1 canary, 5 ignore)"),
        "{}",
        plan.text()
    );
    assert_eq!(plan.code, 1);

    job.command(&agent, &["job", "run", "-detach"]).await.ok();
    let deployment = waiting_for_promotion(&agent, &job).await;
    targets(&agent, "shop", 6).await;
    let seen = load::spread(&agent.url("ingress", "/shop"), 60).await;
    assert_eq!(seen.len(), 6, "{seen:?}");
    assert!(
        seen.values().all(|&count| count == 10),
        "each of six takes its turn: {seen:?}"
    );

    let tagged = "/v1/catalog/service/shop?tag=canary";
    let version = agent
        .wait_catalog(tagged, |entries| match entries.as_array()?.as_slice() {
            [canary] => Some(canary["ServiceMeta"]["job_version"].clone()),
            _ => None,
        })
        .await;
    assert_eq!(version, "1");
    let status = trivet(&agent, &["deployment", "status", &deployment])
        .await
        .ok();
    assert!(
        status.stdout.contains("requires manual promotion"),
        "{}",
        status.stdout
    );

    trivet(&agent, &["deployment", "promote", "-detach", &deployment])
        .await
        .ok();
    job.deployment(&agent, 1, "successful").await;
    job.running(&agent, 5).await;
    // The instances of before leave when the new ones are there.
    job.passing_version(&agent, 1, 5).await;
    targets(&agent, "shop", 5).await;
    let seen = load::spread(&agent.url("ingress", "/shop"), 50).await;
    assert!(seen.keys().all(|text| text.starts_with("new-")), "{seen:?}");
    assert!(
        seen.len() == 5 && seen.values().all(|&count| count == 10),
        "{seen:?}"
    );
    // Promotion ends the canary's tags.
    agent
        .wait_catalog(tagged, |entries| (*entries == json!([])).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_says_the_share_of_its_canary_and_counts_are_told() {
    let agent = Agent::start().await;
    let job = with_canary(&agent, |job| {
        job.update.push_str("\ntraffic {\n steps = [10, 50]\n }");
    })
    .await;
    job.register(&agent).await;
    waiting_for_promotion(&agent, &job).await;
    targets(&agent, "shop", 6).await;
    eventually("the share of the first step", || async {
        let routes = http::get(&agent.url("ingress_admin", "/api/routes")).await;
        let weights = routes.as_array().into_iter().flatten();
        let mut weights = weights.filter_map(|route| route["weight"].as_f64());
        if weights.any(|weight| (weight - 0.1).abs() < 1e-6) {
            Ok(())
        } else {
            Err(routes.to_string())
        }
    })
    .await;
    let seen = load::spread(&agent.url("ingress", "/shop"), 200).await;
    let canary = canaries(&seen);
    assert!((19..=21).contains(&canary), "{seen:?}");

    let tested = trivet(&agent, &["route", "test", "/shop", "-H", "x-any: 1"]).await;
    assert_eq!(tested.code, 0, "{}", tested.text());
    for part in [
        "Route   /shop",
        "its version is chosen by the shares",
        "6 instances take it in turn",
        "v1 (canary)",
        "v0 (stable)",
        "10.00%",
        "18.00%",
    ] {
        assert!(tested.stdout.contains(part), "{part}: {}", tested.text());
    }
    let nowhere = trivet(&agent, &["route", "test", "nowhere.example/x"]).await;
    assert_eq!(nowhere.code, 1);
    assert!(
        nowhere.stdout.contains("no route matches"),
        "{}",
        nowhere.text()
    );

    let top = trivet(&agent, &["top", "-n", "1"]).await.ok();
    assert!(
        top.stdout.contains("In flight") && top.stdout.contains("/shop"),
        "{}",
        top.text()
    );
    let url = agent.url("ingress_admin", "/metrics");
    // An attempt is counted when its answer was passed on.
    eventually("all attempts are counted", || async {
        let (_, metrics) = http::send(Method::GET, &url, None).await;
        let count = |version: &str| -> u64 {
            let labels = format!("version=\"{version}\"");
            let lines = metrics.lines().filter(|line| {
                line.starts_with("trivet_ingress_attempts_total{route=\"/shop\"")
                    && line.contains(&labels)
                    && line.contains("outcome=\"2xx\"")
            });
            let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            numbers.sum()
        };
        let counted = (count("v0") + count("v1"), count("v1"));
        let are_all = counted == (200, canary as u64);
        are_all.then_some(()).ok_or(metrics)
    })
    .await;
    // The servers are told the same.
    agent
        .wait("/v1/trivet/traffic?service=shop", |told| {
            let of = |version: Option<&str>| -> u64 {
                let rows = told["Rows"].as_array().into_iter().flatten();
                let own = rows.filter(|row| version.is_none_or(|own| row["Version"] == own));
                own.filter_map(|row| row["Answers"][1].as_u64()).sum()
            };
            let is_told = (of(None), of(Some("v1"))) == (200, canary as u64);
            let teller = &told["Ingresses"][0];
            (is_told && teller["Silent"] == false && teller["Missing"] == 0).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_gets_exactly_the_share_that_was_set() {
    let agent = Agent::start().await;
    let job = with_canary(&agent, |_| {}).await;
    job.register(&agent).await;
    waiting_for_promotion(&agent, &job).await;
    targets(&agent, "shop", 6).await;
    let args = [
        "route", "weight", "shop", "/shop", "0.05", "-tags", "canary",
    ];
    trivet(&agent, &args).await.ok();
    eventually("the weight", || async {
        let routes = http::get(&agent.url("ingress_admin", "/api/routes")).await;
        let weighted = routes
            .as_array()
            .expect("routes")
            .iter()
            .any(|route| (route["weight"].as_f64().unwrap_or(0.0) - 0.05).abs() < 1e-6);
        if weighted {
            Ok(())
        } else {
            Err(routes.to_string())
        }
    })
    .await;
    let seen = load::spread(&agent.url("ingress", "/shop"), 400).await;
    let canary = canaries(&seen);
    assert_eq!(canary, 20, "5 % of 400: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weight_in_the_tag_is_a_share_of_the_same_kind() {
    let agent = Agent::start().await;
    let job = with_canary(&agent, |job| {
        job.service = "canary_tags = [\"urlprefix-/shop weight=0.10\"]".into();
    })
    .await;
    job.register(&agent).await;
    waiting_for_promotion(&agent, &job).await;
    targets(&agent, "shop", 6).await;
    let seen = load::spread(&agent.url("ingress", "/shop"), 200).await;
    let canary = canaries(&seen);
    assert_eq!(canary, 20, "10 % of 200: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unhealthy_canary_gets_no_request_and_fail_takes_it_away() {
    let agent = Agent::start().await;
    let job = with_canary(&agent, |job| {
        // A path that is not there for health: everything but /health and /todo answers 500.
        job.args = vec!["-error-rate".into(), "1".into()];
        job.service = "canary_tags = [\"urlprefix-/shop\"]\ncheck {\n type = \"http\"\n name = \"deep\"\n path = \"/deep\"\n interval = \"1s\"\n timeout = \"1s\"\n }".into();
    })
    .await;
    job.register(&agent).await;
    agent
        .wait("/v1/job/shop/allocations", |allocs| {
            let new = allocs
                .as_array()?
                .iter()
                .find(|alloc| alloc["JobVersion"] == 1)?;
            (new["ClientStatus"] == "running").then_some(())
        })
        .await;
    agent
        .wait_catalog("/v1/health/service/shop", |entries| {
            (entries.as_array()?.len() == 6).then_some(())
        })
        .await;
    let seen = load::spread(&agent.url("ingress", "/shop"), 60).await;
    assert!(seen.keys().all(|text| text.starts_with("old-")), "{seen:?}");
    assert!(
        seen.len() == 5 && seen.values().all(|&count| count == 12),
        "{seen:?}"
    );

    let deployment = http::get(&agent.url("http", "/v1/job/shop/deployment")).await;
    let id = deployment["ID"].as_str().expect("an id");
    trivet(&agent, &["deployment", "fail", "-detach", id])
        .await
        .ok();
    job.deployment(&agent, 1, "failed").await;
    let old = agent
        .wait("/v1/job/shop/allocations", |allocs| {
            let allocs = allocs.as_array()?;
            let new = allocs.iter().find(|alloc| alloc["JobVersion"] == 1)?;
            let gone = new["DesiredStatus"] == "stop";
            gone.then(|| {
                allocs
                    .iter()
                    .filter(|a| a["DesiredStatus"] == "run")
                    .count()
            })
        })
        .await;
    assert_eq!(old, 5, "the old version stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_promote_promotes_the_newest_deployment() {
    let agent = Agent::start().await;
    let job = with_canary(&agent, |_| {}).await;
    job.register(&agent).await;
    waiting_for_promotion(&agent, &job).await;
    let promoted = trivet(&agent, &["job", "promote", "-detach", "shop"])
        .await
        .ok();
    assert!(
        promoted.stdout.contains("Evaluation ID"),
        "{}",
        promoted.text()
    );
    job.deployment(&agent, 1, "successful").await;
    let (status, body) = http::send(
        Method::PUT,
        &agent.url("http", "/v1/deployment/promote/nope"),
        None,
    )
    .await;
    assert!(!status.is_success(), "{body}");
}

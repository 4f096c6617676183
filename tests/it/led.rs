//! Rollouts in a cluster of several servers: a new leader raises no share and judges on, and an
//! ingress of which nothing is heard is missing, not idle.

use crate::{
    cluster::{Addresses, answered, leader, take_leader},
    harness::{Agent, Echo, command::trivet, eventually, load::spread},
    rollout::{in_force, start, users_of_new, with_canary},
};
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The newest deployment of a job.
async fn newest(agent: &Agent, id: &str) -> Value {
    let url = agent.url("http", &format!("/v1/job/{id}/deployment"));
    eventually("the newest deployment", async || answered(&url).await).await
}

/// Waits until the rollout of a job is in a phase.
async fn phase(agent: &Agent, id: &str, wanted: &str) -> Value {
    let path = format!("/v1/job/{id}/deployment");
    agent
        .wait(&path, |deployment| {
            let rollout = &deployment["TaskGroups"]["web"]["Rollout"];
            (rollout["Phase"] == wanted).then(|| deployment.clone())
        })
        .await
}

/// Waits until the rollout of a job was in a phase; without requests, or while a busy machine is
/// not heard of, it does not stay there.
async fn was_in(agent: &Agent, id: &str, wanted: &str) -> Value {
    let path = format!("/v1/job/{id}/deployment");
    agent
        .wait(&path, |deployment| {
            let rollout = &deployment["TaskGroups"]["web"]["Rollout"];
            let before = rollout["Transitions"].as_array().into_iter().flatten();
            let is_it = |own: &Value| own["Phase"] == wanted;
            let was = before.chain([rollout]).any(is_it);
            (was && deployment["JobVersion"] == 1).then(|| deployment.clone())
        })
        .await
}

/// Registers the next version of a job and brings its rollout to a state.
async fn bring(agent: &Agent, job: &Echo, to: &str) {
    job.register(agent).await;
    if to == "warming" {
        was_in(agent, &job.id, to).await;
        return;
    }
    let deployment = was_in(agent, &job.id, "judging").await;
    let id = deployment["ID"].as_str().expect("an id");
    let words: &[&str] = match to {
        "held" => &["deployment", "pause", id],
        "manual" => &["rollout", "set-share", id, "30"],
        "baking" | "passed" => &["rollout", "next", id],
        _ => return,
    };
    let reached = if to == "manual" { "held" } else { to };
    eventually(&format!("{} is {reached}", job.id), async || {
        let output = trivet(agent, words).await;
        if output.code == 0 {
            return Ok(());
        }
        // When the leader is lost over it, it may have been done all the same.
        let row = newest(agent, &job.id).await;
        let phase = &row["TaskGroups"]["web"]["Rollout"]["Phase"];
        if phase == reached {
            Ok(())
        } else {
            Err(format!("{phase}: {}", output.stderr))
        }
    })
    .await;
    was_in(agent, &job.id, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_raises_no_share_and_judges_on() {
    let addresses = Addresses::new();
    let mut servers = addresses.start().await;
    let (client, other) = tokio::join!(addresses.start_client(), addresses.start_client());
    // Tasks run at one client; the other one only carries requests.
    let own = format!("node-{}", other.ports().0);
    let nodes = client
        .wait("/v1/nodes", |nodes| {
            let nodes = nodes.as_array()?.clone();
            (nodes.len() == 2).then_some(nodes)
        })
        .await;
    let node = nodes.iter().find(|node| node["Name"] == own.as_str());
    let node = node.and_then(|node| node["ID"].as_str()).expect("a node");
    trivet(&client, &["node", "eligibility", "-disable", node])
        .await
        .ok();

    let meta = |steps: &str, bake: &str| {
        format!(
            "rollout_steps = \"{steps}\"\nrollout_hold = \"1h\"\nrollout_bake = \"{bake}\"\nrollout_warmup = \"0s\""
        )
    };
    let jobs = [
        ("warming", "10,50", "0s"),
        ("judging", "10,50", "0s"),
        ("held", "10,50", "0s"),
        ("manual", "10,50", "0s"),
        ("baking", "50", "1h"),
        ("passed", "50", "0s"),
        ("failing", "10,50", "0s"),
        ("later", "10,50", "0s"),
    ];
    let bringing = jobs.map(|(state, steps, bake)| {
        let (client, meta) = (&client, meta(steps, bake));
        async move {
            let mut job = with_canary(client, state, 1, &meta, "canary = 1", |_| ()).await;
            match state {
                "warming" => {
                    let own = "min_healthy_time = \"10m\"\nhealthy_deadline = \"20m\"\nprogress_deadline = \"30m\"\nmax_parallel = 1\ncanary = 1";
                    own.clone_into(&mut job.update);
                }
                "failing" | "later" => job.args = vec!["-error-rate".into(), "1".into()],
                _ => {}
            }
            bring(client, &job, state).await;
            job
        }
    });
    let all = join_all(bringing).await;
    let load = start(&client, "judging", 30);
    load.more(20).await;
    let mut before = BTreeMap::new();
    for (id, ..) in jobs {
        let row = newest(&client, id).await;
        before.insert(id, row["TaskGroups"]["web"]["Rollout"].clone());
    }

    let mut old = take_leader(&mut servers).await;
    let led = old.address("rpc").to_string();
    old.kill().await;
    eventually("another leader", async || match leader(&servers[0]).await {
        now if now.is_empty() || now == led => Err(now),
        _ => Ok(()),
    })
    .await;
    let since = Instant::now();
    // It judges on: what a canary does from now on is counted again, and one that fails is gone.
    let judged = newest(&client, "judging").await;
    let path = format!(
        "/v1/trivet/rollout/{}",
        judged["ID"].as_str().expect("an id")
    );
    eventually("the next judge", async || {
        let shown = answered(&client.url("http", &path)).await?;
        let standing = &shown["Groups"][0]["Standing"];
        let attempts = standing["Canary"]["Attempts"].as_u64();
        attempts
            .filter(|count| *count > 0)
            .map(drop)
            .ok_or_else(|| shown.to_string())
    })
    .await;
    eprintln!("judged again {:?} after the election", since.elapsed());
    let failing = start(&client, "failing", 60);
    let failed = all.iter().find(|job| job.id == "failing").expect("a job");
    let failed = failed.deployment(&client, 1, "failed").await;
    let end = &failed["TaskGroups"]["web"]["Rollout"];
    assert_eq!(
        (&end["Phase"], &end["Share"]),
        (&"aborted".into(), &0.into())
    );
    failing.stop().await;

    // One ingress stands still: what it counts is missing. Nothing goes on, but an abort does.
    kill(other.pid(), Signal::SIGSTOP).expect("the agent runs");
    let missing = format!("nothing is heard of the ingress of {own}");
    let held = client
        .wait("/v1/job/judging/deployment", |deployment| {
            let rollout = &deployment["TaskGroups"]["web"]["Rollout"];
            (rollout["Reason"] == missing.as_str()).then(|| rollout.clone())
        })
        .await;
    assert_eq!(
        (&held["Phase"], &held["Cause"]),
        (&"held".into(), &"missing".into())
    );
    let later = start(&client, "later", 60);
    let failed = all.iter().find(|job| job.id == "later").expect("a job");
    failed.deployment(&client, 1, "failed").await;
    later.stop().await;
    kill(other.pid(), Signal::SIGCONT).expect("the agent runs");
    phase(&client, "judging", "judging").await;
    load.stop().await;

    for (id, ..) in jobs {
        let row = newest(&client, id).await;
        let rollout = &row["TaskGroups"]["web"]["Rollout"];
        let known = &before[id];
        let transitions = rollout["Transitions"].as_array().expect("transitions");
        let new = transitions
            .iter()
            .filter(|own| own["Revision"].as_u64() > known["Revision"].as_u64());
        for own in new.chain([rollout]) {
            let (share, step) = (own["Share"].as_u64(), own["Step"].as_u64());
            let is_end = own["Phase"] == "aborted";
            let is_same = share == known["Share"].as_u64() && step == known["Step"].as_u64();
            assert!(is_same || is_end && share == Some(0), "{id}: {own}");
        }
        let phase = rollout["Phase"].as_str().expect("a phase");
        let stays = match id {
            "warming" | "held" | "judging" | "baking" | "passed" => phase == id,
            "manual" => phase == "held" && rollout["IsManual"] == true,
            _ => phase == "aborted",
        };
        // Without requests the clock stands, whoever leads; and so it does while an ingress of a
        // busy machine is not heard of.
        let waits = phase == "frozen" || phase == "held" && rollout["Cause"] == "missing";
        assert!(stays || waits, "{id}: {rollout}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ingress_keeps_the_share_and_gives_a_user_the_same_version() {
    let addresses = Addresses::new();
    let servers = addresses.start().await;
    let (client, other) = tokio::join!(addresses.start_client(), addresses.start_client());
    let ingresses = [&client, &other, &servers[0]];
    let meta = "rollout_steps = \"5,25\"\nrollout_hold = \"1h\"\nrollout_sticky = \"cookie:user\"";
    let shop = with_canary(&client, "shop", 2, meta, "canary = 1", |_| ()).await;
    shop.register(&client).await;
    // Without a cookie each request counts for itself.
    for ingress in ingresses {
        in_force(ingress, 0.05).await;
    }
    let mut sent = [0_u32; 3];
    for (ingress, sent) in ingresses.into_iter().zip(&mut sent) {
        let seen = spread(&ingress.url("ingress", "/shop"), 1000).await;
        *sent = seen
            .get("new")
            .copied()
            .unwrap_or(0)
            .try_into()
            .expect("a count");
        assert!((49..=51).contains(sent), "{seen:?}");
    }
    assert!((147..=153).contains(&sent.iter().sum::<u32>()), "{sent:?}");

    trivet(&client, &["rollout", "next", "shop"]).await.ok();
    let mut users = Vec::new();
    for ingress in ingresses {
        in_force(ingress, 0.25).await;
        users.push(users_of_new(ingress).await);
    }
    assert!(!users[0].is_empty());
    assert!(users.iter().all(|own| *own == users[0]), "{users:?}");
}

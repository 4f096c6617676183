//! Servers that look after their group: a dead one is taken out, and one that comes votes once it
//! is stable.

use crate::{
    cluster::{Addresses, take_leader},
    harness::{
        Agent,
        command::{trivet, trivet_with},
        eventually, http,
    },
};
use jobs::model::Span;
use reqwest::{Method, StatusCode};
use serde_json::Value;

const HEALTH: &str = "/v1/operator/autopilot/health";

/// Changes settings through an agent. New clusters go over to the newest rules within moments.
async fn set(agent: &Agent, flags: &[&str]) {
    let words = [&["operator", "autopilot", "set-config"], flags].concat();
    eventually("the settings are taken", async || {
        let set = trivet(agent, &words).await;
        match set.code {
            0 if set.stdout == "Configuration updated!\n" => Ok(()),
            _ => Err(set.text()),
        }
    })
    .await;
}

/// What a server answers about the health of all, once `wanted` finds what it looks for.
async fn report<T>(agent: &Agent, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
    let url = agent.url("http", HEALTH);
    eventually(what, async || {
        let (status, text) = http::send(Method::GET, &url, None).await;
        let report: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
        let is_healthy = report["Healthy"] == true;
        assert_eq!(
            status,
            if is_healthy {
                StatusCode::OK
            } else {
                StatusCode::TOO_MANY_REQUESTS
            }
        );
        wanted(&report).ok_or(text)
    })
    .await
}

fn servers(report: &Value) -> &[Value] {
    report["Servers"].as_array().map_or(&[], Vec::as_slice)
}

fn row<'a>(report: &'a Value, agent: &Agent) -> Option<&'a Value> {
    let address = agent.address("rpc").to_string();
    servers(report).iter().find(|row| row["Address"] == address)
}

fn is_whole(report: &Value, voters: usize) -> Option<()> {
    let count = servers(report).len();
    let votes = report["Voters"].as_array()?.len();
    (report["Healthy"] == true && (count, votes) == (voters, voters)).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_server_is_taken_out_and_votes_again_once_it_is_stable() {
    let addresses = Addresses::new();
    let mut servers = addresses.start().await;
    let leader = take_leader(&mut servers).await;
    let (mut dead, other) = (servers.remove(0), servers.remove(0));
    let time = "-server-stabilization-time=4s";
    // Processors are busy with other tests.
    let patient = "-last-contact-threshold=3s";
    set(&other, &["-cleanup-dead-servers=false", time, patient]).await;
    let shown = trivet(&leader, &["operator", "autopilot", "get-config"])
        .await
        .ok();
    assert_eq!(
        shown.stdout,
        "CleanupDeadServers = false\nLastContactThreshold = 3s\nMaxTrailingLogs = 250\n\
         MinQuorum = 0\nServerStabilizationTime = 4s\nEnableRedundancyZones = false\n\
         DisableUpgradeMigration = false\nEnableCustomUpgrades = false\n"
    );
    let refused = ["-enable-custom-upgrades", "-redundancy-zone-tag=zone"];
    let words = [&["operator", "autopilot", "set-config"], &refused[..]].concat();
    let refused = trivet(&other, &words).await;
    assert_eq!(refused.code, 1, "{}", refused.text());
    for name in ["EnableCustomUpgrades", "RedundancyZoneTag"] {
        assert!(refused.text().contains(name), "{}", refused.text());
    }
    report(&other, "three healthy servers", |report| {
        is_whole(report, 3)
    })
    .await;

    // With the settings so it stays, however long it is silent.
    dead.kill().await;
    report(&other, "a server is silent", |report| {
        let row = row(report, &dead)?;
        let silent = Span::parse(row["LastContact"].as_str()?).ok()?;
        let is_known = row["SerfStatus"] == "failed" && row["Healthy"] == false;
        (is_known && silent > Span::from_secs(18)).then_some(())
    })
    .await;
    let health = trivet(&leader, &["operator", "autopilot", "health"])
        .await
        .ok();
    for part in ["Healthy: false\n", "FailureTolerance: 0\n", "  failed  "] {
        assert!(health.stdout.contains(part), "{}", health.stdout);
    }
    set(&other, &["-cleanup-dead-servers=true"]).await;
    report(&other, "two servers", |report| is_whole(report, 2)).await;
    let peers = trivet(&leader, &["operator", "raft", "list-peers"])
        .await
        .ok();
    assert_eq!(peers.stdout.lines().count(), 3, "{}", peers.stdout);

    // It comes back: it has the log at once, and votes later.
    dead.start_again().await;
    report(&other, "a server that does not vote", |report| {
        let row = row(report, &dead)?;
        (row["Voter"] == false).then_some(())
    })
    .await;
    let catalog = [("CONSUL_HTTP_ADDR", dead.url("catalog", ""))];
    let catalog = catalog
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let words = ["consul", "operator", "autopilot", "state"];
    let state = trivet_with(&leader, &words, &catalog).await.ok();
    assert!(
        state.stdout.contains("Status:          non-voter\n"),
        "{}",
        state.stdout
    );
    let since = report(&other, "three voters", |report| {
        is_whole(report, 3)?;
        Some(row(report, &dead)?["StableSince"].as_str()?.to_owned())
    })
    .await;
    assert!(!since.starts_with("0001"), "{since}");
    let health = trivet(&dead, &["operator", "autopilot", "health"])
        .await
        .ok();
    for part in ["Healthy: true\n", "FailureTolerance: 1\n"] {
        assert!(health.stdout.contains(part), "{}", health.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_leader_brings_the_settings_of_its_agent() {
    let addresses = Addresses::new();
    let own = "autopilot {\n  min_quorum = 3\n  server_stabilization_time = \"2s\"\n}\n";
    let mut server = addresses.start_server_with(1, 1, own).await;
    let url = |server: &Agent| server.url("catalog", "/v1/operator/autopilot/configuration");
    let wanted = async |server: &Agent, min_quorum: u64| {
        eventually("the settings", async || {
            let config = http::get(&url(server)).await;
            let is_there = config["MinQuorum"] == min_quorum;
            is_there
                .then(|| config.clone())
                .ok_or_else(|| config.to_string())
        })
        .await
    };
    let config = wanted(&server, 3).await;
    assert_eq!(config["ServerStabilizationTime"], "2s");
    // What operators say stands, also when the agent starts again.
    set(&server, &["-min-quorum=0"]).await;
    server.kill().await;
    server.start_again().await;
    let config = wanted(&server, 0).await;
    assert_eq!(config["ServerStabilizationTime"], "2s");
}

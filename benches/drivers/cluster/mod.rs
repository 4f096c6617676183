//! Three servers on one machine: what writes cost beside one server, how long nobody leads after
//! the leader died, what agents cost at rest, and a server that is sent a large state.

mod agents;
mod failover;
mod writes;

use crate::harness::{Agent, agent::Mode, eventually, http};
use serde_json::Value;
use std::time::Duration;

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 3] = ["writes", "failover", "agents"];

/// Measures some of [`PARTS`]. Words: `seconds=5`, `rounds=3`, `runs=20`, `agents=1000` and
/// `allocs=100000`.
pub(crate) async fn run(parts: &[String], words: &[String]) {
    let number = |name: &str, otherwise: usize| {
        let word = words.iter().find_map(|word| word.strip_prefix(name));
        word.map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let wants = |part: &str| parts.iter().any(|wanted| wanted == part);
    if wants("writes") {
        let seconds = Duration::from_secs(number("seconds=", 5) as u64);
        writes::run(number("rounds=", 3), seconds).await;
    }
    if wants("failover") {
        failover::run(number("runs=", 20)).await;
    }
    if wants("agents") {
        agents::run(number("agents=", 1000), number("allocs=", 100_000)).await;
    }
}

/// Where a server of a group is.
fn address(group: u8, server: u8) -> String {
    format!("127.78.{group}.{server}")
}

/// RPC addresses of the servers of a group.
fn rpc_addresses(group: u8, count: u8) -> Vec<String> {
    let servers = 1..=count;
    servers
        .map(|server| format!("{}:4647", address(group, server)))
        .collect()
}

/// So many servers that know each other, once they have a leader. Groups of one run have numbers
/// of their own.
async fn start(group: u8, count: u8) -> Vec<Agent> {
    let all: Vec<String> = (1..=count)
        .map(|server| format!("{:?}", address(group, server)))
        .collect();
    let starting = (1..=count).map(|server| {
        let own = address(group, server);
        let text = format!(
            "addresses {{ rpc = {own:?} }}\nports {{ rpc = 4647 }}\nserver {{\n  enabled = true\n  \
             bootstrap_expect = {count}\n  server_join {{ retry_join = [{}] }}\n}}\n",
            all.join(", ")
        );
        async move { Agent::start_with(Mode::Server, &text).await }
    });
    let servers = futures_util::future::join_all(starting).await;
    voting(&servers[0], servers.len()).await;
    servers
}

/// Waits until so many servers are alive, vote and have one leader.
async fn voting(asked: &Agent, count: usize) {
    let client = http::client();
    let url = asked.url("http", "/v1/operator/autopilot/health");
    eventually("a healthy group", async || {
        let answer = client.get(&url).send().await;
        let text = match answer {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => return Err(error.to_string()),
        };
        let health: Value = serde_json::from_str(&text).unwrap_or_default();
        let servers = health["Servers"].as_array().cloned().unwrap_or_default();
        let well = |server: &&Value| server["Healthy"] == true && server["Voter"] == true;
        (servers.iter().filter(well).count() == count)
            .then_some(())
            .ok_or(text)
    })
    .await;
}

/// Which of the servers leads.
async fn leader(servers: &[Agent]) -> usize {
    let at = eventually("a leader", async || {
        let address = http::get(&servers[0].url("http", "/v1/status/leader")).await;
        let leads = |server: &Agent| address == server.address("rpc").to_string();
        let at = servers.iter().position(leads);
        at.ok_or_else(|| address.to_string())
    });
    at.await
}

/// Latencies in microseconds, ascending.
struct Latencies(Vec<u64>);

impl Latencies {
    fn new(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// Milliseconds that so many percent do not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(f64::NAN, |us| *us as f64 / 1e3)
    }
}

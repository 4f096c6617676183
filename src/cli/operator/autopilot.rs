//! `operator autopilot …`: how the servers look after their group, and how they are.

use crate::{
    arguments::switches,
    called,
    catalog_options::CatalogOptions,
    context::Context,
    http::{Http, decode},
    render::columns,
    structured,
    view::View,
};
use anyhow::{Context as _, bail};
use jobs::model::{Timestamp, rfc3339};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

const CONFIGURATION: &str = "/v1/operator/autopilot/configuration";

/// Look after the group of servers.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show how the servers look after their group
    #[command(name = "get-config")]
    GetConfig(GetArguments),
    /// Change how the servers look after their group
    #[command(name = "set-config")]
    SetConfig(Box<SetArguments>),
    /// Show how the servers are
    Health(HealthArguments),
    /// Show how the servers are, from the catalog API
    State(StateArguments),
}

/// Arguments of `operator autopilot get-config`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GetArguments {
    #[command(flatten)]
    options: CatalogOptions,
}

/// Arguments of `operator autopilot set-config`; what is not named stays.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(mut_args(switches(&[
    "cleanup_dead_servers",
    "enable_redundancy_zones",
    "disable_upgrade_migration",
    "enable_custom_upgrades",
])))]
pub struct SetArguments {
    /// Only while the configuration has this modify index
    #[arg(long, value_name = "INDEX")]
    cas: Option<u64>,
    /// Take servers out that stay silent
    #[arg(long)]
    cleanup_dead_servers: Option<bool>,
    /// A server that answered longer ago is not healthy
    #[arg(long, value_name = "DURATION")]
    last_contact_threshold: Option<String>,
    /// A server that is more entries behind is not healthy
    #[arg(long, value_name = "COUNT")]
    max_trailing_logs: Option<u64>,
    /// Voters that have to be left when one is taken out
    #[arg(long, value_name = "COUNT")]
    min_quorum: Option<u64>,
    /// How long a new server is healthy before it votes
    #[arg(long, value_name = "DURATION")]
    server_stabilization_time: Option<String>,
    #[command(flatten)]
    fixed: Fixed,
    #[command(flatten)]
    options: CatalogOptions,
}

/// Settings that the servers know and do not change.
#[derive(Clone, Debug, Default, clap::Args)]
struct Fixed {
    /// Always false
    #[arg(long)]
    enable_redundancy_zones: Option<bool>,
    /// Always false
    #[arg(long)]
    disable_upgrade_migration: Option<bool>,
    /// Always false
    #[arg(long)]
    enable_custom_upgrades: Option<bool>,
    /// Always empty
    #[arg(long, value_name = "LABEL")]
    redundancy_zone_tag: Option<String>,
    /// Always empty
    #[arg(long, value_name = "LABEL")]
    upgrade_version_tag: Option<String>,
}

/// Arguments of `operator autopilot health`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct HealthArguments {
    /// Print the API's object as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `operator autopilot state`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StateArguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// How it is printed: pretty or json
    #[arg(long, default_value = "pretty", value_name = "FORMAT")]
    format: String,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::GetConfig(arguments) => get(cx, &arguments).await,
        Command::SetConfig(arguments) => set(cx, &arguments).await,
        Command::Health(arguments) => health(cx, &arguments).await,
        Command::State(arguments) => state(cx, &arguments).await,
    }
}

/// The API that has the configuration: both do, and called as the catalog's program there is one.
fn api(cx: &Context, options: &CatalogOptions) -> anyhow::Result<Http> {
    match called(&cx.program) {
        "consul" => options.http(cx),
        _ => Ok(cx.http.clone()),
    }
}

async fn get(cx: &mut Context, arguments: &GetArguments) -> anyhow::Result<u8> {
    let http = api(cx, &arguments.options)?;
    let config: Map<String, Value> = http
        .get(CONFIGURATION, &[])
        .await
        .context("Error querying Autopilot configuration")?;
    cx.print(&settings(&config))?;
    Ok(0)
}

/// The settings in their usual order, as far as the API has them.
fn settings(config: &Map<String, Value>) -> String {
    let names = [
        "CleanupDeadServers",
        "LastContactThreshold",
        "MaxTrailingLogs",
        "MinQuorum",
        "ServerStabilizationTime",
        "EnableRedundancyZones",
        "RedundancyZoneTag",
        "DisableUpgradeMigration",
        "EnableCustomUpgrades",
        "UpgradeVersionTag",
    ];
    let lines = names.into_iter().filter_map(|name| {
        let value = match config.get(name)? {
            Value::String(text) if !name.ends_with("Tag") => text.clone(),
            value => value.to_string(),
        };
        Some(format!("{name} = {value}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

async fn set(cx: &mut Context, arguments: &SetArguments) -> anyhow::Result<u8> {
    let http = api(cx, &arguments.options)?;
    let mut config: Map<String, Value> = http
        .get(CONFIGURATION, &[])
        .await
        .context("Error querying for Autopilot configuration")?;
    config.extend(arguments.named());
    let found = config.get("ModifyIndex").and_then(Value::as_u64);
    let cas = arguments.cas.or(found).unwrap_or_default().to_string();
    let updated: bool = http
        .put(CONFIGURATION, &[("cas", &cas)], &config)
        .await
        .context("Error setting Autopilot configuration")?;
    if updated {
        cx.print("Configuration updated!")?;
        return Ok(0);
    }
    cx.print("Configuration could not be atomically updated, please try again")?;
    Ok(1)
}

impl SetArguments {
    /// What is named, under the names of the API.
    fn named(&self) -> impl Iterator<Item = (String, Value)> {
        let fixed = &self.fixed;
        let flag = |flag: Option<bool>| flag.map(Value::from);
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let named = [
            ("CleanupDeadServers", flag(self.cleanup_dead_servers)),
            ("LastContactThreshold", text(&self.last_contact_threshold)),
            ("MaxTrailingLogs", self.max_trailing_logs.map(Value::from)),
            ("MinQuorum", self.min_quorum.map(Value::from)),
            (
                "ServerStabilizationTime",
                text(&self.server_stabilization_time),
            ),
            ("EnableRedundancyZones", flag(fixed.enable_redundancy_zones)),
            (
                "DisableUpgradeMigration",
                flag(fixed.disable_upgrade_migration),
            ),
            ("EnableCustomUpgrades", flag(fixed.enable_custom_upgrades)),
            ("RedundancyZoneTag", text(&fixed.redundancy_zone_tag)),
            ("UpgradeVersionTag", text(&fixed.upgrade_version_tag)),
        ];
        let named = named.into_iter();
        named.filter_map(|(name, value)| Some((name.to_owned(), value?)))
    }
}

/// What both reports say of a server.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Server {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    address: String,
    serf_status: String,
    node_status: String,
    version: String,
    status: String,
    node_type: String,
    leader: bool,
    voter: bool,
    healthy: bool,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    #[serde(with = "rfc3339")]
    stable_since: Timestamp,
}

/// The report of the jobs API.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Health {
    healthy: bool,
    failure_tolerance: u64,
    leader: Option<String>,
    voters: Vec<String>,
    servers: Vec<Server>,
}

async fn health(cx: &mut Context, arguments: &HealthArguments) -> anyhow::Result<u8> {
    let path = "/v1/operator/autopilot/health";
    let report = cx.http.get_report(path).await;
    let report = report.context("Error querying Autopilot configuration")?;
    if arguments.json {
        cx.print(&report.to_string())?;
        return Ok(0);
    }
    let health: Health = decode(path, report)?;
    let text = shown_health(&health, &cx.view(false));
    cx.print(&text)?;
    Ok(0)
}

fn shown_health(health: &Health, view: &View) -> String {
    let header = [
        "ID",
        "Name",
        "Address",
        "SerfStatus",
        "Version",
        "Leader",
        "Voter",
        "Healthy",
        "LastContact",
        "LastTerm",
        "LastIndex",
        "StableSince",
    ];
    let row = |server: &Server| {
        [
            server.id.clone(),
            server.name.clone(),
            server.address.clone(),
            server.serf_status.clone(),
            server.version.clone(),
            server.leader.to_string(),
            server.voter.to_string(),
            server.healthy.to_string(),
            server.last_contact.clone(),
            server.last_term.to_string(),
            server.last_index.to_string(),
            view.time(server.stable_since),
        ]
    };
    let voters = health.voters.iter().map(|id| format!("\t{id}\n"));
    format!(
        "Healthy: {}\nFailureTolerance: {}\nLeader: {}\nVoters:\n{}Servers:\n{}",
        health.healthy,
        health.failure_tolerance,
        health.leader.as_deref().unwrap_or_default(),
        voters.collect::<String>(),
        columns::table(header, health.servers.iter().map(row).collect()),
    )
}

/// The report of the catalog API.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    healthy: bool,
    failure_tolerance: u64,
    optimistic_failure_tolerance: u64,
    leader: String,
    voters: Vec<String>,
    servers: BTreeMap<String, Server>,
}

async fn state(cx: &mut Context, arguments: &StateArguments) -> anyhow::Result<u8> {
    let path = "/v1/operator/autopilot/state";
    let http = arguments.options.http(cx)?;
    let query = arguments.options.read(&[]);
    let report = http.get_value(path, &query).await;
    let report = report.context("Error querying Autopilot state")?;
    match arguments.format.as_str() {
        "pretty" => {
            let state: State = decode(path, report)?;
            cx.print(shown_state(&state).trim_end())?;
        }
        "json" => cx.print(&structured::json(&report))?,
        other => bail!("Unknown format: {other}; there are pretty and json"),
    }
    Ok(0)
}

fn shown_state(state: &State) -> String {
    let mut text = String::new();
    let mut line = |indent: usize, key: &str, value: &str| {
        // Writing to a string cannot fail.
        writeln!(text, "{:indent$}{key}{value}", "").ok();
    };
    for (key, value) in [
        ("Healthy:                      ", json!(state.healthy)),
        (
            "Failure Tolerance:            ",
            json!(state.failure_tolerance),
        ),
        (
            "Optimistic Failure Tolerance: ",
            json!(state.optimistic_failure_tolerance),
        ),
    ] {
        line(0, key, &value.to_string());
    }
    line(0, "Leader:                       ", &state.leader);
    line(0, "Voters:", "");
    for id in &state.voters {
        line(3, id, "");
    }
    line(0, "Servers:", "");
    for server in state.servers.values() {
        line(3, &server.id, "");
        for (key, value) in [
            ("Name:            ", &server.name),
            ("Address:         ", &server.address),
            ("Version:         ", &server.version),
            ("Status:          ", &server.status),
            ("Node Type:       ", &server.node_type),
            ("Node Status:     ", &server.node_status),
            ("Healthy:         ", &server.healthy.to_string()),
            ("Last Contact:    ", &server.last_contact),
            ("Last Term:       ", &server.last_term.to_string()),
            ("Last Index:      ", &server.last_index.to_string()),
        ] {
            line(6, key, value);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;

    fn server() -> Value {
        json!({
            "ID": "s1", "Name": "s1.global", "Address": "10.0.0.1:4647", "SerfStatus": "alive",
            "NodeStatus": "alive", "NodeType": "voter", "Status": "leader", "Version": "1.22.0",
            "Leader": true, "Voter": true, "Healthy": true, "LastContact": "0s", "LastTerm": 2,
            "LastIndex": 14, "StableSince": "2026-03-02T10:00:00.5Z",
        })
    }

    #[test]
    fn settings_stand_in_their_order() {
        let config = json!({
            "UpgradeVersionTag": "", "ServerStabilizationTime": "10s", "CleanupDeadServers": true,
            "LastContactThreshold": "200ms", "MaxTrailingLogs": 250, "MinQuorum": 0,
            "DisableUpgradeMigration": false, "ModifyIndex": 7,
        });
        assert_eq!(
            settings(config.as_object().unwrap()),
            "CleanupDeadServers = true
LastContactThreshold = 200ms
MaxTrailingLogs = 250
MinQuorum = 0
ServerStabilizationTime = 10s
DisableUpgradeMigration = false
UpgradeVersionTag = \"\""
        );
    }

    #[test]
    fn what_is_not_named_stays() {
        let arguments = SetArguments {
            cleanup_dead_servers: Some(false),
            min_quorum: Some(3),
            server_stabilization_time: Some("1s".into()),
            fixed: Fixed {
                upgrade_version_tag: Some("v".into()),
                ..Fixed::default()
            },
            ..SetArguments::default()
        };
        let named: Map<String, Value> = arguments.named().collect();
        assert_eq!(
            Value::Object(named),
            json!({
                "CleanupDeadServers": false,
                "MinQuorum": 3,
                "ServerStabilizationTime": "1s",
                "UpgradeVersionTag": "v",
            })
        );
    }

    #[test]
    fn reports_look_as_published() {
        let health = json!({
            "Healthy": true, "FailureTolerance": 0, "Leader": "s1", "Voters": ["s1"],
            "Servers": [server()],
        });
        let health: Health = serde_json::from_value(health).unwrap();
        assert_eq!(
            shown_health(&health, &test_view()),
            "Healthy: true
FailureTolerance: 0
Leader: s1
Voters:
\ts1
Servers:
ID  Name       Address        SerfStatus  Version  Leader  Voter  Healthy  LastContact  LastTerm  LastIndex  StableSince
s1  s1.global  10.0.0.1:4647  alive       1.22.0   true    true   true     0s           2         14         2026-03-02T10:00:00Z"
        );
        let state = json!({
            "Healthy": true, "FailureTolerance": 0, "OptimisticFailureTolerance": 1,
            "Leader": "s1", "Voters": ["s1"], "Servers": {"s1": server()},
        });
        let state: State = serde_json::from_value(state).unwrap();
        assert_eq!(
            shown_state(&state),
            "Healthy:                      true
Failure Tolerance:            0
Optimistic Failure Tolerance: 1
Leader:                       s1
Voters:
   s1
Servers:
   s1
      Name:            s1.global
      Address:         10.0.0.1:4647
      Version:         1.22.0
      Status:          leader
      Node Type:       voter
      Node Status:     alive
      Healthy:         true
      Last Contact:    0s
      Last Term:       2
      Last Index:      14
"
        );
    }
}

//! The agent itself and its peers.

mod keyring;
mod status;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use jobs::wire;
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

use super::{query::Query, write};
use crate::health::name;
use crate::{Api, error::Error};
use server::{KnownServer, Stats, Voter};

/// The endpoints of the agent and of the servers that it knows.
pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/agent/self", get(this))
        .route("/v1/agent/health", get(health))
        .route("/v1/agent/members", get(members))
        .route("/v1/agent/servers", get(status::peers))
        .route("/v1/agent/join", write(join))
        .route("/v1/agent/force-leave", write(force_leave))
        .route("/v1/agent/schedulers", get(schedulers))
        .route("/v1/status/leader", get(status::leader))
        .route("/v1/status/peers", get(status::peers))
        .route("/v1/regions", get(status::regions))
        .merge(keyring::router())
}

/// Kinds of jobs that the servers decide about.
const SCHEDULERS: [&str; 4] = ["batch", "service", "sysbatch", "system"];

/// Port of RPC where an address names none.
const RPC_PORT: u16 = 4647;

/// Version of the log's protocol, as clients of the API number it.
const RAFT_VERSION: &str = "3";

fn split_address(address: &str) -> (String, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), port.parse().unwrap_or(0))
}

/// A server as a member.
fn member(known: &KnownServer) -> wire::AgentMember {
    let server = &known.member;
    let (addr, port) = split_address(&server.address);
    let tags = [
        ("role", "nomad".to_owned()),
        ("region", server.region.clone()),
        ("dc", server.datacenter.clone()),
        ("build", wire::API_VERSION.to_owned()),
        (wire::OWN_VERSION_TAG, server.version.clone()),
        ("revision", String::new()),
        ("vsn", "1".to_owned()),
        ("raft_vsn", RAFT_VERSION.to_owned()),
        ("id", server.name.clone()),
        ("rpc_addr", addr.clone()),
        ("port", port.to_string()),
        ("bootstrap", u8::from(server.expect == 1).to_string()),
        ("expect", server.expect.to_string()),
    ];
    wire::AgentMember {
        name: format!("{}.{}", server.name, server.region),
        addr,
        port,
        status: name(known.status).to_owned(),
        tags: tags
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        protocol_min: 1,
        protocol_max: 1,
        protocol_cur: 1,
        delegate_min: 1,
        delegate_max: 1,
        delegate_cur: 1,
    }
}

/// This agent as a member, whether or not it runs a server.
fn own_member(api: &Api) -> wire::AgentMember {
    let facts = api.facts();
    let known = api.server().known_servers().into_iter().next();
    let mut own = known.map_or_else(wire::AgentMember::default, |known| member(&known));
    let version = (wire::OWN_VERSION_TAG.to_owned(), facts.version.clone());
    own.tags.extend([version]);
    own
}

/// `GET /v1/agent/self`
async fn this(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let facts = api.facts();
    let server = api.server();
    let regions = server.regions().len();
    let mut stats = server_rows(&server.stats(), &server.voters(), regions);
    if let Some(node_id) = facts.node_id {
        let snapshot = api.server().snapshot();
        let client = [
            ("node_id", node_id.to_string()),
            ("known_servers", known_servers(&api)),
            (
                "num_allocations",
                snapshot.jobs.allocs_of_node(node_id).count().to_string(),
            ),
        ];
        let client = client.map(|(key, value)| (key.to_owned(), value));
        stats.insert("client".to_owned(), BTreeMap::from(client));
    }
    query.json(&wire::AgentSelf {
        config: facts.config.clone(),
        member: own_member(&api),
        stats,
    })
}

fn known_servers(api: &Api) -> String {
    api.server().server_addresses().join(",")
}

/// The processor's kind as clients of the API call it.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn last_contact(silence: Duration) -> String {
    match silence {
        Duration::ZERO => "0".to_owned(),
        Duration::MAX => "never".to_owned(),
        silence => format!("{}ms", silence.as_millis()),
    }
}

/// The servers of the group, as clients of the API are told.
fn configuration(group: &[Voter]) -> String {
    let servers: Vec<String> = group
        .iter()
        .map(|server| {
            let suffrage = if server.votes { "Voter" } else { "Nonvoter" };
            let Voter { name, address, .. } = server;
            format!("{{Suffrage:{suffrage} ID:{name} Address:{address}}}")
        })
        .collect();
    format!("[{}]", servers.join(" "))
}

/// Section to key to value, as `agent-info` shows them.
fn server_rows(
    stats: &Stats,
    group: &[Voter],
    known_regions: usize,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let Stats {
        log,
        leader,
        voters,
        silence,
        ..
    } = stats;
    let state = if log.is_leader { "Leader" } else { "Follower" };
    let nomad = [
        ("server", (*voters > 0).to_string()),
        ("leader", log.is_leader.to_string()),
        ("leader_addr", leader.clone().unwrap_or_default()),
        ("bootstrap", (*voters == 1).to_string()),
        ("known_regions", known_regions.to_string()),
    ];
    let raft = [
        ("state", state.to_owned()),
        ("term", log.term.to_string()),
        ("last_log_index", log.last_log_index.to_string()),
        ("last_log_term", log.term.to_string()),
        ("commit_index", log.applied_index.to_string()),
        ("applied_index", log.applied_index.to_string()),
        ("last_snapshot_index", log.snapshot_index.to_string()),
        ("last_snapshot_term", log.snapshot_term.to_string()),
        ("latest_configuration", configuration(group)),
        (
            "latest_configuration_index",
            log.configuration_index.to_string(),
        ),
        ("last_contact", last_contact(*silence)),
        ("protocol_version", RAFT_VERSION.to_owned()),
        ("protocol_version_max", RAFT_VERSION.to_owned()),
        ("protocol_version_min", RAFT_VERSION.to_owned()),
        (
            "fsm_pending",
            log.last_log_index
                .saturating_sub(log.applied_index)
                .to_string(),
        ),
        ("num_peers", voters.saturating_sub(1).to_string()),
    ];
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = [
        ("arch", go_arch().to_owned()),
        ("cpu_count", cores.to_string()),
        ("max_procs", cores.to_string()),
        ("kernel.name", std::env::consts::OS.to_owned()),
        (
            "version",
            concat!("trivet", env!("CARGO_PKG_VERSION")).to_owned(),
        ),
    ];
    let section = |rows: &[(&str, String)]| {
        rows.iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    };
    BTreeMap::from([
        ("nomad".to_owned(), section(&nomad)),
        ("raft".to_owned(), section(&raft)),
        ("runtime".to_owned(), section(&runtime)),
    ])
}

/// `GET /v1/agent/health`
async fn health(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let (of_client, of_server) = match query.get("type") {
        None => (true, true),
        Some("client") => (true, false),
        Some("server") => (false, true),
        Some(other) => {
            let message = format!("unknown type {other:?}: client or server is expected");
            return Err(Error::bad_request(message));
        }
    };
    let role = |ok: bool, problem: &str| wire::RoleHealth {
        ok,
        message: if ok { "ok" } else { problem }.to_owned(),
    };
    let snapshot = api.server().snapshot();
    let node_id = api.facts().node_id;
    let client = node_id.filter(|_| of_client).map(|node_id| {
        let node = snapshot.jobs.node(node_id);
        // Only servers know how they see the node.
        let ready = !api.server().has_copy()
            || node.is_some_and(|node| node.status == jobs::model::NodeStatus::Ready);
        role(ready, "the node is not ready")
    });
    if query.get("type") == Some("client") && client.is_none() {
        let client = Some(role(false, "client not enabled"));
        return unhealthy(
            &query,
            &wire::AgentHealth {
                client,
                server: None,
            },
        );
    }
    let has_server = api.server().has_copy() || query.get("type") == Some("server");
    let server = (of_server && has_server).then(|| role(api.knows_leader(), "No cluster leader"));
    let health = wire::AgentHealth { client, server };
    let roles = [&health.client, &health.server];
    if roles.into_iter().flatten().all(|role| role.ok) {
        query.json(&health)
    } else {
        unhealthy(&query, &health)
    }
}

fn unhealthy(query: &Query, health: &wire::AgentHealth) -> Result<Response, Error> {
    let body = query.json(health)?;
    Ok((StatusCode::INTERNAL_SERVER_ERROR, body).into_response())
}

/// `GET /v1/agent/members`
async fn members(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let facts = api.facts();
    query.json(&wire::ServerMembers {
        server_name: facts.name.clone(),
        server_region: facts.region.clone(),
        server_dc: facts.datacenter.clone(),
        members: api.server().known_servers().iter().map(member).collect(),
    })
}

/// `PUT /v1/agent/join`
async fn join(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let addresses: Vec<String> = query.all("address").map(with_port).collect();
    if addresses.is_empty() {
        return Err(Error::bad_request("missing address to join"));
    }
    let joined = api.server().join(&addresses).await;
    let error = match joined {
        0 => format!("no server answers at {}", addresses.join(", ")),
        _ => String::new(),
    };
    query.json(&json!({ "num_joined": joined, "error": error }))
}

/// An address with the port of RPC where it names none.
fn with_port(address: &str) -> String {
    match split_address(address) {
        (_, 0) => format!("{address}:{RPC_PORT}"),
        _ => address.to_owned(),
    }
}

/// `PUT /v1/agent/force-leave`
async fn force_leave(State(api): State<Api>, query: Query) -> Result<(), Error> {
    let Some(node) = query.get("node") else {
        return Err(Error::bad_request("missing node to force leave"));
    };
    Ok(api.server().force_leave(node).await?)
}

/// `GET /v1/agent/schedulers`
async fn schedulers(query: Query) -> Result<Response, Error> {
    query.json(&json!({
        "num_schedulers": 1,
        "enabled_schedulers": SCHEDULERS,
    }))
}

#[cfg(test)]
mod tests {
    use super::split_address;

    #[test]
    fn addresses_may_be_v6_ones() {
        assert_eq!(split_address("10.0.0.1:4647"), ("10.0.0.1".into(), 4647));
        assert_eq!(split_address("[::1]:4647"), ("::1".into(), 4647));
        assert_eq!(split_address("host"), ("host".into(), 0));
    }
}

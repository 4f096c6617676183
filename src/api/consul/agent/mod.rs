//! This agent: itself, what runs on its node, and the members that it knows.
//!
//! These reads have no index and never wait.

mod control;
mod definition;
mod files;
mod health;
mod host;
pub(super) mod metadata;
mod metrics;
mod posted_definition;
mod posted_proxy;
mod register;
mod role;
mod service;

pub use control::{AgentRequest, agent_requests};
pub(super) use definition::{NO_SCRIPTS, PostedCheck, PostedService, Scripts};
pub use files::Definitions;

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use mesh::local::{Local, LocalCheck};
use mesh::model::{
    Check, CheckId, CheckKey, Node, SERF_HEALTH, SERVERS, Service, ServiceId, Status,
};
use mesh::state::{Command, RemoveNode};
use mesh::view::View;
use mesh::wire::{
    API_VERSION, AgentIdentity, AgentMember, AgentSelf, AgentService, HealthCheck, Member,
    MemberStatus,
};

use serde_json::json;
use server::Metrics;

use super::query::{Query, json};
use super::{Catalog, Cluster, read, refusals, write};
use crate::error::Error;

/// Id of the check that says that a service is in maintenance, before its own id.
const SERVICE_MAINTENANCE: &str = "_service_maintenance:";
/// Id of the check that says that the node is in maintenance.
const NODE_MAINTENANCE: &str = "_node_maintenance";

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/agent/self", read(itself))
        .route("/v1/agent/version", read(version))
        .route("/v1/agent/host", read(host::host))
        .route("/v1/agent/metrics", read(metrics::metrics))
        .route("/v1/agent/service/{*id}", read(service::service))
        .route("/v1/agent/health/service/id/{*id}", read(health::by_id))
        .route(
            "/v1/agent/health/service/name/{*name}",
            read(health::by_name),
        )
        .route("/v1/agent/force-leave/{*name}", write(force_leave))
        .route("/v1/agent/services", read(services))
        .route("/v1/agent/checks", read(checks))
        .route("/v1/agent/members", read(members))
        .merge(register::router())
        .merge(control::router())
}

async fn itself(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let (agent, snapshot) = (catalog.agent(), catalog.snapshot());
    let meta = snapshot
        .node(&agent.node_name)
        .map(|node| node.meta.clone())
        .unwrap_or_default();
    let log = agent.is_server.then(|| catalog.server().raft_metrics());
    let stats = stats(agent, &snapshot, &catalog.cluster(), log);
    json(&query, &AgentSelf::new(agent, stats, meta))
}

/// Returns counters by subsystem; every value is a string, as clients expect.
fn stats(
    agent: &AgentIdentity,
    snapshot: &View,
    cluster: &Cluster,
    log: Option<Metrics>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let services = snapshot.services_of_node(&agent.node_name).count();
    let checks = snapshot.checks_of_node(&agent.node_name).count();
    let section = |pairs: &[(&str, String)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    };
    let own = section(&[
        ("checks", checks.to_string()),
        ("services", services.to_string()),
    ]);
    let build = section(&[
        ("prerelease", String::new()),
        ("revision", agent.revision.clone()),
        ("version", API_VERSION.to_owned()),
        ("version_metadata", format!("trivet.{}", agent.version)),
    ]);
    let others = snapshot.datacenters();
    let others = others.filter(|name| *name != agent.datacenter);
    let leads = log.is_some_and(|log| log.is_leader);
    let shared = section(&[
        ("acl", "disabled".to_owned()),
        ("catalog_index", snapshot.index().to_string()),
        ("known_datacenters", (1 + others.count()).to_string()),
        ("known_servers", cluster.servers.len().to_string()),
        ("leader", leads.to_string()),
        ("leader_addr", cluster.leader.clone().unwrap_or_default()),
        ("server", agent.is_server.to_string()),
    ]);
    let runtime = section(&[
        ("arch", std::env::consts::ARCH.to_owned()),
        ("cpu_count", cpus().to_string()),
        ("os", std::env::consts::OS.to_owned()),
    ]);
    let mut sections = BTreeMap::from([
        ("agent".to_owned(), own),
        ("build".to_owned(), build),
        ("consul".to_owned(), shared),
        ("runtime".to_owned(), runtime),
    ]);
    if let Some(log) = log {
        let peers = cluster.servers.len().saturating_sub(1);
        let state = if leads { "Leader" } else { "Follower" };
        let raft = section(&[
            ("applied_index", log.applied_index.to_string()),
            ("last_log_index", log.last_log_index.to_string()),
            ("last_snapshot_index", log.snapshot_index.to_string()),
            ("last_snapshot_term", log.snapshot_term.to_string()),
            (
                "latest_configuration_index",
                log.configuration_index.to_string(),
            ),
            ("num_peers", peers.to_string()),
            ("state", state.to_owned()),
            ("term", log.term.to_string()),
        ]);
        sections.insert("raft".to_owned(), raft);
    }
    sections
}

/// How many processors this process may use.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `GET /v1/agent/version`
async fn version(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    json(
        &query,
        &json!({
            "SHA": catalog.agent().revision,
            "BuildDate": "1970-01-01T00:00:01Z",
            "HumanVersion": API_VERSION,
            "FIPS": "",
            "TrivetVersion": catalog.agent().version,
        }),
    )
}

async fn services(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let wanted = query.wanted::<AgentService>()?;
    let mut services = all_services(&catalog);
    services.retain(|_, row| wanted.has(row));
    json(&query, &services)
}

/// The services of this agent, by id.
fn all_services(catalog: &Catalog) -> BTreeMap<ServiceId, AgentService> {
    let (agent, snapshot) = (catalog.agent(), catalog.snapshot());
    let shown = |row: &Service| (row.id.clone(), AgentService::new(row, &agent.datacenter));
    // What was registered here is known here first; the rest are instances of allocations.
    let local = catalog.registered().map(client::Registered::local);
    let of_node = snapshot.services_of_node(&agent.node_name);
    let mut services: BTreeMap<ServiceId, AgentService> = of_node
        .filter(|row| row.origin.is_some() || (local.is_none() && row.name != SERVERS))
        .map(|row| shown(row))
        .collect();
    services.extend(local.iter().flat_map(Local::services).map(shown));
    services
}

async fn checks(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let wanted = query.wanted::<HealthCheck>()?;
    let mut checks = all_checks(&catalog);
    checks.retain(|_, row| wanted.has(row));
    json(&query, &checks)
}

/// The checks of this agent, by id.
fn all_checks(catalog: &Catalog) -> BTreeMap<CheckId, HealthCheck> {
    let snapshot = catalog.snapshot();
    let node = &catalog.agent().node_name;
    let local = catalog.registered().map(client::Registered::local);
    let of_alloc = |row: &Check| {
        let owner = row.owner().and_then(|key| snapshot.service(&key));
        owner.is_some_and(|owner| owner.origin.is_some())
    };
    let mut checks: BTreeMap<CheckId, HealthCheck> = snapshot
        .checks_of_node(node)
        .filter(|row| row.id != SERF_HEALTH && (local.is_none() || of_alloc(row)))
        .map(|row| {
            let check = HealthCheck::of(&snapshot, row).without_indexes();
            (row.id.clone(), check)
        })
        .collect();
    if let Some(local) = &local {
        let own = local.checks().map(|own| own_check(node, local, own));
        checks.extend(own.map(|check| (check.check_id.clone(), check)));
    }
    checks
}

/// A check that was registered with this agent.
fn own_check(node: &str, local: &Local, own: &LocalCheck) -> HealthCheck {
    let service = own.check.service_id.as_ref();
    let service = service.and_then(|id| local.service(id));
    let check = Check {
        node: node.into(),
        service_name: service.map(|service| service.name.clone()),
        ..own.check.clone()
    };
    let tags = service.map_or(&[][..], |service| &service.tags);
    HealthCheck::new(&check, tags)
}

async fn members(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let wanted = query.wanted::<AgentMember>()?;
    let (agent, snapshot, cluster) = (catalog.agent(), catalog.snapshot(), catalog.cluster());
    let own = Member {
        identity: agent,
        status: MemberStatus::Alive,
    }
    .into();
    let others = snapshot
        .nodes()
        .filter(|node| node.name != agent.node_name)
        .filter_map(|node| member(&snapshot, &cluster, agent, node));
    let mut members: Vec<AgentMember> = std::iter::once(own).chain(others).collect();
    if query.wants_wan {
        members.retain(|member| member.tags.get("role").is_some_and(|role| role == "consul"));
        for member in &mut members {
            let datacenter = member.tags.get("dc").map_or("", String::as_str);
            member.name = format!("{}.{datacenter}", member.name);
        }
    }
    members.retain(|member| wanted.has(member));
    json(&query, &members)
}

/// Takes an agent that failed out of the catalog; one that is alive stays.
async fn force_leave(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    _query: Query,
) -> Result<(), Error> {
    let snapshot = catalog.snapshot();
    let key = CheckKey {
        node: name.clone().into(),
        id: SERF_HEALTH.into(),
    };
    let Some(check) = snapshot.check(&key) else {
        return Err(Error::internal(format!(
            "agent: No node found with name '{name}'"
        )));
    };
    if check.status == Status::Critical {
        let command = Command::RemoveNode(RemoveNode { name: name.into() });
        let (_, outcome) = catalog.server().propose(command).await?;
        outcome.map_err(refusals::of)?;
    }
    Ok(())
}

/// Describes another agent; nothing for a node without an agent, which is no member.
fn member(
    snapshot: &View,
    cluster: &Cluster,
    agent: &AgentIdentity,
    node: &Node,
) -> Option<AgentMember> {
    let key = CheckKey {
        node: node.name.clone(),
        id: SERF_HEALTH.into(),
    };
    let status = match snapshot.check(&key)?.status {
        Status::Passing | Status::Warning => MemberStatus::Alive,
        Status::Critical => MemberStatus::Failed,
    };
    let identity = AgentIdentity {
        node_id: node.id.to_string(),
        node_name: node.name.to_string(),
        datacenter: node.datacenter.clone(),
        advertise_address: node.address.clone(),
        member_port: agent.member_port,
        is_server: cluster
            .servers
            .iter()
            .any(|server| node.name == server.name),
        version: agent.version.clone(),
        revision: String::new(),
    };
    Some(
        Member {
            identity: &identity,
            status,
        }
        .into(),
    )
}

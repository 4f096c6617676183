//! Rows that somebody writes into the catalog without an agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use mesh::model::{CheckId, Node, NodeId, NodeName, ServiceId};
use mesh::state::{Command, Deregister, Register, Rejected};
use serde::Deserialize;

use super::agent::{PostedCheck, PostedService, metadata};
use super::decode::body;
use super::query::{NO_DATACENTER, Query, json};
use super::{Catalog, refusals, write};
use crate::body::Raw;
use crate::error::Error;
use crate::forward::ASKED_IN;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/catalog/register", write(register))
        .route("/v1/catalog/deregister", write(deregister))
}

/// A registration as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Posted {
    #[serde(rename = "ID")]
    id: NodeId,
    node: NodeName,
    datacenter: String,
    address: String,
    tagged_addresses: BTreeMap<String, String>,
    node_meta: BTreeMap<String, String>,
    service: Option<PostedService>,
    check: Option<PostedCheck>,
    checks: Vec<PostedCheck>,
    skip_node_update: bool,
}

async fn register(
    State(catalog): State<Catalog>,
    query: Query,
    headers: HeaderMap,
    raw: Raw,
) -> Result<Response, Error> {
    let posted: Posted = body(&raw)?;
    if posted.node.is_empty() {
        return Err(Error::internal("Must provide node"));
    }
    if posted.address.is_empty() && !posted.skip_node_update {
        return Err(Error::internal(
            "Must provide address if SkipNodeUpdate is not set",
        ));
    }
    if !posted.id.is_empty() && posted.id.len() != refusals::ID_CHARACTERS {
        return Err(Error::internal("Bad node ID: uuid string is wrong length"));
    }
    if let Some(problem) = renames_agent(&catalog, &posted.node, &posted.id) {
        return Err(Error::internal(problem));
    }
    metadata::check_node(&posted.node_meta)?;
    if lacks_datacenter(&catalog, &posted.datacenter, &posted.node) {
        return Err(Error::internal(NO_DATACENTER));
    }
    let datacenter = match posted.datacenter {
        posted if posted.is_empty() => meant(&catalog, &query, &headers),
        posted => posted,
    };
    let service = posted.service.as_ref().map(|service| {
        if service.name.is_empty() {
            return Err(Error::internal(
                "Must provide service name (Service.Service) when service ID is provided",
            ));
        }
        service.catalog_service()
    });
    let checks = posted.check.iter().chain(&posted.checks);
    let checks: Result<Vec<_>, Error> = checks.map(PostedCheck::catalog_check).collect();
    // The row of a node that runs an agent is that agent's own.
    let is_agent = runs_agent(&catalog, &posted.node);
    let command = Register {
        node: Node {
            id: posted.id,
            name: posted.node.clone(),
            address: posted.address,
            datacenter,
            meta: posted.node_meta,
            tagged_addresses: posted.tagged_addresses,
            ..Node::default()
        },
        keep_node: posted.skip_node_update || is_agent,
        service: service.transpose()?,
        checks: checks?,
    };
    let command = Command::Register(Box::new(command));
    let (_, outcome) = catalog.server().propose(command).await?;
    match outcome {
        Ok(_) => json(&query, &true),
        Err(server::Rejected::Mesh(Rejected::UnknownService { node, .. })) => Err(Error::internal(
            format!("failed inserting check: Missing service registration on node {node:?}"),
        )),
        Err(rejected) => Err(refusals::of(rejected)),
    }
}

/// What is to be removed, as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedRemoval {
    node: NodeName,
    datacenter: String,
    #[serde(rename = "ServiceID")]
    service_id: ServiceId,
    #[serde(rename = "CheckID")]
    check_id: CheckId,
}

async fn deregister(
    State(catalog): State<Catalog>,
    query: Query,
    raw: Raw,
) -> Result<Response, Error> {
    let posted: PostedRemoval = body(&raw)?;
    if posted.node.is_empty() {
        return Err(Error::internal("Must provide node"));
    }
    if lacks_datacenter(&catalog, &posted.datacenter, &posted.node) {
        return Err(Error::internal(NO_DATACENTER));
    }
    let snapshot = catalog.server().snapshot();
    let node = snapshot.mesh.view().node(&posted.node);
    let is_elsewhere = |node: &Arc<Node>| {
        let asked = Some(&posted.datacenter).filter(|name| !name.is_empty());
        let asked = asked.or(query.datacenter.as_ref());
        asked.is_some_and(|asked| node.datacenter != *asked)
    };
    if node.is_some_and(is_elsewhere) {
        // There is no such node where it is to be removed.
        return json(&query, &true);
    }
    let (service_id, check_id) = (posted.service_id.or_none(), posted.check_id.or_none());
    let is_node = service_id.is_none() && check_id.is_none();
    // A node with an agent would be put back at once.
    if is_node && runs_agent(&catalog, &posted.node) {
        return json(&query, &true);
    }
    let command = Command::Deregister(Deregister {
        node: posted.node,
        service_id,
        check_id,
    });
    let (_, outcome) = catalog.server().propose(command).await?;
    match outcome {
        // An allocation's instance would be put back at once.
        Ok(_) | Err(server::Rejected::Mesh(Rejected::OfAllocation { .. })) => json(&query, &true),
        Err(rejected) => Err(refusals::of(rejected)),
    }
}

/// The datacenter of a node whose registration names none: the one that is asked, else that of the
/// agent that was.
pub(super) fn meant(catalog: &Catalog, query: &Query, headers: &HeaderMap) -> String {
    let asked = headers.get(ASKED_IN).map(HeaderValue::as_bytes);
    let asked = asked.and_then(|name| str::from_utf8(name).ok());
    let named = query.datacenter.as_deref().or(asked);
    named.unwrap_or(&catalog.agent().datacenter).to_owned()
}

/// Whether a registration of `node` names a datacenter that the region does not have: its
/// datacenters are those of its agents. A node that is in another one since an earlier version
/// stays there, and can be removed.
pub(super) fn lacks_datacenter(catalog: &Catalog, name: &str, node: &str) -> bool {
    if name.is_empty() || name == catalog.agent().datacenter {
        return false;
    }
    let server = catalog.server();
    let snapshot = server.snapshot();
    let is_there = |row: &Arc<Node>| row.datacenter == name;
    if snapshot.mesh.view().node(node).is_some_and(is_there) {
        return false;
    }
    let has_client = snapshot.jobs.nodes("").any(|node| node.datacenter == name);
    let has_server = || {
        let servers = server.known_servers().into_iter();
        let mut own = servers.filter(|known| known.member.region == server.region());
        own.any(|known| known.member.datacenter == name)
    };
    !has_client && !has_server()
}

/// Whether an agent of this cluster looks after the node.
pub(super) fn runs_agent(catalog: &Catalog, name: &str) -> bool {
    let snapshot = catalog.server().snapshot();
    snapshot.jobs.nodes("").any(|node| node.name == name)
}

/// What is wrong with a node that has the id of an agent's, under another name: the agent would not
/// find its rows again.
pub(super) fn renames_agent(catalog: &Catalog, name: &str, id: &str) -> Option<String> {
    let snapshot = catalog.server().snapshot();
    let holder = snapshot.jobs.node(jobs::model::NodeId::parse(id)?)?;
    (holder.name != *name).then(|| {
        let holder = &holder.name;
        format!("node ID {id:?} is that of the agent on node {holder:?}, which keeps its name")
    })
}

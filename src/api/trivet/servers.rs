//! The servers of the cluster: who leads, who follows, and how far.

use axum::{extract::State, response::Response};
use serde::Serialize;
use std::future::ready;

use crate::{Api, error::Error, health, nomad::query::Query, repeated};
use server::ServerHealth;

/// The servers at one moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Servers {
    /// There is a leader and every server is well.
    healthy: bool,
    /// How many more may fail before nothing can be written.
    failure_tolerance: usize,
    /// Each server of the log.
    servers: Vec<Row>,
    log: Log,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    address: String,
    version: String,
    /// `alive`, `failed` or `left`.
    status: &'static str,
    leader: bool,
    voter: bool,
    healthy: bool,
    /// Entries that it is behind; none where another server leads.
    behind: Option<u64>,
    last_contact: String,
}

/// The log of the server that answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Log {
    leads: bool,
    term: u64,
    last_index: u64,
    applied: u64,
    snapshot: u64,
}

fn servers(api: &Api) -> Servers {
    let (server, region) = (api.server(), &api.facts().region);
    let (group, metrics) = (server.health(), server.raft_metrics());
    let row = |one: &ServerHealth| {
        let voter = &one.server;
        let matched = match voter.is_leader {
            true => Some(metrics.last_log_index),
            false => voter.matched,
        };
        Row {
            name: match voter.name.as_str() {
                "" => String::new(),
                name => format!("{name}.{region}"),
            },
            address: voter.address.clone(),
            version: one.version.clone(),
            status: health::name(one.status),
            leader: voter.is_leader,
            voter: voter.votes,
            healthy: one.is_healthy,
            behind: matched.map(|at| metrics.last_log_index.saturating_sub(at)),
            last_contact: health::last_contact(one),
        }
    };
    Servers {
        healthy: group.is_healthy(),
        failure_tolerance: group.tolerance(),
        servers: group.servers.iter().map(row).collect(),
        log: Log {
            leads: metrics.is_leader,
            term: metrics.term,
            last_index: metrics.last_log_index,
            applied: metrics.applied_index,
            snapshot: metrics.snapshot_index,
        },
    }
}

/// `GET /v1/trivet/servers`; `follow=true` tells it again and again, a line each time.
pub(super) async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    if !query.flag("follow")? {
        return query.json(&servers(&api));
    }
    Ok(repeated::respond(query.stopping(), move || {
        ready(Some(servers(&api)))
    }))
}

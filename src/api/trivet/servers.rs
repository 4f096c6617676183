//! The servers of the cluster: who leads, who follows, and how far.

use axum::{extract::State, response::Response};
use serde::Serialize;
use std::future::ready;

use crate::{Api, error::Error, health::Health, nomad::query::Query, repeated};

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
    let health = Health::new(server);
    let (voters, metrics) = (server.voters(), server.raft_metrics());
    let row = |voter: &server::Voter| Row {
        name: match voter.name.as_str() {
            "" => String::new(),
            name => format!("{name}.{region}"),
        },
        address: voter.address.clone(),
        version: health.version(voter).to_owned(),
        status: health.status(voter),
        leader: voter.is_leader,
        voter: voter.votes,
        healthy: health.of(voter),
        behind: health.behind(voter),
        last_contact: health.last_contact(voter),
    };
    Servers {
        healthy: health.is_healthy(&voters),
        failure_tolerance: health.tolerance(&voters),
        servers: voters.iter().map(row).collect(),
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

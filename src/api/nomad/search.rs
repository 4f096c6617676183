//! Finding rows of every kind by the start of their id.

use axum::{extract::State, response::Response};
use jobs::{state::Table, wire};
use std::collections::BTreeMap;

use crate::{Api, body::Raw, error::Error, nomad::query::Query};
use server::{Snapshot, log::watch::Topic};

/// A kind of row, with its name in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Jobs,
    Allocs,
    Nodes,
    Evals,
    Deployments,
}

const KINDS: [(&str, Kind); 5] = [
    ("jobs", Kind::Jobs),
    ("allocs", Kind::Allocs),
    ("nodes", Kind::Nodes),
    ("evals", Kind::Evals),
    ("deployment", Kind::Deployments),
];

/// Kinds that the original has besides; nothing of them exists here.
const EMPTY_KINDS: [&str; 8] = [
    "namespaces",
    "node_pools",
    "plugins",
    "quotas",
    "scaling_policy",
    "vars",
    "volumes",
    "host_volumes",
];

/// `PUT /v1/search`
pub(super) async fn search(
    State(api): State<Api>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let request: wire::SearchRequest = body.json()?;
    let kinds: Vec<(&str, Kind)> = match request.context.as_str() {
        "" | "all" => KINDS.to_vec(),
        context if EMPTY_KINDS.contains(&context) => Vec::new(),
        context => match KINDS.iter().find(|(name, _)| *name == context) {
            Some(kind) => vec![*kind],
            None => {
                let message = format!(
                    "context must be one of {:?}; got {context:?}",
                    KINDS.map(|kind| kind.0)
                );
                return Err(Error::bad_request(message));
            }
        },
    };
    let known_leader = api.knows_leader();
    let tables = [
        Table::Jobs,
        Table::Allocs,
        Table::Nodes,
        Table::Evals,
        Table::Deployments,
    ];
    let index_of = |snapshot: &Snapshot| {
        let indexes = tables.iter().map(|table| snapshot.jobs.table_index(*table));
        indexes.max().unwrap_or(0)
    };
    let view = |snapshot: &Snapshot| {
        let mut matches = BTreeMap::new();
        let mut truncations = BTreeMap::new();
        for (name, kind) in &kinds {
            let mut ids = found(snapshot, *kind, &query, &request.prefix);
            truncations.insert(
                (*name).to_owned(),
                ids.len() > wire::SearchResponse::MATCHES_MAX,
            );
            ids.truncate(wire::SearchResponse::MATCHES_MAX);
            matches.insert((*name).to_owned(), ids);
        }
        Ok(wire::SearchResponse {
            matches,
            truncations,
            index: index_of(snapshot).max(1),
            last_contact: 0,
            known_leader,
        })
    };
    api.read(&query, tables.map(Topic::Jobs), index_of, view)
        .await
}

/// At most one id more than is shown.
fn found(snapshot: &Snapshot, kind: Kind, query: &Query, prefix: &str) -> Vec<String> {
    let limit = wire::SearchResponse::MATCHES_MAX + 1;
    let jobs = &snapshot.jobs;
    match kind {
        Kind::Jobs => jobs
            .jobs(query.namespace.as_deref(), prefix)
            .map(|job| job.id.to_string())
            .take(limit)
            .collect(),
        Kind::Allocs => jobs
            .allocs(prefix)
            .filter(|alloc| query.wants(&alloc.namespace))
            .map(|alloc| alloc.id.to_string())
            .take(limit)
            .collect(),
        Kind::Nodes => jobs
            .nodes(prefix)
            .map(|node| node.id.to_string())
            .take(limit)
            .collect(),
        Kind::Evals => jobs
            .evals(prefix)
            .filter(|eval| query.wants(&eval.namespace))
            .map(|eval| eval.id.to_string())
            .take(limit)
            .collect(),
        Kind::Deployments => jobs
            .deployments(prefix)
            .filter(|deployment| query.wants(&deployment.namespace))
            .map(|deployment| deployment.id.to_string())
            .take(limit)
            .collect(),
    }
}

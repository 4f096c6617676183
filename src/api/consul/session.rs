//! Sessions: begun, renewed, ended and listed.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use jobs::model::Span;
use mesh::model::{Behavior, CheckId, NodeName, Session};
use mesh::state::{Command, CreateSession, DestroySession, Snapshot};
use mesh::wire::{SessionEntry, go_duration};
use serde::Deserialize;
use serde_json::json;

use super::decode::{GoDuration, body_or_default};
use super::query::{Query, answer_from_server, json as answer_json};
use super::refusals::{self, ID_CHARACTERS};
use super::{Catalog, catalog, read, write};
use crate::body::Raw;
use crate::error::Error;
use server::log::watch::Topic;

/// Shortest time to live.
const TTL_MIN: Duration = Duration::from_secs(10);
/// Longest time to live.
const TTL_MAX: Duration = Duration::from_hours(24);
/// Lock delay of a session that names none.
const LOCK_DELAY: Span = Span::from_secs(15);
/// Numbers below this are seconds, others nanoseconds.
const LOCK_DELAY_SECONDS_BELOW: i64 = 1000;

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/session/create", write(create))
        .route("/v1/session/destroy/", write(missing_session))
        .route("/v1/session/destroy/{id}", write(destroy))
        .route("/v1/session/renew/", write(missing_session))
        .route("/v1/session/renew/{id}", write(renew))
        .route("/v1/session/info/", read(missing_session))
        .route("/v1/session/info/{id}", read(info))
        .route("/v1/session/node/", read(catalog::missing_node))
        .route("/v1/session/node/{*name}", read(of_node))
        .route("/v1/session/list", read(list))
}

async fn missing_session() -> Error {
    Error::bad_request("Missing session")
}

/// A session as it is posted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Posted {
    name: String,
    node: Option<NodeName>,
    #[serde(rename = "TTL")]
    ttl: String,
    behavior: String,
    lock_delay: Option<GoDuration>,
    /// What early clients send for all checks.
    checks: Option<Vec<CheckId>>,
    node_checks: Option<Vec<CheckId>>,
    service_checks: Vec<PostedCheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PostedCheck {
    #[serde(rename = "ID")]
    id: CheckId,
}

async fn create(
    State(catalog): State<Catalog>,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let posted: Posted = body_or_default(&body)?;
    let id = uuid::Uuid::new_v4().to_string();
    let session = session(posted, &id, &catalog.agent().node_name)?;
    let command = Command::CreateSession(CreateSession { session });
    let (_, outcome) = catalog.server().propose(command).await?;
    outcome.map_err(refusals::of)?;
    answer_json(&query, &json!({ "ID": id }))
}

fn session(posted: Posted, id: &str, agent: &str) -> Result<Session, Error> {
    let behavior: Behavior = posted
        .behavior
        .parse()
        .map_err(|_| Error::internal(format!("Invalid Behavior setting '{}'", posted.behavior)))?;
    let lock_delay = match posted.lock_delay {
        None => LOCK_DELAY,
        Some(GoDuration::Text(delay)) => delay,
        Some(GoDuration::Number(count)) if count < LOCK_DELAY_SECONDS_BELOW => {
            Span::from_secs(count)
        }
        Some(GoDuration::Number(nanos)) => Span::from_nanos(nanos),
    };
    let named = posted.node_checks.or(posted.checks);
    let node = posted.node.filter(|node| !node.is_empty());
    Ok(Session {
        id: id.into(),
        name: posted.name,
        node: node.unwrap_or_else(|| agent.into()),
        behavior,
        ttl: ttl(&posted.ttl)?,
        lock_delay: lock_delay.to_std(),
        node_checks: named.unwrap_or_else(Session::default_node_checks),
        service_checks: posted
            .service_checks
            .into_iter()
            .map(|check| check.id)
            .collect(),
        ..Session::default()
    })
}

fn ttl(text: &str) -> Result<Duration, Error> {
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let ttl = Span::parse(text).map_err(|_| {
        Error::internal(format!(
            "Session TTL '{text}' invalid: time: invalid duration {text:?}"
        ))
    })?;
    if !ttl.is_zero() && !(TTL_MIN.into()..=TTL_MAX.into()).contains(&ttl) {
        return Err(Error::internal(format!(
            "Invalid Session TTL '{}', must be between [{}={}]",
            ttl.as_nanos(),
            go_duration(TTL_MIN),
            go_duration(TTL_MAX)
        )));
    }
    Ok(ttl.to_std())
}

async fn destroy(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    if id.len() != ID_CHARACTERS {
        // There is none.
        return answer_json(&query, &true);
    }
    let command = Command::DestroySession(DestroySession { id: id.into() });
    let (_, outcome) = catalog.server().propose(command).await?;
    outcome.map_err(refusals::of)?;
    answer_json(&query, &true)
}

async fn renew(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    catalog.server().read_barrier().await?;
    let Some(session) = catalog.server().renew_session(&id) else {
        return Err(Error::not_found(format!("Session id '{id}' not found")));
    };
    answer_json(&query, &[SessionEntry::from(session.as_ref())])
}

async fn info(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    answer(&catalog, &query, |snapshot| {
        let found = snapshot.session(&id).into_iter();
        found.map(|session| session.as_ref().into()).collect()
    })
    .await
}

async fn of_node(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    answer(&catalog, &query, |snapshot| {
        let sessions = snapshot.sessions_of_node(&name);
        sessions.map(|session| session.as_ref().into()).collect()
    })
    .await
}

async fn list(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    answer(&catalog, &query, |snapshot| {
        let sessions = snapshot.sessions();
        sessions.map(|session| session.as_ref().into()).collect()
    })
    .await
}

async fn answer(
    catalog: &Catalog,
    query: &Query,
    view: impl FnOnce(&Snapshot) -> Vec<SessionEntry>,
) -> Result<Response, Error> {
    let index = |snapshot: &Snapshot| snapshot.sessions_index();
    let show = |snapshot: &Snapshot| answer_json(query, &view(snapshot));
    answer_from_server(catalog, query, [Topic::Sessions], index, show).await
}

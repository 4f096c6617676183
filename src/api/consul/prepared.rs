//! Prepared queries: written, listed, explained and executed.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jobs::model::Span;
use mesh::model::{PreparedQuery, SessionId};
use mesh::prepared::{self, Asker};
use mesh::state::{Command, DeletePreparedQuery, PutPreparedQuery, Rejected, Snapshot};
use mesh::view::{Table, View};
use mesh::wire::HealthServiceEntry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::decode::body;
use super::meta::{META, Meta};
use super::query::{Query, add_index_headers, answer_from_server, json as answer_json};
use super::{Catalog, only, read, refusals};
use crate::body::Raw;
use crate::error::Error;
use server::log::watch::Topic;

/// What wakes readers.
const TOPICS: [Topic; 1] = [Topic::Mesh(Table::PreparedQueries)];

pub(super) fn router() -> Router<Catalog> {
    let all = get(list).post(create);
    let of_id = get(one).put(update).delete(delete);
    Router::new()
        .route("/v1/query", only(all, "OPTIONS,GET,POST"))
        .route("/v1/query/{id}", only(of_id, "OPTIONS,GET,PUT,DELETE"))
        .route("/v1/query/{name}/execute", read(execute))
        .route("/v1/query/{name}/explain", read(explain))
}

/// What a posted query says of the session that it lives with.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Bound {
    session: String,
}

/// A query that was asked, and what it was asked with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Executed<'a> {
    service: &'a str,
    nodes: Vec<HealthServiceEntry>,
    #[serde(rename = "DNS")]
    dns: &'a mesh::model::QueryDns,
    datacenter: &'a str,
    peer_name: &'static str,
    /// How many other datacenters were asked.
    failovers: u32,
    #[serde(flatten)]
    meta: Meta,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Explained {
    query: Value,
    #[serde(flatten)]
    meta: Meta,
}

async fn create(State(catalog): State<Catalog>, query: Query, raw: Raw) -> Result<Response, Error> {
    let (mut posted, session) = posted(&raw)?;
    if !posted.id.is_empty() {
        let message = "ID must be empty when creating a new prepared query";
        return Err(Error::internal(message));
    }
    posted.id = uuid::Uuid::new_v4().to_string().into();
    let id = posted.id.clone();
    put(&catalog, posted, session, false).await?;
    answer_json(&query, &json!({ "ID": id }))
}

async fn update(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    _query: Query,
    raw: Raw,
) -> Result<(), Error> {
    let (posted, session) = posted(&raw)?;
    let id = looked_up(&id)?;
    put(
        &catalog,
        PreparedQuery {
            id: id.into(),
            ..posted
        },
        session,
        true,
    )
    .await
}

/// A query as it is posted, checked, with the session that it lives with.
fn posted(raw: &Raw) -> Result<(PreparedQuery, String), Error> {
    let posted: PreparedQuery = body(raw)?;
    let Bound { session } = body(raw)?;
    let of = &posted.service;
    if of.connect || !of.peer.is_empty() || !of.sameness_group.is_empty() {
        return Err(Error::new(
            StatusCode::NOT_IMPLEMENTED,
            "queries for instances of the mesh and of peers (`Connect`, `Peer`, `SamenessGroup`) are not built",
        ));
    }
    prepared::check(&posted, !session.is_empty()).map_err(|error| refused(&error))?;
    check_ttl(&posted.dns.ttl)?;
    Ok((posted, session))
}

/// A template that does not compile is refused by the state in the original, the rest before it.
fn refused(error: &prepared::Error) -> Error {
    match error {
        prepared::Error::TemplateType { .. }
        | prepared::Error::Regexp { .. }
        | prepared::Error::Format { .. }
        | prepared::Error::Evaluation { .. } => {
            Error::internal(format!("raft apply failed: {error}"))
        }
        _ => Error::internal(error.to_string()),
    }
}

fn check_ttl(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Ok(());
    }
    let invalid = |reason: String| Error::internal(format!("Invalid prepared query: {reason}"));
    let ttl = Span::parse(text).map_err(|_| {
        invalid(format!(
            "Bad DNS TTL '{text}': time: invalid duration {text:?}"
        ))
    })?;
    if ttl < Span::ZERO {
        let nanos = ttl.as_nanos();
        return Err(invalid(format!("DNS TTL '{nanos}', must be >=0")));
    }
    Ok(())
}

async fn put(
    catalog: &Catalog,
    query: PreparedQuery,
    session: String,
    is_update: bool,
) -> Result<(), Error> {
    let command = Command::PutPreparedQuery(Box::new(PutPreparedQuery {
        query,
        session: SessionId::from(session).or_none(),
        is_update,
    }));
    propose(catalog, command).await
}

async fn propose(catalog: &Catalog, command: Command) -> Result<(), Error> {
    let (_, outcome) = catalog.server().propose(command).await?;
    let Err(rejected) = outcome else {
        return Ok(());
    };
    Err(match rejected {
        server::Rejected::Mesh(Rejected::UnknownPreparedQuery { id }) => {
            Error::internal(format!("Cannot modify non-existent prepared query: '{id}'"))
        }
        server::Rejected::Mesh(Rejected::QueryNameTaken { name }) => Error::internal(format!(
            "raft apply failed: name '{name}' aliases an existing query name"
        )),
        server::Rejected::Mesh(Rejected::UnknownSession { id }) => {
            Error::internal(format!("raft apply failed: invalid session {id:?}"))
        }
        other => refusals::of(other),
    })
}

async fn delete(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    _query: Query,
) -> Result<(), Error> {
    let id = looked_up(&id)?;
    let command = Command::DeletePreparedQuery(DeletePreparedQuery { id: id.into() });
    propose(&catalog, command).await
}

/// An id that is to be changed, if it looks like one.
fn looked_up(id: &str) -> Result<String, Error> {
    if id.len() == refusals::ID_CHARACTERS {
        return Ok(id.to_owned());
    }
    Err(Error::internal(format!(
        "Prepared Query lookup failed: {NO_ID}"
    )))
}

const NO_ID: &str = "failed prepared query lookup: index error: UUID must be 36 characters";

async fn list(State(catalog): State<Catalog>, query: Query) -> Result<Response, Error> {
    let show = |snapshot: &Snapshot| {
        let rows = snapshot.prepared_queries();
        let shown: Result<Vec<Value>, Error> = rows.map(|row| shown(snapshot, row)).collect();
        answer_json(&query, &shown?)
    };
    answer_from_server(&catalog, &query, TOPICS, index, show).await
}

fn index(snapshot: &Snapshot) -> u64 {
    snapshot.table_index(Table::PreparedQueries)
}

async fn one(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    if id.len() != refusals::ID_CHARACTERS {
        return Err(Error::internal(NO_ID));
    }
    let show = |snapshot: &Snapshot| match snapshot.prepared_query(&id) {
        Some(row) => answer_json(&query, &[shown(snapshot, row)?]),
        None => Err(Error::not_found("Query not found")),
    };
    answer_from_server(&catalog, &query, TOPICS, index, show).await
}

/// A query with the session that it lives with.
fn shown(snapshot: &Snapshot, row: &PreparedQuery) -> Result<Value, Error> {
    let session = snapshot.session_of_query(&row.id);
    let session = session.map_or("", |id| id.as_str());
    let mut value =
        serde_json::to_value(row).map_err(|error| Error::internal(error.to_string()))?;
    if let Some(map) = value.as_object_mut() {
        map.insert("Session".to_owned(), session.into());
        map.insert("Token".to_owned(), "".into());
    }
    Ok(value)
}

/// The rendered query that a name or id means.
fn resolve(view: &View, name: &str) -> Result<std::sync::Arc<PreparedQuery>, Error> {
    let found = prepared::resolve(view, name, "");
    let found = found.map_err(|error| Error::internal(error.to_string()))?;
    found.ok_or_else(|| Error::not_found("Query not found"))
}

async fn explain(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let snapshot = fresh(&catalog, &query).await?;
    let found = resolve(snapshot.view(), &name)?;
    let explained = Explained {
        query: shown(&snapshot, &found)?,
        meta: META,
    };
    let response = answer_json(&query, &explained)?;
    Ok(with_headers(response, &catalog, &query))
}

async fn execute(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, Error> {
    let limit = limit(&query)?;
    if query
        .parameters
        .get("connect")
        .is_some_and(|word| word != "false")
    {
        let sentence = "instances of the mesh are not built: ask without `connect`";
        return Err(Error::new(StatusCode::NOT_IMPLEMENTED, sentence));
    }
    let snapshot = fresh(&catalog, &query).await?;
    let found = resolve(snapshot.view(), &name)?;
    let own = match found.service.near.as_str() {
        "" => None,
        near => query.nearby(snapshot.view(), &catalog, near),
    };
    let near = query.near(snapshot.view(), &catalog).or(own);
    let asker = Asker {
        near: near.as_deref(),
        datacenter: query.datacenter.as_deref(),
        seed: uuid::Uuid::new_v4().as_u64_pair().0,
    };
    let answer = prepared::execute(&snapshot, &found, asker);
    let own = &catalog.agent().datacenter;
    let asked = query.datacenter.as_ref().unwrap_or(own);
    let mut instances = answer.instances;
    instances.truncate(limit);
    let executed = Executed {
        service: &found.service.service,
        nodes: instances.iter().map(Into::into).collect(),
        dns: &found.dns,
        datacenter: answer.failed_over_to.as_ref().unwrap_or(asked),
        peer_name: "",
        failovers: answer.failovers,
        meta: META,
    };
    let response = answer_json(&query, &executed)?;
    Ok(with_headers(response, &catalog, &query))
}

/// How many instances are wanted.
fn limit(query: &Query) -> Result<usize, Error> {
    let Some(text) = query.parameters.get("limit") else {
        return Ok(usize::MAX);
    };
    let limit: i64 = text.parse().map_err(|_| {
        Error::internal(format!(
            "Bad limit: strconv.Atoi: parsing {text:?}: invalid syntax"
        ))
    })?;
    Ok(match usize::try_from(limit) {
        Ok(limit @ 1..) => limit,
        // None is no limit, as in the original.
        _ => usize::MAX,
    })
}

async fn fresh(catalog: &Catalog, query: &Query) -> Result<Snapshot, Error> {
    if !query.is_stale() {
        catalog.server().read_barrier().await?;
    }
    Ok(catalog.server().snapshot().mesh.clone())
}

fn with_headers(response: Response, catalog: &Catalog, query: &Query) -> Response {
    let mut response = response.into_response();
    let headers = response.headers_mut();
    add_index_headers(headers, catalog, query, META.index);
    headers.insert(
        "x-consul-effective-consistency",
        HeaderValue::from_static(META.consistency_level),
    );
    headers.insert(
        "x-consul-query-backend",
        HeaderValue::from_static("blocking-query"),
    );
    response
}

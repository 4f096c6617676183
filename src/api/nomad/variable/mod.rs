//! Variables. A path is what stands behind `/v1/var/`, decoded.

mod lock;
mod write;

use axum::{
    Router,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse as _, Response},
    routing::get,
};
use jobs::{
    model::{self, VariableKey},
    state::{Rejected as JobsRejected, Table},
    wire,
};
use percent_encoding::percent_decode_str;
use std::sync::Arc;

use super::{namespace, query::Query};
use crate::{Api, error::Error};
use server::{self, Rejected, Snapshot, log::watch::Topic};

const PREFIX: &str = "/v1/var/";
const MISSING: &str = "variable not found";

/// The endpoints of variables.
pub(super) fn router() -> Router<Api> {
    let methods = || get(read).put(put).post(put).delete(write::delete);
    Router::new()
        .route("/v1/vars", get(list))
        .route(PREFIX, methods())
        .route("/v1/var/{*path}", methods())
}

/// The path of a request.
#[derive(Clone, Debug)]
struct Path(String);

impl<S: Sync> FromRequestParts<S> for Path {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let path = percent_decode_str(path).decode_utf8();
        let path = path.map_err(|_| Error::bad_request("the path is not valid UTF-8"))?;
        if path.is_empty() {
            return Err(Error::bad_request("missing variable path"));
        }
        Ok(Self(path.into_owned()))
    }
}

/// `GET /v1/vars`
async fn list(State(api): State<Api>, query: Query) -> Result<Response, Error> {
    let index_of = |snapshot: &Snapshot| snapshot.jobs.table_index(Table::Variables);
    let view = |snapshot: &Snapshot| {
        let rows = snapshot
            .jobs
            .variables(query.namespace.as_deref(), &query.prefix);
        let stubs = rows.map(|row| wire::Variable::from(&**row));
        query.page(stubs, |stub: &wire::Variable| VariableKey {
            namespace: stub.namespace.as_str().into(),
            path: stub.path.as_str().into(),
        })
    };
    let topics = [Topic::Jobs(Table::Variables)];
    api.read_page(&query, topics, index_of, view).await
}

/// `GET /v1/var/:path`
async fn read(State(api): State<Api>, path: Path, query: Query) -> Result<Response, Error> {
    let key = VariableKey {
        namespace: query.one_namespace()?.into(),
        path: path.0.into(),
    };
    let index_of = |snapshot: &Snapshot| {
        let row = snapshot.jobs.variable(&key);
        row.map_or_else(
            || snapshot.jobs.table_index(Table::Variables),
            |row| row.modify_index,
        )
    };
    let view = |snapshot: &Snapshot| {
        let row = snapshot.jobs.variable(&key);
        let row = row.ok_or_else(|| Error::not_found(MISSING))?;
        decrypted(&api, snapshot, row)
    };
    let topics = [Topic::Jobs(Table::Variables)];
    api.read(&query, topics, index_of, view).await
}

/// `PUT /v1/var/:path`: a write, or what happens to the lock.
async fn put(
    state: State<Api>,
    path: Path,
    query: Query,
    body: crate::body::Raw,
) -> Result<Response, Error> {
    match lock::Operation::of(&query)? {
        None => write::put(state, path, query, body).await,
        Some(operation) => lock::put(state, path, query, body, operation).await,
    }
}

fn decrypted(
    api: &Api,
    snapshot: &Snapshot,
    row: &model::Variable,
) -> Result<wire::Variable, Error> {
    Ok(wire::Variable {
        items: Some(api.server().variable_items(snapshot, row)?),
        ..row.into()
    })
}

/// The variable that a body is about, in the namespace that it or else the query names.
fn key_of(query: &Query, path: Path, posted: &wire::Variable) -> Result<VariableKey, Error> {
    let namespace = if posted.namespace.is_empty() {
        query.namespace.as_deref().unwrap_or("*")
    } else {
        &posted.namespace
    };
    if namespace == "*" {
        return Err(Error::bad_request(
            "can not target wildcard (\"*\")namespace",
        ));
    }
    if let Some(refusal) = namespace::refusal(namespace) {
        return Err(Error::bad_request(refusal));
    }
    model::check_variable_path(&path.0).map_err(|error| Error::bad_request(error.to_string()))?;
    Ok(VariableKey {
        namespace: namespace.into(),
        path: path.0.into(),
    })
}

/// The answer to a write that was refused: for a conflict what is there, as far as the caller may
/// see it.
fn refused(
    api: &Api,
    query: &Query,
    key: &VariableKey,
    error: server::Error,
) -> Result<Response, Error> {
    let server::Error::Rejected(Rejected::Jobs(rejected)) = &error else {
        return Err(error.into());
    };
    let none = wire::Variable {
        namespace: key.namespace.to_string(),
        path: key.path.to_string(),
        ..wire::Variable::default()
    };
    let conflict = match rejected {
        JobsRejected::VariableChanged { found: Some(row) } => {
            decrypted(api, &api.server().snapshot(), row)?
        }
        JobsRejected::VariableChanged { found: None } | JobsRejected::VariableLocked => none,
        _ => return Err(error.into()),
    };
    let answer = query.written(conflict.modify_index, &conflict)?;
    Ok((StatusCode::CONFLICT, answer).into_response())
}

/// The row that a write at `index` left, with the contents that it gave.
fn written(
    api: &Api,
    query: &Query,
    key: &VariableKey,
    index: model::Index,
    items: Option<server::Items>,
) -> Result<Response, Error> {
    let snapshot = api.server().snapshot();
    let row: Option<&Arc<model::Variable>> = snapshot.jobs.variable(key);
    // Another write may have come behind this one.
    let row = row.filter(|row| row.modify_index == index);
    let shown = match row {
        Some(row) => wire::Variable::from(&**row),
        None => wire::Variable {
            namespace: key.namespace.to_string(),
            path: key.path.to_string(),
            modify_index: index,
            ..wire::Variable::default()
        },
    };
    query.written(index, &wire::Variable { items, ..shown })
}

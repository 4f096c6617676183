//! What happens to the lock of a variable.

use axum::{extract::State, http::StatusCode, response::Response};
use jobs::{
    control::RenewError,
    model::{LockId, VariableLock},
    wire,
};

use super::{Path, key_of, refused, write::check_size, written};
use crate::{Api, body::Raw, error::Error, nomad::query::Query};

/// What happens to the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Acquire,
    Release,
    Renew,
}

impl Operation {
    /// What a query asks for; none for a write of the variable itself.
    pub(super) fn of(query: &Query) -> Result<Option<Self>, Error> {
        let asked: Vec<Self> = [
            ("lock-acquire", Self::Acquire),
            ("lock-release", Self::Release),
            ("lock-renew", Self::Renew),
        ]
        .into_iter()
        .filter(|(name, _)| query.has(name))
        .map(|(_, operation)| operation)
        .collect();
        match asked.as_slice() {
            [] => Ok(None),
            [_] if query.has("cas") => {
                Err(Error::bad_request("CAS can't be used with lock operations"))
            }
            [operation] => Ok(Some(*operation)),
            _ => Err(Error::bad_request("multiple lock operations")),
        }
    }
}

/// `PUT /v1/var/:path?lock-…`
pub(super) async fn put(
    State(api): State<Api>,
    path: Path,
    query: Query,
    body: Raw,
    operation: Operation,
) -> Result<Response, Error> {
    let posted: wire::Variable = body.json()?;
    match operation {
        Operation::Acquire => acquire(&api, path, &query, posted).await,
        Operation::Release => release(&api, path, &query, &posted).await,
        Operation::Renew => renew(&api, path, &query, &posted),
    }
}

async fn acquire(
    api: &Api,
    path: Path,
    query: &Query,
    posted: wire::Variable,
) -> Result<Response, Error> {
    let asked = posted.lock.clone().unwrap_or_default();
    let or_default = |span: jobs::model::Span| {
        if span.is_zero() {
            VariableLock::DEFAULT
        } else {
            span
        }
    };
    let id = if asked.id.is_empty() {
        uuid::Uuid::new_v4().to_string()
    } else {
        asked.id
    };
    let lock = VariableLock {
        id: id.into(),
        ttl: or_default(asked.ttl),
        lock_delay: or_default(asked.lock_delay),
    };
    let problems = lock.problems();
    if !problems.is_empty() {
        return Err(Error::bad_request(problems.join("; ")));
    }
    let items = posted.items.clone();
    if let Some(items) = &items {
        check_size(items)?;
    }
    let key = key_of(query, path, &posted)?;
    let id = lock.id.clone();
    let answer = api
        .server()
        .lock_variable(key.clone(), items.as_ref(), lock)
        .await;
    match answer {
        Ok(index) => {
            // Whoever acquires what is held already, with the same id, means to keep it.
            let _taken_meanwhile = api.server().renew_variable_lock(&key, &id);
            written(api, query, &key, index, items)
        }
        Err(error) => refused(api, query, &key, error),
    }
}

async fn release(
    api: &Api,
    path: Path,
    query: &Query,
    posted: &wire::Variable,
) -> Result<Response, Error> {
    let held = held(posted)?;
    if posted.items.as_ref().is_some_and(|items| !items.is_empty()) {
        return Err(Error::bad_request(
            "lock release operation doesn't take variable items",
        ));
    }
    let key = key_of(query, path, posted)?;
    match api.server().unlock_variable(key.clone(), held).await {
        Ok(index) => written(api, query, &key, index, None),
        Err(error) => refused(api, query, &key, error),
    }
}

fn renew(api: &Api, path: Path, query: &Query, posted: &wire::Variable) -> Result<Response, Error> {
    let held = held(posted)?;
    let key = key_of(query, path, posted)?;
    let renewed = api.server().renew_variable_lock(&key, &held);
    let row = renewed.map_err(|error| match error {
        RenewError::NoVariable => Error::not_found(error.to_string()),
        RenewError::NoLock | RenewError::Locked => {
            Error::new(StatusCode::CONFLICT, error.to_string())
        }
    })?;
    query.written(row.modify_index, &wire::Variable::from(&*row))
}

fn held(posted: &wire::Variable) -> Result<LockId, Error> {
    let lock = posted.lock.as_ref().filter(|lock| !lock.id.is_empty());
    let lock = lock.ok_or_else(|| Error::bad_request("missing lock information"))?;
    Ok(lock.id.as_str().into())
}

//! Writes and deletions.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use jobs::{
    model::{Index, LockId, VARIABLE_BYTES_MAX},
    wire,
};

use super::{Path, key_of, refused, written};
use crate::{Api, body::Raw, error::Error, nomad::query::Query};
use server::Items;

/// `PUT /v1/var/:path`
pub(super) async fn put(
    State(api): State<Api>,
    path: Path,
    query: Query,
    body: Raw,
) -> Result<Response, Error> {
    let posted: wire::Variable = body.json()?;
    let Some(items) = posted.items.clone().filter(|items| !items.is_empty()) else {
        return Err(Error::bad_request("variable missing required Items object"));
    };
    let lock = posted.lock.as_ref();
    if lock.is_some_and(|lock| !lock.ttl.is_zero() || !lock.lock_delay.is_zero()) {
        return Err(Error::bad_request(
            "variable should not contain lock definition",
        ));
    }
    check_size(&items)?;
    let key = key_of(&query, path, &posted)?;
    let held = lock.map(|lock| LockId::from(lock.id.as_str()));
    let enforce_index = enforce_index(&query)?;
    let server = api.server();
    let answer = server.set_variable(key.clone(), &items, held, enforce_index);
    match answer.await {
        Ok(index) => written(&api, &query, &key, index, Some(items)),
        Err(error) => refused(&api, &query, &key, error),
    }
}

/// `DELETE /v1/var/:path`
pub(super) async fn delete(
    State(api): State<Api>,
    path: Path,
    query: Query,
) -> Result<Response, Error> {
    let key = key_of(&query, path, &wire::Variable::default())?;
    let enforce_index = enforce_index(&query)?;
    let answer = api
        .server()
        .delete_variable(key.clone(), None, enforce_index);
    match answer.await {
        Ok(index) => {
            let headers = query.written(index, &())?.headers().clone();
            Ok((StatusCode::NO_CONTENT, headers).into_response())
        }
        Err(error) => refused(&api, &query, &key, error),
    }
}

/// Refuses contents that are too large.
pub(super) fn check_size(items: &Items) -> Result<(), Error> {
    let bytes = items.iter().map(|(name, value)| name.len() + value.len());
    if bytes.sum::<usize>() > VARIABLE_BYTES_MAX {
        return Err(Error::bad_request(
            "variables are limited to 64KiB in total size",
        ));
    }
    Ok(())
}

fn enforce_index(query: &Query) -> Result<Option<Index>, Error> {
    query.number("cas", "can not parse cas: a number is expected")
}

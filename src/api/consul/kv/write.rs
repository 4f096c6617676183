//! Writes, locks and deletions of keys.

use axum::extract::{FromRequest, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use mesh::state::{Command, DeleteKey, KV_VALUE_BYTES_MAX, KeyCondition, PutKey, Rejected};

use super::Key;
use crate::body::Raw;
use crate::consul::Catalog;
use crate::consul::query::{Query, json};
use crate::consul::refusals::{self, Limit};
use crate::error::Error;

pub(super) async fn put(
    State(catalog): State<Catalog>,
    key: Key,
    query: Query,
    request: Request,
) -> Result<Response, Error> {
    let key = key.required()?;
    refuse_conflict(&query, &["cas", "acquire", "release"])?;
    let condition = condition(&query)?;
    let flags = number(&query, "flags")?.unwrap_or(0);
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes| bytes > KV_VALUE_BYTES_MAX as u64) {
        return Ok(refused_body(announced.unwrap_or_default()));
    }
    let body = Raw::from_request(request, &()).await?;
    if body.len() > KV_VALUE_BYTES_MAX {
        return Ok(refused_body(body.len() as u64));
    }
    let command = PutKey {
        key,
        value: body.bytes().to_vec(),
        flags,
        condition,
    };
    write(&catalog, &query, Command::PutKey(command)).await
}

pub(super) async fn delete(
    State(catalog): State<Catalog>,
    key: Key,
    query: Query,
) -> Result<Response, Error> {
    refuse_conflict(&query, &["recurse", "cas"])?;
    let is_prefix = query.parameters.has("recurse");
    let key = if is_prefix { key.0 } else { key.required()? };
    let command = DeleteKey {
        key,
        is_prefix,
        expected_index: number(&query, "cas")?,
    };
    write(&catalog, &query, Command::DeleteKey(command)).await
}

/// Writes and says whether that was done; who loses a race is no error.
async fn write(catalog: &Catalog, query: &Query, command: Command) -> Result<Response, Error> {
    let (_, outcome) = catalog.server().propose(command).await?;
    let done = match outcome {
        Ok(_) => true,
        Err(server::Rejected::Mesh(
            Rejected::IndexMismatch { .. }
            | Rejected::KeyLocked { .. }
            | Rejected::LockDelayed { .. }
            | Rejected::KeyNotHeld { .. },
        )) => false,
        Err(rejected) => return Err(refusals::of(rejected)),
    };
    json(query, &done)
}

/// The rest of the body is not read, so the connection cannot go on.
fn refused_body(bytes: u64) -> Response {
    let close = [(header::CONNECTION, "close")];
    (close, refusals::too_large(bytes, Limit::Value)).into_response()
}

fn refuse_conflict(query: &Query, flags: &[&str]) -> Result<(), Error> {
    let named = flags.iter().filter(|flag| query.parameters.has(flag));
    if named.count() < 2 {
        return Ok(());
    }
    let message = format!("Conflicting flags: {}", query.parameters.sorted());
    Err(Error::bad_request(message))
}

fn condition(query: &Query) -> Result<KeyCondition, Error> {
    if let Some(index) = number(query, "cas")? {
        return Ok(KeyCondition::Unchanged(index));
    }
    let session = |name| query.parameters.value(name).map(refusals::session_id);
    if let Some(id) = session("acquire").transpose()? {
        return Ok(KeyCondition::Acquire(id.into()));
    }
    let released = session("release").transpose()?;
    Ok(released.map_or(KeyCondition::Always, |id| KeyCondition::Release(id.into())))
}

/// A number that is there; clients know a bad one as a failure of the server.
fn number(query: &Query, name: &str) -> Result<Option<u64>, Error> {
    let text = query.parameters.value(name);
    let parsed = text.map(|text| {
        text.parse().map_err(|_| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let reason = if is_number {
                "value out of range"
            } else {
                "invalid syntax"
            };
            Error::internal(format!("strconv.ParseUint: parsing {text:?}: {reason}"))
        })
    });
    parsed.transpose()
}

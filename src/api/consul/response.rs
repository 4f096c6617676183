//! Waiting for a change, and writing answers and errors.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mesh::view::View;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::Catalog;
use super::query::{Consistency, Query};

/// A refusal, as plain text without a line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error {
    status: StatusCode,
    message: Cow<'static, str>,
}

impl Error {
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(super) fn bad_request(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn internal(message: &'static str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        (self.status, content_type, self.message).into_response()
    }
}

/// Answers a read: waits as `query` asks until `index` passes, then shows `view`.
pub(super) async fn answer<T: Serialize>(
    catalog: Catalog,
    query: &Query,
    index: impl Fn(&View) -> u64,
    view: impl Fn(&View) -> T,
) -> Result<Response, Error> {
    let snapshot = wait(&catalog, query, &index).await;
    let mut response = json(query, &view(&snapshot))?;
    let index = index(&snapshot).max(1);
    add_index_headers(response.headers_mut(), &catalog, query, index);
    Ok(response)
}

/// Waits until the index passes the one in `query`, or the time is over.
///
/// Returns at once if the index falls, which means that the replica was restored from older state.
async fn wait(
    catalog: &Catalog,
    query: &Query,
    index: &impl Fn(&View) -> u64,
) -> Arc<View> {
    let mut snapshots = catalog.snapshots.clone();
    let mut snapshot = Arc::clone(&snapshots.borrow_and_update());
    let first = index(&snapshot).max(1);
    if query.index == 0 || first > query.index {
        return snapshot;
    }
    let deadline = Instant::now() + query.wait + jitter(catalog, query.wait);
    while let Ok(Ok(())) = timeout_at(deadline, snapshots.changed()).await {
        snapshot = Arc::clone(&snapshots.borrow_and_update());
        let now = index(&snapshot).max(1);
        if now > query.index || now < first {
            break;
        }
    }
    snapshot
}

/// Returns between 0 and a sixteenth of `wait`, evenly spread over the reads of this agent.
fn jitter(catalog: &Catalog, wait: Duration) -> Duration {
    /// Steps of a golden-ratio sequence fill the range evenly, whatever the count.
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let count = catalog.shared.waits.fetch_add(1, Ordering::Relaxed);
    let [share, ..] = count.wrapping_mul(GOLDEN).to_be_bytes();
    wait / 16 * u32::from(share) / 256
}

fn add_index_headers(headers: &mut HeaderMap, catalog: &Catalog, query: &Query, index: u64) {
    let cluster = catalog.cluster.borrow();
    let silence = cluster
        .last_contact
        .map_or(Duration::ZERO, |heard| heard.elapsed());
    let milliseconds = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
    let is_fresh = cluster.last_contact.is_none() && query.consistency != Consistency::Stale;
    let known_leader = if cluster.leader.is_some() {
        "true"
    } else {
        "false"
    };
    headers.insert("x-consul-index", HeaderValue::from(index));
    headers.insert(
        "x-consul-knownleader",
        HeaderValue::from_static(known_leader),
    );
    headers.insert("x-consul-lastcontact", HeaderValue::from(milliseconds));
    headers.insert(
        "x-consul-effective-consistency",
        HeaderValue::from_static(if is_fresh { "leader" } else { "stale" }),
    );
    if query.is_cached {
        headers.insert("x-cache", HeaderValue::from_static("HIT"));
        headers.insert(header::AGE, HeaderValue::from_static("0"));
    }
}

/// Writes a value as JSON, without index headers.
pub(super) fn json<T: Serialize>(query: &Query, value: &T) -> Result<Response, Error> {
    let body = encode(value, query.is_pretty)
        .map_err(|source| Error::new(StatusCode::INTERNAL_SERVER_ERROR, source.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn encode<T: Serialize>(value: &T, is_pretty: bool) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    if is_pretty {
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut text, formatter,
        ))?;
        text.push(b'\n');
    } else {
        serde_json::to_writer(&mut text, value)?;
    }
    Ok(escape(text))
}

/// Escapes `<`, `>` and `&`, which in JSON stand inside strings only.
fn escape(text: Vec<u8>) -> Vec<u8> {
    if !text.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&')) {
        return text;
    }
    let mut escaped = Vec::with_capacity(text.len() + 64);
    for byte in text {
        match byte {
            b'<' => escaped.extend_from_slice(b"\\u003c"),
            b'>' => escaped.extend_from_slice(b"\\u003e"),
            b'&' => escaped.extend_from_slice(b"\\u0026"),
            _ => escaped.push(byte),
        }
    }
    escaped
}

//! Shorter bodies for clients that can expand them.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::response::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::bodies::Shared;
use crate::encoding::{gzip, takes_gzip};

/// Shorter bodies gain nothing, bytes.
const BYTES_MIN: usize = 1024;
/// Bodies up to here are compressed at once, others on a thread of their own, bytes.
const AT_ONCE_BYTES_MAX: usize = 32 * 1024;

/// Whether whoever asks can expand a shorter body.
pub(super) fn takes_short(request: &Request) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT_ENCODING);
    accepted.iter().any(takes_gzip)
}

/// Compresses an answer whose body is there already; streams go as they are.
pub(super) async fn compress(response: Response) -> Response {
    let length = response.body().size_hint().exact();
    let length = length.and_then(|length| usize::try_from(length).ok());
    let is_plain = !response.headers().contains_key(header::CONTENT_ENCODING);
    match length {
        Some(length) if is_plain && length >= BYTES_MIN => compressed(response, length).await,
        _ => response,
    }
}

async fn compressed(response: Response, length: usize) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(shared) = parts.extensions.remove::<Arc<Shared>>() {
        let known = shared.known_short().cloned();
        let work = async || tokio::task::spawn_blocking(move || shared.short()).await;
        let shorter = match known {
            Some(known) => Some(known),
            None => work().await.ok().flatten(),
        };
        return match shorter {
            Some(shorter) => encoded(parts, shorter),
            None => Response::from_parts(parts, body),
        };
    }
    let Ok(bytes) = to_bytes(body, length).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let shorter = if length <= AT_ONCE_BYTES_MAX {
        gzip(&bytes)
    } else {
        let bytes = bytes.clone();
        let work = tokio::task::spawn_blocking(move || gzip(&bytes));
        work.await.ok().flatten()
    };
    let Some(shorter) = shorter else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    encoded(parts, shorter.into())
}

fn encoded(mut parts: Parts, shorter: Bytes) -> Response {
    parts.headers.remove(header::CONTENT_LENGTH);
    let encoding = HeaderValue::from_static("gzip");
    parts.headers.insert(header::CONTENT_ENCODING, encoding);
    Response::from_parts(parts, Body::from(shorter))
}

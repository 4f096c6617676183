//! Answers that go on: a line of JSON at once, and another one after each interval, for pages that
//! would otherwise ask again and again.

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use serde::Serialize;
use std::{convert::Infallible, future::Future, time::Duration};
use tokio::time::sleep;

use super::listener::Stopping;

/// Between two lines.
const INTERVAL: Duration = Duration::from_secs(2);

/// Lines that `measure` makes, until it makes none, nobody reads, or the agent stops.
pub(super) fn respond<F, R, T>(stopping: Stopping, measure: F) -> Response
where
    F: FnMut() -> R + Send + 'static,
    R: Future<Output = Option<T>> + Send,
    T: Serialize + Send,
{
    let state = (measure, stopping, true);
    let lines = stream::unfold(state, |(mut measure, stopping, is_first)| async move {
        if !is_first {
            tokio::select! {
                () = sleep(INTERVAL) => {}
                () = stopping.0.cancelled() => return None,
            }
        }
        let mut line = serde_json::to_vec(&measure().await?).ok()?;
        line.push(b'\n');
        let state = (measure, stopping, false);
        Some((Ok::<_, Infallible>(Bytes::from(line)), state))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Body::from_stream(lines)).into_response()
}

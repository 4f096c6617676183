//! What the log says of each request, to those who follow it closely.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::Method;
use axum::response::Response;
use sys::clock;
use tracing::Level;

/// A request that the log is told of once its answer begins. The query is left out: it may hold a
/// token.
#[derive(Debug)]
pub(super) struct Told {
    method: Method,
    path: String,
    from: Option<SocketAddr>,
    began: Duration,
}

impl Told {
    /// A request; none when nobody follows the log closely.
    pub(super) fn of(request: &Request) -> Option<Self> {
        if !tracing::enabled!(Level::DEBUG) {
            return None;
        }
        let asker = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Some(Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            from: asker.map(|ConnectInfo(address)| *address),
            began: clock::monotonic().since_start(),
        })
    }

    /// Tells of it.
    pub(super) fn answered(self, response: &Response) {
        let latency = clock::monotonic().since_start().saturating_sub(self.began);
        let Self {
            method, path, from, ..
        } = self;
        let status = response.status().as_u16();
        tracing::debug!(%method, path, ?from, status, ?latency, "Request finished");
    }
}

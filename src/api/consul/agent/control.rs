//! What an agent is asked to do with itself: read its files again, leave, meet others; and its log,
//! as it is written.

use std::net::IpAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use jobs::spec::list_errors;
use tokio::sync::{mpsc, oneshot};

use crate::consul::query::Query;
use crate::consul::{Catalog, read, write};
use crate::error::Error;
use telemetry::monitor::{self, Follower, Form, Wanted};

/// Requests that may wait for the agent.
const REQUESTS_MAX: usize = 8;

/// Something that the agent as a whole is asked to do.
#[derive(Debug)]
pub enum AgentRequest {
    /// Read the configuration again, and say what was wrong with it.
    Reload(oneshot::Sender<Result<(), String>>),
    /// Stop for good.
    Leave,
}

/// The way of requests to the agent.
#[must_use]
pub fn agent_requests() -> (mpsc::Sender<AgentRequest>, mpsc::Receiver<AgentRequest>) {
    mpsc::channel(REQUESTS_MAX)
}

pub(super) fn router() -> Router<Catalog> {
    Router::new()
        .route("/v1/agent/monitor", read(follow))
        .route("/v1/agent/reload", write(reload))
        .route("/v1/agent/leave", write(leave))
        .route("/v1/agent/join/", write(join_nobody))
        .route("/v1/agent/join/{*address}", write(join))
}

/// Hands a request to the agent.
async fn ask(catalog: &Catalog, request: AgentRequest) -> Result<(), Error> {
    let refused = || Error::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
    let requests = catalog.requests.as_ref().ok_or_else(refused)?;
    requests.send(request).await.map_err(|_| refused())
}

async fn reload(State(catalog): State<Catalog>, _query: Query) -> Result<(), Error> {
    let (answer, done) = oneshot::channel();
    ask(&catalog, AgentRequest::Reload(answer)).await?;
    match done.await {
        Ok(done) => done.map_err(Error::internal),
        Err(_) => Err(Error::internal("the agent is stopping")),
    }
}

async fn leave(State(catalog): State<Catalog>, _query: Query) -> Result<(), Error> {
    ask(&catalog, AgentRequest::Leave).await
}

/// Port of RPC where an address names none.
const RPC_PORT: u16 = 4647;

async fn join_nobody(query: Query) -> Error {
    drop(query);
    failed_to_join("Failed to resolve : lookup : no such host")
}

/// An agent meets itself, and other servers at their RPC addresses.
async fn join(
    State(catalog): State<Catalog>,
    Path(address): Path<String>,
    _query: Query,
) -> Result<(), Error> {
    if is_own(&catalog, &address) {
        return Ok(());
    }
    let asked = match address.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => address.clone(),
        _ => format!("{address}:{RPC_PORT}"),
    };
    if catalog.server().has_copy() && catalog.server().join(&[asked]).await > 0 {
        return Ok(());
    }
    Err(failed_to_join(&format!(
        "Failed to join {address}: no server answers there"
    )))
}

fn is_own(catalog: &Catalog, address: &str) -> bool {
    let agent = catalog.agent();
    let host = match address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && !host.contains("::") => host,
        _ => address,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip = |text: &str| text.parse::<IpAddr>().ok();
    let is_same = ip(host).is_some_and(|asked| ip(&agent.advertise_address) == Some(asked));
    is_same || host == agent.node_name
}

fn failed_to_join(reason: &str) -> Error {
    Error::internal(list_errors(&[reason]))
}

/// Streams the log until whoever asked goes away or the agent stops.
async fn follow(State(_): State<Catalog>, query: Query) -> Result<Response, Error> {
    let level = query.parameters.get("loglevel").unwrap_or("info");
    let Some(wanted) = Wanted::named(level) else {
        return Err(Error::bad_request(format!("Unknown log level: {level}")));
    };
    let is_json = query
        .parameters
        .switch("logjson", |value| Error::no_switch("logjson", value))?;
    let form = if is_json.unwrap_or(false) {
        Form::Json
    } else {
        Form::Text
    };
    let lines = stream::unfold((monitor::follow(wanted, form), query), next);
    let mut response = Body::from_stream(lines).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    Ok(response)
}

/// The next line, with what gives the one behind it.
async fn next(
    (mut follower, query): (Follower, Query),
) -> Option<(Result<Bytes, std::convert::Infallible>, (Follower, Query))> {
    let line = tokio::select! {
        line = follower.line() => line,
        () = query.stopped() => return None,
    };
    Some((Ok(line.into()), (follower, query)))
}

//! The catalog dialect: who runs where and is it well, read over HTTP.
//!
//! Answers about nodes, services and checks are drawn from this agent's replica of the catalog, so
//! these reads go on without servers; keys never leave the servers, so they are asked there. Start
//! at [`router`]; `query` reads the parameters and writes the answer. Endpoints not built here
//! answer 501.

mod agent;
mod bodies;
mod catalog;
mod compress;
mod config;
mod connect;
mod coordinate;
mod decode;
mod event;
#[cfg(test)]
mod fuzz_tests;
mod health;
mod internal;
mod kv;
#[cfg(test)]
mod mesh_tests;
mod meta;
mod operator;
mod paths;
mod prepared;
mod query;
mod refusals;
mod register;
mod requests;
mod session;
mod snapshot;
mod status;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
mod txn;
mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, put};
use mesh::view::View;
use mesh::wire::AgentIdentity;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use agent::{AgentRequest, Definitions, agent_requests};

use super::error::Error;
use super::forward::{self, Forward};
use super::read::wait::Spread;
use server::Dialect;

/// What the catalog dialect answers from.
#[derive(Debug, Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
    snapshots: watch::Receiver<Arc<View>>,
    cluster: watch::Receiver<Cluster>,
    /// The way of requests to the agent as a whole.
    requests: Option<mpsc::Sender<AgentRequest>>,
    /// Whether checks that run programs are taken over the API.
    scripts: agent::Scripts,
    /// Port of the web UI; none when it is off.
    ui_port: Option<u16>,
}

#[derive(Debug)]
struct Shared {
    agent: AgentIdentity,
    server: server::Handle,
    client: Option<client::Handle>,
    waits: Spread,
    events: event::Events,
    leaves: connect::Leaves,
    bodies: bodies::Bodies,
}

/// What this agent knows about the servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Address and port of the leader, if there is one.
    pub leader: Option<String>,
    /// The servers; may be empty when none was reached yet.
    pub servers: Vec<ServerPeer>,
    /// When the replica last heard from the leader; absent on the leader itself.
    pub last_contact: Option<Instant>,
}

/// A server of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerPeer {
    /// Name of the server's agent, and of its node; empty when it is not known.
    pub name: String,
    /// Address and port of its RPC listener.
    pub address: String,
}

impl Catalog {
    /// Answers as `agent` from a replica, a server, the client part if this agent has one, and what
    /// is known about the servers.
    ///
    /// When the sender of `snapshots` is dropped, waiting readers are answered at once.
    #[must_use]
    pub fn new(
        agent: AgentIdentity,
        server: server::Handle,
        client: Option<client::Handle>,
        snapshots: watch::Receiver<Arc<View>>,
        cluster: watch::Receiver<Cluster>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                agent,
                server,
                client,
                waits: Spread::default(),
                events: event::Events::default(),
                leaves: connect::Leaves::default(),
                bodies: bodies::Bodies::default(),
            }),
            snapshots,
            cluster,
            requests: None,
            scripts: agent::Scripts::Refused(agent::NO_SCRIPTS),
            ui_port: None,
        }
    }

    /// The same, which leads to the web UI at this port.
    #[must_use]
    pub fn with_ui(self, port: u16) -> Self {
        Self {
            ui_port: Some(port),
            ..self
        }
    }

    /// The same, which takes checks that run programs.
    #[must_use]
    pub fn with_scripts(self) -> Self {
        Self {
            scripts: agent::Scripts::Taken,
            ..self
        }
    }

    fn scripts(&self) -> agent::Scripts {
        self.scripts
    }

    /// The same, which hands what the agent as a whole is asked to do to `requests`.
    #[must_use]
    pub fn with_requests(self, requests: mpsc::Sender<AgentRequest>) -> Self {
        Self {
            requests: Some(requests),
            ..self
        }
    }

    fn agent(&self) -> &AgentIdentity {
        &self.shared.agent
    }

    /// The certificates that this agent gave out.
    fn leaves(&self) -> &connect::Leaves {
        &self.shared.leaves
    }

    fn forward(&self) -> Forward {
        let shared = &self.shared;
        Forward::new(
            shared.server.clone(),
            shared.client.clone(),
            Dialect::Catalog,
        )
    }

    fn server(&self) -> &server::Handle {
        &self.shared.server
    }

    /// What was registered with this agent, when it runs anything.
    fn registered(&self) -> Option<&client::Registered> {
        self.shared.client.as_ref().map(client::Handle::registered)
    }

    fn snapshot(&self) -> Arc<View> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// The datacenters of the region: that of this agent, then the others by name.
    fn datacenters(&self) -> Vec<String> {
        let own = &self.agent().datacenter;
        let (replica, server) = (self.snapshot(), self.server().snapshot());
        let known = replica
            .datacenters()
            .chain(server.mesh.view().datacenters());
        let others: BTreeSet<&str> = known.filter(|name| name != own).collect();
        let others = others.into_iter().map(str::to_owned);
        std::iter::once(own.clone()).chain(others).collect()
    }

    /// Whether the region has the datacenter.
    fn has_datacenter(&self, name: &str) -> bool {
        let is_of_servers = || self.server().snapshot().mesh.view().has_datacenter(name);
        name == self.agent().datacenter
            || self.snapshots.borrow().has_datacenter(name)
            || is_of_servers()
    }

    fn cluster(&self) -> Cluster {
        self.cluster.borrow().clone()
    }
}

/// Makes the router of the dialect, with absolute paths.
pub fn router(catalog: Catalog) -> Router {
    Router::new()
        .route("/", read(root))
        .route("/ui", read(page))
        .route("/ui/", read(page))
        .route("/ui/{*path}", read(page))
        .merge(catalog::router())
        .merge(health::router())
        .merge(agent::router())
        .merge(status::router())
        .merge(kv::router())
        .merge(register::router())
        .merge(session::router())
        .merge(txn::router())
        .merge(operator::router())
        .merge(usage::router())
        .merge(coordinate::router())
        .merge(event::router())
        .merge(config::router())
        .merge(connect::router())
        .merge(prepared::router())
        .merge(snapshot::router())
        .merge(internal::router())
        .fallback(absent)
        .layer(middleware::from_fn(around))
        .layer(middleware::from_fn_with_state(
            catalog.forward(),
            forward::forward,
        ))
        .with_state(catalog)
}

/// Routes GET to `handler`, tells OPTIONS so, and refuses every other method, HEAD included.
fn read<H, T>(handler: H) -> MethodRouter<Catalog>
where
    H: Handler<T, Catalog>,
    T: 'static,
{
    only(get(handler), "OPTIONS,GET")
}

/// As [`read`], for PUT.
fn write<H, T>(handler: H) -> MethodRouter<Catalog>
where
    H: Handler<T, Catalog>,
    T: 'static,
{
    only(put(handler), "OPTIONS,PUT")
}

/// Tells OPTIONS which methods there are, and refuses every other one, HEAD included.
fn only(methods: MethodRouter<Catalog>, allowed: &'static str) -> MethodRouter<Catalog> {
    let allow = [(header::ALLOW, HeaderValue::from_static(allowed))];
    let refusing = allow.clone();
    let refuse = async move |method: Method| {
        let refused = Error::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("method {method} not allowed"),
        );
        (refusing, refused)
    };
    methods
        .head(refuse.clone())
        .options(async move || allow)
        .fallback(refuse)
}

/// The start page: that of the web UI, if there is one.
async fn root(State(catalog): State<Catalog>, headers: HeaderMap, uri: Uri) -> Response {
    match catalog.ui_port {
        Some(port) => crate::ui::of_catalog(&uri, &headers, port),
        None => "Consul Agent".into_response(),
    }
}

async fn page(State(catalog): State<Catalog>, headers: HeaderMap, uri: Uri) -> Response {
    match catalog.ui_port {
        Some(port) => crate::ui::of_catalog(&uri, &headers, port),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Families of endpoints that the dialect knows and that are not here, or not for writing.
const FAMILIES: [&str; 20] = [
    "acl",
    "agent",
    "catalog",
    "config",
    "connect",
    "coordinate",
    "discovery-chain",
    "event",
    "exported-services",
    "health",
    "internal",
    "kv",
    "operator",
    "peering",
    "peerings",
    "query",
    "session",
    "snapshot",
    "status",
    "txn",
];

/// Answers for everything without a route: what exists elsewhere is named as missing here.
async fn absent(State(_): State<Catalog>, request: Request) -> Error {
    let path = request.uri().path();
    let Some(rest) = path.strip_prefix("/v1/") else {
        return Error::new(
            StatusCode::NOT_FOUND,
            format!("`{path}` is not an API endpoint"),
        );
    };
    let family = rest.split('/').next().unwrap_or_default();
    if family == "acl" || rest.starts_with("agent/token/") {
        return Error::new(StatusCode::UNAUTHORIZED, "ACL support disabled");
    }
    let is_write = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if is_write && FAMILIES.contains(&family) {
        let sentence = format!("`{} {path}` is not built", request.method());
        return Error::new(StatusCode::NOT_IMPLEMENTED, sentence);
    }
    Error::new(
        StatusCode::NOT_FOUND,
        format!("`{path}` is not built, or not an API endpoint"),
    )
}

/// What is done around every handler. It is one layer, because each layer costs every request a
/// copy of all that are below it.
async fn around(request: Request, next: Next) -> Response {
    let told = requests::Told::of(&request);
    let takes_short = compress::takes_short(&request);
    let response = match paths::refused(request.uri()) {
        None => next.run(request).await,
        Some(refused) => refused,
    };
    let mut response = if takes_short {
        compress::compress(response).await
    } else {
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(
        "x-consul-default-acl-policy",
        HeaderValue::from_static("allow"),
    );
    if let Some(told) = told {
        told.answered(&response);
    }
    response
}

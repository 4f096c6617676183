//! Parameters and headers of the catalog dialect.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use mesh::filter::{Filter, Filterable, Row};
use mesh::model::{Node, NodeName};
use mesh::view::View;
use serde::Serialize;
use tokio::sync::watch;

use super::Catalog;
use crate::error::Error;
use crate::listener::Stopping;
use crate::read::Consistency;
use crate::read::json::{self, Layout};
use crate::read::of_server::OfServer;
use crate::read::parameters::Parameters;
use crate::read::wait::{Asked, Source, wait};
use server::log::watch::Topic;

/// The answer about a datacenter that the region does not have.
pub(super) const NO_DATACENTER: &str = "No path to datacenter";

/// How long a read waits for the replica to reach what was written before it.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// The parameters of a read, checked.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// All of them, as written.
    pub(super) parameters: Parameters,
    path: String,
    asked: Asked,
    consistency: Consistency,
    layout: Layout,
    is_cached: bool,
    stopping: Stopping,
    /// Address of whoever asks, when it is known.
    asker: Option<IpAddr>,
    pub(super) wants_wan: bool,
    /// Datacenter that the answer is about, one of the region; none for all of them.
    pub(super) datacenter: Option<String>,
    /// Only instances without a failing check.
    pub(super) is_passing: bool,
    /// Tags that must all be present.
    pub(super) tags: Vec<String>,
    /// Node metadata that must all be present.
    pub(super) node_meta: Vec<(String, String)>,
}

impl Query {
    /// Whether the node is where was asked for, and has every pair of metadata.
    pub(super) fn wants_node(&self, node: &Node) -> bool {
        self.is_there(node)
            && self
                .node_meta
                .iter()
                .all(|(key, value)| node.meta.get(key) == Some(value))
    }

    /// Whether the node is in the datacenter that was asked for.
    pub(super) fn is_there(&self, node: &Node) -> bool {
        let asked = self.datacenter.as_ref();
        asked.is_none_or(|asked| node.datacenter == *asked)
    }

    /// Whether what is on any node is wanted.
    pub(super) fn wants_all_nodes(&self) -> bool {
        self.node_meta.is_empty() && self.datacenter.is_none()
    }

    /// The same for whatever tags.
    pub(super) fn without_tags(self) -> Self {
        Self {
            tags: Vec::new(),
            ..self
        }
    }

    /// Whether an answer of any age will do.
    pub(super) fn is_stale(&self) -> bool {
        self.consistency == Consistency::Stale
    }

    /// Name of the node whose neighbors are to come first, if any was asked for and is known.
    pub(super) fn near(&self, view: &View, catalog: &Catalog) -> Option<NodeName> {
        let near = self.parameters.get("near")?;
        self.nearby(view, catalog, near)
    }

    /// The node that `near` means: a name, the node of this agent, or the one at the address of
    /// whoever asks.
    pub(super) fn nearby(&self, view: &View, catalog: &Catalog, near: &str) -> Option<NodeName> {
        match near {
            "_agent" => Some(catalog.agent().node_name.as_str().into()),
            "_ip" => {
                let asker = self.asker?.to_string();
                let mut nodes = view.nodes();
                let of = nodes.find(|node| node.address == asker)?;
                Some(of.name.clone())
            }
            name => view.node(name).map(|node| node.name.clone()),
        }
    }

    /// Brings rows into the order that was asked for; `node` names the node of a row.
    pub(super) fn sort_near<T>(
        &self,
        view: &View,
        catalog: &Catalog,
        rows: &mut [T],
        node: impl Fn(&T) -> &str,
    ) {
        if let Some(near) = self.near(view, catalog) {
            rows.sort_by_key(|row| view.nearness(&near, node(row)));
        }
    }

    /// How long a reader waits that waits for something without an index.
    pub(super) fn wait_with_jitter(&self, catalog: &Catalog) -> Duration {
        let wait = self.asked.wait;
        wait + catalog.shared.waits.jitter(wait)
    }

    /// The index that must be passed; 0 for none.
    pub(super) fn index(&self) -> u64 {
        self.asked.index
    }

    /// Whether readers are no longer to wait.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.0.is_cancelled()
    }

    /// Resolves when readers are no longer to wait.
    pub(super) async fn stopped(&self) {
        self.stopping.0.cancelled().await;
    }

    /// All that decides the answer besides the catalog; nothing if it also depends on who asks.
    fn question(&self) -> Option<String> {
        /// What decides when an answer comes, or what its headers are.
        const OF_THE_READER: [&str; 9] = [
            "index",
            "wait",
            "hash",
            "token",
            "stale",
            "consistent",
            "leader",
            "cached",
            "max_stale",
        ];
        if self.parameters.all("near").any(|near| near == "_ip") {
            return None;
        }
        let parameters = self.parameters.without(&OF_THE_READER);
        Some(format!("{}?{parameters}", self.path))
    }

    /// Whether all services are shown.
    pub(super) fn wants_all_services(&self) -> bool {
        self.wants_all_nodes() && self.parameters.get("filter").is_none()
    }
}

/// Which rows of an answer are wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted(Option<Filter>);

impl Wanted {
    /// Whether a row is.
    pub(super) fn has(&self, row: &dyn Row) -> bool {
        self.0.as_ref().is_none_or(|filter| filter.holds(row))
    }

    /// Those of `rows` that are.
    pub(super) fn of<T: Row>(&self, rows: impl Iterator<Item = T>) -> Vec<T> {
        rows.filter(|row| self.has(row)).collect()
    }
}

impl Query {
    /// Which rows of type `T` are wanted, by the expression in `filter`.
    ///
    /// # Errors
    /// 500 when the expression does not fit such rows.
    pub(super) fn wanted<T: Filterable>(&self) -> Result<Wanted, Error> {
        let expression = self.parameters.get("filter");
        let filter = expression.map(Filter::of::<T>).transpose();
        filter.map(Wanted).map_err(|error| {
            Error::internal(format!(
                "Failed to create boolean expression evaluator: {error}"
            ))
        })
    }
}

impl FromRequestParts<Catalog> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, catalog: &Catalog) -> Result<Self, Error> {
        let stopping = Extension::<Stopping>::from_request_parts(parts, catalog)
            .await
            .map_or_else(|_| Stopping::default(), |Extension(stopping)| stopping);
        let parameters = Parameters::parse(parts.uri.query().unwrap_or_default())?;
        let asker = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let asker = asker.map(|ConnectInfo(address)| address.ip());
        let path = parts.uri.path().to_owned();
        check(parameters, catalog, stopping).map(|query| Query {
            path,
            asker,
            ..query
        })
    }
}

fn check(parameters: Parameters, catalog: &Catalog, stopping: Stopping) -> Result<Query, Error> {
    refuse_unsupported(&parameters)?;
    let is_passing = parameters.switch("passing", |_| {
        Error::bad_request("Invalid value for ?passing")
    });
    let query = Query {
        asked: parameters.asked()?,
        consistency: consistency(&parameters)?,
        layout: if parameters.has("pretty") {
            Layout::Pretty
        } else {
            Layout::Compact
        },
        is_cached: parameters.has("cached"),
        stopping,
        path: String::new(),
        asker: None,
        wants_wan: parameters.get("wan").is_some(),
        datacenter: datacenter(&parameters, catalog)?,
        is_passing: is_passing?.unwrap_or(false),
        tags: parameters
            .all("tag")
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect(),
        node_meta: parameters
            .all("node-meta")
            .map(|pair| pair.split_once(':').unwrap_or((pair, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        parameters,
    };
    if query.consistency == Consistency::Consistent && catalog.cluster.borrow().leader.is_none() {
        return Err(Error::no_leader());
    }
    Ok(query)
}

/// The datacenter that is asked for, if the region has it.
fn datacenter(parameters: &Parameters, catalog: &Catalog) -> Result<Option<String>, Error> {
    let asked = || parameters.all("dc").filter(|name| !name.is_empty());
    if !asked().all(|name| catalog.has_datacenter(name)) {
        return Err(Error::internal(NO_DATACENTER));
    }
    Ok(asked().next().map(str::to_owned))
}

/// Refuses what would otherwise be silently left out of the answer.
fn refuse_unsupported(parameters: &Parameters) -> Result<(), Error> {
    let is_foreign = |name| {
        parameters
            .value(name)
            .is_some_and(|value| !matches!(value, "" | "default"))
    };
    if is_foreign("ns") {
        return Err(Error::bad_request(
            "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature",
        ));
    }
    if is_foreign("partition") || is_foreign("ap") {
        return Err(Error::bad_request(
            "Invalid query parameter: \"partition\" - Partitions are a Consul Enterprise feature",
        ));
    }
    if parameters.get("peer").is_some() {
        return Err(Error::bad_request("cluster peering is not supported"));
    }
    Ok(())
}

fn consistency(parameters: &Parameters) -> Result<Consistency, Error> {
    let is_consistent = parameters.has("consistent");
    let max_stale = parameters.duration("max_stale", "Invalid max_stale value")?;
    let is_stale = parameters.has("stale") || max_stale.is_some_and(|age| !age.is_zero());
    if is_stale && is_consistent {
        return Err(Error::bad_request(
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ));
    }
    if parameters.has("cached") && is_consistent {
        return Err(Error::bad_request(
            "Cannot specify ?cached with ?consistent, conflicting semantics.",
        ));
    }
    Ok(match (is_consistent, is_stale) {
        (true, _) => Consistency::Consistent,
        (_, true) => Consistency::Stale,
        _ => Consistency::Default,
    })
}

/// Views of this agent's replica.
struct OfReplica(watch::Receiver<Arc<View>>);

impl Source for OfReplica {
    type Snapshot = View;

    fn newest(&self) -> Arc<View> {
        Arc::clone(&self.0.borrow())
    }

    async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// Lets the replica reach what the server part of this agent has, so that a client finds what it
/// wrote before. Who takes a stale answer, or waits for a change, does not wait for that.
async fn read_own_writes(catalog: &Catalog, query: &Query) {
    if query.is_stale() || query.is_cached || query.asked.index != 0 {
        return;
    }
    let written = catalog.server().snapshot().mesh.view().index();
    let mut replica = catalog.snapshots.clone();
    let reached = replica.wait_for(|view| view.index() >= written);
    tokio::select! {
        // A replica that is cut off answers with what it has.
        _ = tokio::time::timeout(CATCH_UP_MAX, reached) => {}
        () = query.stopped() => {}
    }
}

/// Answers a read: waits as `query` asks until `index` passes, then shows `view`.
pub(super) async fn answer<T: Serialize>(
    catalog: Catalog,
    query: &Query,
    index: impl Fn(&View) -> u64,
    view: impl Fn(&View) -> T,
) -> Result<Response, Error> {
    read_own_writes(&catalog, query).await;
    let source = OfReplica(catalog.snapshots.clone());
    let waits = &catalog.shared.waits;
    let snapshot = wait(source, query.asked, waits, &query.stopping, &index).await;
    let write = || Ok(escape(json::encode(&view(&snapshot), query.layout)?));
    let mut response = match query.question() {
        Some(question) => {
            let body = catalog.shared.bodies.of(question, &snapshot, write)?;
            let mut response = json::answer(body.plain().clone());
            response.extensions_mut().insert(body);
            response
        }
        None => json::answer(write()?),
    };
    add_index_headers(response.headers_mut(), &catalog, query, index(&snapshot));
    let is_fresh =
        catalog.cluster.borrow().last_contact.is_none() && query.consistency != Consistency::Stale;
    response.headers_mut().insert(
        "x-consul-effective-consistency",
        HeaderValue::from_static(if is_fresh { "leader" } else { "stale" }),
    );
    Ok(response)
}

/// Answers a read of what only servers have: waits as `query` asks until `index` passes, which
/// `topics` move, then shows `view`. A refusal has the index too, so that a client can wait for
/// what is missing.
pub(super) async fn answer_from_server(
    catalog: &Catalog,
    query: &Query,
    topics: impl IntoIterator<Item = Topic>,
    index: impl Fn(&mesh::state::Snapshot) -> u64,
    view: impl FnOnce(&mesh::state::Snapshot) -> Result<Response, Error>,
) -> Result<Response, Error> {
    if query.consistency != Consistency::Stale {
        catalog.server().read_barrier().await?;
    }
    let source = OfServer::new(catalog.server(), topics);
    let waits = &catalog.shared.waits;
    let index_of = |snapshot: &server::Snapshot| index(&snapshot.mesh);
    let snapshot = wait(source, query.asked, waits, &query.stopping, index_of).await;
    let mut response = view(&snapshot.mesh).unwrap_or_else(IntoResponse::into_response);
    let index = index(&snapshot.mesh);
    add_index_headers(response.headers_mut(), catalog, query, index);
    Ok(response)
}

pub(super) fn add_index_headers(
    headers: &mut HeaderMap,
    catalog: &Catalog,
    query: &Query,
    index: u64,
) {
    let cluster = catalog.cluster.borrow();
    let silence = cluster
        .last_contact
        .map_or(Duration::ZERO, |heard| heard.elapsed());
    let milliseconds = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
    let known_leader = if cluster.leader.is_some() {
        "true"
    } else {
        "false"
    };
    // A client that gets 0 asks again without waiting.
    headers.insert("x-consul-index", HeaderValue::from(index.max(1)));
    headers.insert(
        "x-consul-knownleader",
        HeaderValue::from_static(known_leader),
    );
    headers.insert("x-consul-lastcontact", HeaderValue::from(milliseconds));
    if query.is_cached {
        headers.insert("x-cache", HeaderValue::from_static("HIT"));
        headers.insert(header::AGE, HeaderValue::from_static("0"));
    }
}

/// A value as JSON, without index headers.
pub(super) fn json<T: Serialize>(query: &Query, value: &T) -> Result<Response, Error> {
    let body = json::encode(value, query.layout)?;
    Ok(json::answer(escape(body)))
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

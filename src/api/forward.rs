//! Requests that this agent cannot answer: those that need the leader of the servers, and those
//! about an allocation or a node elsewhere. They are carried there as they are, over RPC, and so
//! is what comes back.
//!
//! An agent that does not lead hands all of them to the leader, which knows the way to every node.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{FromRequest as _, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jobs::model::{AllocId, NodeId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::time::Duration;
use tokio::{
    io::{DuplexStream, copy_bidirectional},
    time::{Instant, sleep},
};

use super::{
    body::Raw,
    error::{Error, NO_LEADER},
    listener::WasCarried,
    read::parameters::Parameters,
};
use server::{ClusterError, Dialect, LEADER_TIMEOUT};

/// Header of a request to the leader: the datacenter of the agent that was asked.
pub(super) const ASKED_IN: HeaderName = HeaderName::from_static("x-trivet-datacenter");
/// The region that a job names when it means that of the agent.
pub(super) const ANY_REGION: &str = "global";
/// How soon a request is made again that found no leader.
const LEADER_PAUSE: Duration = Duration::from_millis(50);
/// Longest body that is kept to be sent again, bytes.
const KEPT_BYTES_MAX: u64 = 64 << 10;

/// What decides where the requests of one API go; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    server: server::Handle,
    client: Option<client::Handle>,
    dialect: Dialect,
}

/// Where a request belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Any agent answers it from what it has.
    Here,
    /// A server answers it from its copy of the state, which may be old.
    Copy,
    /// Only the leader can answer it.
    Leader,
    /// The agent that runs this allocation.
    Alloc(String),
    /// The agent of this node.
    Node(String),
    /// A server of another region.
    Region(String),
}

impl Forward {
    pub(super) fn new(
        server: server::Handle,
        client: Option<client::Handle>,
        dialect: Dialect,
    ) -> Self {
        Self {
            server,
            client,
            dialect,
        }
    }

    fn place(&self, request: &Request) -> Place {
        let uri = request.uri();
        let method = request.method();
        match self.dialect {
            Dialect::Jobs => match self.region(uri) {
                Some(region) => Place::Region(region),
                None => of_jobs(method, uri),
            },
            Dialect::Catalog => of_catalog(method, uri),
            Dialect::Ingress => of_ingress(method, uri),
        }
    }

    /// The other region that a request is for.
    fn region(&self, uri: &Uri) -> Option<String> {
        // Every request comes by here: nothing is parsed for most of them.
        if !uri.query()?.contains("region=") || is_of_agent(uri) {
            return None;
        }
        let region = parts(uri).1.get("region")?.to_owned();
        (!region.is_empty() && region != self.server.region()).then_some(region)
    }

    /// Lets the leader know which datacenter a write to the catalog means that names none.
    fn say_where(&self, request: &mut Request) {
        if matches!(self.dialect, Dialect::Catalog)
            && !is_read(request.method())
            && let Ok(datacenter) = HeaderValue::from_bytes(self.server.datacenter().as_bytes())
        {
            request.headers_mut().insert(ASKED_IN, datacenter);
        }
    }

    /// The pipe to where the request belongs; none when that is here.
    async fn pipe(&self, place: Place, is_carried: bool) -> Result<Option<DuplexStream>, Error> {
        let is_own = |id: &str| {
            let node = self.client.as_ref().map(client::Handle::node);
            node.is_some_and(|node| NodeId::parse(id) == Some(node.id))
        };
        let node = match place {
            Place::Here => return Ok(None),
            Place::Copy if self.server.has_copy() => return Ok(None),
            Place::Region(region) if self.server.has_copy() => {
                return Ok(Some(self.server.open_region(&region, self.dialect).await?));
            }
            Place::Alloc(id) => {
                let client = self.client.as_ref();
                if client.is_some_and(|client| client.knows(&id)) {
                    return Ok(None);
                }
                let snapshot = self.server.snapshot();
                let alloc = AllocId::parse(&id).and_then(|id| snapshot.jobs.alloc(id));
                alloc.map(|alloc| alloc.node_id)
            }
            Place::Node(id) if is_own(&id) => return Ok(None),
            Place::Node(id) => {
                let snapshot = self.server.snapshot();
                let node = NodeId::parse(&id).and_then(|id| snapshot.jobs.node(id));
                node.map(|node| node.id)
            }
            Place::Copy | Place::Leader | Place::Region(_) => None,
        };
        if self.server.leads() {
            let Some(node) = node.filter(|node| !is_own(&node.to_string())) else {
                return Ok(None);
            };
            let opened = self.server.open_agent(node, self.dialect).await;
            return opened.map(Some).map_err(|error| match error {
                ClusterError::Unknown(_) => Error::not_found("No path to node"),
                error => error.into(),
            });
        }
        if is_carried && self.server.has_copy() {
            return Err(ClusterError::NoLeader.into());
        }
        if is_carried {
            // The leader asks this agent about its own node.
            return Ok(None);
        }
        Ok(self.server.open_leader(self.dialect).await?)
    }
}

impl From<ClusterError> for Error {
    fn from(error: ClusterError) -> Self {
        if matches!(error, ClusterError::NoLeader) {
            return Self::no_leader();
        }
        Self::internal(error.to_string())
    }
}

/// Answers a request here, or carries it to where it belongs. One that found no leader, so that
/// nobody began to carry it out, is made again for as long as leaders are waited for.
pub(super) async fn forward(
    State(forward): State<Forward>,
    request: Request,
    next: Next,
) -> Response {
    let until = Instant::now() + LEADER_TIMEOUT;
    let is_carried = request.extensions().get::<WasCarried>().is_some();
    let named = if may_name_node(&forward, &request) {
        with_node(request).await
    } else if may_name_region(&forward, &request) {
        with_region(request, forward.server.region()).await
    } else {
        Ok(request)
    };
    let mut request = match named {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    // The agent that a carried one came from asks again.
    if is_carried || forward.place(&request) == Place::Here {
        return answer(&forward, request, next, is_carried).await;
    }
    forward.say_where(&mut request);
    let (again, mut request) = match Again::keep(request, forward.server.leads()).await {
        Ok(kept) => kept,
        Err(error) => return error.into_response(),
    };
    loop {
        let mut response = answer(&forward, request, next.clone(), false).await;
        let lacks_leader = response.headers_mut().remove(NO_LEADER).is_some();
        match &again {
            Some(again) if lacks_leader && Instant::now() < until => request = again.request(),
            _ => return response,
        }
        sleep(LEADER_PAUSE).await;
    }
}

/// A request that can be made again.
struct Again {
    parts: Parts,
    body: Bytes,
}

impl Again {
    /// Keeps what is read, and what a leader elsewhere is to write if it is short.
    async fn keep(request: Request, leads: bool) -> Result<(Option<Self>, Request), Error> {
        let is_read = is_read(request.method());
        let body = request.body();
        let size = body.size_hint().exact();
        let is_short = body.is_end_stream()
            || !is_read && !leads && size.is_some_and(|size| size <= KEPT_BYTES_MAX);
        if !is_short || request.headers().contains_key(header::UPGRADE) {
            return Ok((None, request));
        }
        let (parts, body) = read(request).await?;
        let again = Self { parts, body };
        let request = again.request();
        Ok((Some(again), request))
    }

    fn request(&self) -> Request {
        Request::from_parts(self.parts.clone(), Body::from(self.body.clone()))
    }
}

/// Answers a request here, or carries it to where it belongs, once.
async fn answer(forward: &Forward, request: Request, next: Next, is_carried: bool) -> Response {
    match forward.pipe(forward.place(&request), is_carried).await {
        Ok(None) => {
            let is_read = is_read(request.method());
            let mut response = next.run(request).await;
            if !is_read {
                // It may have been written before the leader was lost.
                response.headers_mut().remove(NO_LEADER);
            }
            response
        }
        Ok(Some(pipe)) => match carry(pipe, request).await {
            Ok(response) => response,
            Err(error) => {
                let text = format!("the connection to the leader or the node broke: {error}");
                Error::internal(text).into_response()
            }
        },
        Err(error) => error.into_response(),
    }
}

/// Changes of a node's labels name the node in the body, unless a parameter does.
fn may_name_node(forward: &Forward, request: &Request) -> bool {
    // Every request comes by here: nothing is parsed for the others.
    matches!(forward.dialect, Dialect::Jobs)
        && !is_read(request.method())
        && request.uri().path() == "/v1/client/metadata"
        && parts(request.uri()).1.get("node_id").is_none()
}

/// The same request with the node that its body names as a parameter. A body that cannot be
/// understood is refused by the handler.
async fn with_node(request: Request) -> Result<Request, Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        #[serde(rename = "NodeID")]
        node_id: Option<String>,
    }
    let (mut parts, bytes) = read(request).await?;
    let named: Named = serde_json::from_slice(&bytes).unwrap_or_default();
    let id = named.node_id.as_deref().and_then(NodeId::parse);
    if let Some(id) = id {
        parts.uri = with_parameter(&parts.uri, &format!("node_id={id}"))?;
    } else if named.node_id.is_some_and(|id| !id.is_empty()) {
        return Err(Error::bad_request("NodeID is no id of a node"));
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// A job names its region in the body, unless a parameter does.
fn may_name_region(forward: &Forward, request: &Request) -> bool {
    let path = request.uri().path();
    matches!(forward.dialect, Dialect::Jobs)
        && !is_read(request.method())
        && ["/v1/jobs", "/v1/job/", "/v1/validate/job"]
            .iter()
            .any(|start| path.starts_with(start))
        && parts(request.uri()).1.get("region").is_none()
        && forward.server.regions().len() > 1
}

/// The same request with the region that its body or its job names as a parameter, where that is
/// another one than `own`.
async fn with_region(request: Request, own: &str) -> Result<Request, Error> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Named {
        region: Option<String>,
        job: Option<Box<Named>>,
    }
    let (mut parts, bytes) = read(request).await?;
    let named: Named = serde_json::from_slice(&bytes).unwrap_or_default();
    let of_job = named.job.and_then(|job| job.region);
    let mut regions = [named.region, of_job].into_iter().flatten();
    let region = regions.find(|region| !region.is_empty());
    if let Some(region) = region.filter(|region| region != own && region != ANY_REGION) {
        let region = utf8_percent_encode(&region, NON_ALPHANUMERIC);
        parts.uri = with_parameter(&parts.uri, &format!("region={region}"))?;
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// The same address with one more parameter.
fn with_parameter(uri: &Uri, parameter: &str) -> Result<Uri, Error> {
    let query = uri.query().map(|query| format!("{query}&"));
    let text = format!("{}?{}{parameter}", uri.path(), query.unwrap_or_default());
    text.parse()
        .map_err(|_| Error::bad_request("the address is too long"))
}

/// A request with its whole body.
async fn read(request: Request) -> Result<(Parts, Bytes), Error> {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok((parts, Bytes::new()));
    }
    let read = Raw::from_request(Request::from_parts(parts.clone(), body), &()).await?;
    let bytes = Bytes::copy_from_slice(read.bytes());
    Ok((parts, bytes))
}

/// Asks on a pipe and passes the answer on, also when both sides go over to another protocol.
async fn carry(pipe: DuplexStream, mut request: Request) -> hyper::Result<Response> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(pipe));
    let (mut sender, connection) = handshake.await?;
    tokio::spawn(async move {
        // The answer says what broke.
        connection.with_upgrades().await.ok();
    });
    let near = request.extensions_mut().remove::<OnUpgrade>();
    let path = request.uri().path_and_query().cloned();
    if let Some(host) = request.uri().authority().map(ToString::to_string)
        && let Ok(host) = HeaderValue::try_from(host)
    {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    *request.version_mut() = Version::HTTP_11;
    let mut response = sender.send_request(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(near) = near
    {
        let far = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(near), Ok(far)) = tokio::join!(near, far) {
                let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
                // Whichever end breaks, the other one sees it.
                copy_bidirectional(&mut near, &mut far).await.ok();
            }
        });
    }
    Ok(response.map(Body::new))
}

/// Whether a request is about the agent that it is made to, whatever region it names.
pub(super) fn is_of_agent(uri: &Uri) -> bool {
    let path = uri.path();
    path.starts_with("/v1/agent/") || matches!(path, "/v1/regions" | "/v1/metrics")
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The parts of the path after `/v1/`, and the parameters.
fn parts(uri: &Uri) -> (Vec<&str>, Parameters) {
    let path = uri.path().strip_prefix("/v1/").unwrap_or_default();
    let query = uri.query().unwrap_or_default();
    // What cannot be read is refused by the handler.
    let parameters = Parameters::parse(query).unwrap_or_default();
    (path.split('/').collect(), parameters)
}

fn is_stale(parameters: &Parameters) -> bool {
    parameters
        .value("stale")
        .is_some_and(|value| value != "false" && value != "0")
}

fn of_jobs(method: &Method, uri: &Uri) -> Place {
    let (parts, parameters) = parts(uri);
    match parts[..] {
        [""] if uri.path().starts_with("/.well-known/") => Place::Leader,
        ["" | "metrics"] => Place::Here,
        ["regions"]
        | [
            "agent",
            "members" | "servers" | "join" | "force-leave" | "keyring",
            ..,
        ] => Place::Copy,
        ["status", ..] => Place::Copy,
        ["agent", ..] => Place::Here,
        ["client", "stats" | "metadata" | "gc"] => match parameters.get("node_id") {
            Some(id) => Place::Node(id.to_owned()),
            None => Place::Here,
        },
        ["client", "fs", _, alloc] | ["client" | "allocation", alloc, "checks"] => {
            Place::Alloc(alloc.to_owned())
        }
        ["client", "allocation", alloc, _] => Place::Alloc(alloc.to_owned()),
        ["trivet", "routes"]
        | ["trivet", "routes", "counts"]
        | ["trivet", "route", "test"]
        | ["trivet", "dns"] => Place::Here,
        // Only the leader knows how the servers are.
        ["operator", "autopilot", ..] => Place::Leader,
        _ if is_read(method) && is_stale(&parameters) => Place::Copy,
        _ => Place::Leader,
    }
}

fn of_catalog(method: &Method, uri: &Uri) -> Place {
    let (parts, parameters) = parts(uri);
    let is_consistent = parameters.has("consistent");
    match parts[..] {
        ["agent", "connect" | "force-leave", ..] => Place::Leader,
        ["operator", "keyring"] => Place::Copy,
        ["" | "agent" | "event", ..] => Place::Here,
        [
            "catalog" | "health" | "internal" | "coordinate" | "config" | "discovery-chain",
            ..,
        ]
        | ["query", _, "execute"]
            if is_read(method) && !is_consistent =>
        {
            Place::Here
        }
        ["status", ..] => Place::Here,
        ["operator", "autopilot", ..] => Place::Leader,
        _ if is_read(method) && is_stale(&parameters) => Place::Copy,
        _ => Place::Leader,
    }
}

fn of_ingress(method: &Method, uri: &Uri) -> Place {
    let of_state = ["/api/manual", "/api/paths"];
    if of_state.iter().any(|path| uri.path().starts_with(path)) || !is_read(method) {
        Place::Leader
    } else {
        Place::Here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_of_the_body_becomes_a_parameter() {
        let id = "034e334b-5902-486f-9f2e-1c4f04b23761";
        let changed = async |body: String| {
            let request = Request::put("/v1/client/metadata?region=global").body(Body::from(body));
            let request = with_node(request.unwrap()).await?;
            let uri = request.uri().to_string();
            let body = axum::body::to_bytes(request.into_body(), 1024)
                .await
                .unwrap();
            Ok::<_, Error>((uri, String::from_utf8(body.to_vec()).unwrap()))
        };
        for (node, expected) in [
            (format!(r#""{id}""#), format!("&node_id={id}")),
            (r#""""#.to_owned(), String::new()),
            ("null".to_owned(), String::new()),
        ] {
            let body = format!(r#"{{"NodeID":{node},"Meta":{{"a":"b"}}}}"#);
            let (uri, kept) = changed(body.clone()).await.unwrap();
            assert_eq!(uri, format!("/v1/client/metadata?region=global{expected}"));
            assert_eq!(kept, body);
        }
        assert!(changed(r#"{"NodeID":"n 1"}"#.to_owned()).await.is_err());
    }

    #[test]
    fn every_request_has_its_place() {
        let of = |place: fn(&Method, &Uri) -> Place, line: &str| {
            let (method, uri) = line.split_once(' ').unwrap();
            place(&method.parse().unwrap(), &uri.parse().unwrap())
        };
        let alloc = || Place::Alloc("a1".into());
        for (line, expected) in [
            ("GET /ui/", Place::Here),
            ("GET /.well-known/jwks.json", Place::Leader),
            ("GET /v1/jobs", Place::Leader),
            ("GET /v1/jobs?stale", Place::Copy),
            ("GET /v1/jobs?stale=false", Place::Leader),
            ("PUT /v1/jobs?stale", Place::Leader),
            ("GET /v1/agent/self", Place::Here),
            ("GET /v1/agent/members", Place::Copy),
            ("GET /v1/status/leader", Place::Copy),
            ("GET /v1/client/fs/logs/a1?task=t", alloc()),
            ("PUT /v1/client/allocation/a1/restart", alloc()),
            ("GET /v1/client/allocation/a1/exec", alloc()),
            ("GET /v1/allocation/a1/checks", alloc()),
            ("GET /v1/allocation/a1", Place::Leader),
            ("GET /v1/client/stats", Place::Here),
            ("GET /v1/client/stats?node_id=n", Place::Node("n".into())),
            ("GET /v1/trivet/route/test?url=x", Place::Here),
            ("GET /v1/trivet/routes", Place::Here),
            ("GET /v1/trivet/dns?name=web.service.consul", Place::Here),
            ("GET /v1/trivet/routes/overrides", Place::Leader),
            ("GET /v1/operator/autopilot/health?stale", Place::Leader),
        ] {
            assert_eq!(of(of_jobs, line), expected, "{line}");
        }
        for (line, expected) in [
            ("GET /v1/catalog/services", Place::Here),
            ("GET /v1/catalog/services?consistent", Place::Leader),
            ("GET /v1/health/service/web?stale", Place::Here),
            ("PUT /v1/catalog/register", Place::Leader),
            ("GET /v1/query/web/execute", Place::Here),
            ("GET /v1/query", Place::Leader),
            ("GET /v1/kv/a", Place::Leader),
            ("GET /v1/kv/a?stale", Place::Copy),
            ("PUT /v1/kv/a", Place::Leader),
            ("PUT /v1/agent/service/register", Place::Here),
            ("GET /v1/agent/connect/ca/roots", Place::Leader),
            ("GET /v1/status/leader", Place::Here),
            ("GET /v1/operator/autopilot/state?stale", Place::Leader),
        ] {
            assert_eq!(of(of_catalog, line), expected, "{line}");
        }
        for (line, expected) in [
            ("GET /api/routes", Place::Here),
            ("GET /api/manual", Place::Leader),
            ("GET /api/paths", Place::Leader),
            ("PUT /api/manual", Place::Leader),
        ] {
            assert_eq!(of(of_ingress, line), expected, "{line}");
        }
    }
}

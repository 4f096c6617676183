//! What happens to one request, in the hooks of the proxy library.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION,
    TRANSFER_ENCODING,
};
use ::http::request::Parts as ReqParts;
use ::http::{HeaderMap, StatusCode, Uri, Version};
use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::v1::server::HttpSession as SessionV1;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::handle::Handle;
use super::head;
use super::lease::{Lease, Refused};
use super::rescue::{self, Budget, Wait};
use super::routing::{self, Failure, Tried};
use super::socket::{self, Waiting};
use crate::config::Config;
use crate::headers::{self, Hop, Incoming, Told};
use crate::route::{self, RequestPath, Scheme, Target};

/// The decisions of the proxy; the library carries them out.
pub(super) struct Service {
    config: Arc<Config>,
    handle: Handle,
    budget: Arc<Budget>,
}

/// What is remembered of a request from hook to hook.
#[derive(Default)]
pub(super) struct Request {
    lease: Option<Lease>,
    tried: Tried,
    /// When the last target was chosen, until it has answered.
    asked: Option<Instant>,
    /// How many more targets may be tried.
    left: usize,
    /// The connection to the target waited for this request.
    is_kept: bool,
    body_bytes: u64,
}

impl Service {
    pub(super) fn new(config: Arc<Config>, handle: Handle, budget: Arc<Budget>) -> Service {
        Service {
            config,
            handle,
            budget,
        }
    }

    fn lease(&self, session: &Session, cx: &Request) -> Result<Lease, Refused> {
        let path = RequestPath::new(session.req_header().uri.path());
        let request = asked(session, &path);
        cx.tried.lease(&self.handle, &request, false)
    }

    /// Notes that the target of a request failed it.
    fn failed(&self, header: &RequestHeader, cx: &Request) {
        if let Some(lease) = &cx.lease {
            let path = RequestPath::new(header.uri.path());
            let upstream = lease.target().upstream();
            rescue::failed(&self.config, &self.handle, (host(header), &path), upstream);
        }
    }

    /// Lets a request wait for the first of an answer only as long as it is worth it.
    fn watch(&self, session: &Session, cx: &Request) {
        let header = session.req_header();
        let client = session.digest().and_then(socket::client);
        let (Some(client), Some(lease)) = (client, &cx.lease) else {
            return;
        };
        let may_leave = cx.left > 0
            && cx.tried.may_repeat(Failure::Suspected)
            && !session.as_ref().retry_buffer_truncated();
        let upstream = lease.target().upstream().clone();
        client.wait(may_leave.then(|| Waiting {
            wait: Wait::begin(&upstream, Instant::now()),
            upstream,
            host: host(header).to_owned(),
            path: header.uri.path().to_owned(),
            handle: self.handle.clone(),
            budget: self.budget.clone(),
            alarms: None,
        }));
    }

    fn peer(&self, target: &Target, session: &Session) -> Box<HttpPeer> {
        let scheme = target.destination().scheme;
        let mut peer = HttpPeer::new(target.address(), scheme.is_tls(), server_name(target));
        if target.options().skips_verification {
            peer.options.verify_cert = false;
            peer.options.verify_hostname = false;
        }
        peer.options.alpn = match scheme {
            Scheme::Grpc | Scheme::Grpcs => ALPN::H2,
            _ if target.options().h2c => ALPN::H2,
            // Only the older version has upgrades.
            Scheme::Https if !session.is_upgrade_req() => ALPN::H2H1,
            _ => ALPN::H1,
        };
        // Connections are only reused for the same upstream: one that is gone takes its idle ones
        // with it.
        peer.group_key = target.upstream().serial();
        peer.options.connection_timeout = Some(self.config.connect_timeout);
        peer.options.idle_timeout = Some(self.config.upstream_idle_timeout);
        if !is_open_ended(session) {
            peer.options.read_timeout = self.config.response_timeout;
            peer.options.write_timeout = self.config.response_timeout;
        }
        Box::new(peer)
    }

    /// Answers a request that goes to no target.
    async fn answer(session: &mut Session, status: StatusCode) -> Result<()> {
        Service::answer_with(session, status, None).await
    }

    async fn answer_with(
        session: &mut Session,
        status: StatusCode,
        header: Option<(HeaderName, String)>,
    ) -> Result<()> {
        let mut response = ResponseHeader::build(status, Some(2))?;
        response.insert_header(CONTENT_LENGTH, HeaderValue::from_static("0"))?;
        if let Some((name, value)) = header {
            response.insert_header(name, value)?;
        }
        session
            .write_response_header(Box::new(response), true)
            .await
    }

    /// Answers a request that its route does not send on: the client may not use it, or is told to
    /// go elsewhere. `false` if it is to be sent on.
    async fn stop(session: &mut Session, target: &Target) -> Result<bool> {
        let options = target.options();
        let path = RequestPath::new(session.req_header().uri.path());
        let redirect = target.redirect(&asked(session, &path));
        if !options.access.is_open() && !options.access.admits(addresses(session)) {
            Service::answer(session, StatusCode::FORBIDDEN).await?;
        } else if options.auth.is_some() {
            // There are no schemes: nobody has credentials.
            Service::answer(session, StatusCode::UNAUTHORIZED).await?;
        } else if let Some((status, location)) = redirect {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
            Service::answer_with(session, status, Some((LOCATION, location))).await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn is_too_large(&self, bytes: u64) -> bool {
        self.config.request_body_max.is_some_and(|max| bytes > max)
    }
}

/// What of a request decides on its route.
fn asked<'a>(session: &'a Session, path: &'a RequestPath<'a>) -> route::Request<'a> {
    let header = session.req_header();
    let client = session.digest().and_then(socket::client);
    let proto = header.headers.get(Told::Proto.name());
    route::Request {
        host: host(header),
        path,
        query: header.uri.query().unwrap_or_default(),
        is_tls: client.is_some_and(|client| client.hop().is_tls()),
        forwarded_scheme: proto.and_then(|proto| headers::scheme(proto.as_bytes())),
    }
}

/// The address of the client, and those that proxies before us name.
fn addresses(session: &Session) -> Vec<IpAddr> {
    let told = session.req_header().headers.get_all(Told::For.name());
    let told = headers::forwarded_for(told.iter().map(HeaderValue::as_bytes));
    let own = session.digest().and_then(socket::client);
    let own = own.map(|client| client.hop().address());
    own.into_iter().chain(told).collect()
}

/// The name in a target's certificate.
fn server_name(target: &Target) -> String {
    let options = target.options();
    let name = match (&options.grpc_server_name, &options.host) {
        (Some(name), _) => Some(name),
        (None, Some(host)) if host != "dst" => Some(host),
        _ => None,
    };
    match name {
        Some(name) => match name.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
            _ => name.clone(),
        },
        None => target.address().ip().to_string(),
    }
}

/// The host that a request is for: of an absolute target, else of the Host header.
fn host(header: &RequestHeader) -> &str {
    match header.uri.authority() {
        Some(authority) => authority.as_str(),
        None => header
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default(),
    }
}

/// Whether silence is normal for a request: an upgrade, an event stream or a call of gRPC.
fn is_open_ended(session: &Session) -> bool {
    let headers = &session.req_header().headers;
    let is = |name, test: fn(&[u8]) -> bool| {
        let value = headers.get(name).map(HeaderValue::as_bytes);
        value.is_some_and(test)
    };
    session.is_upgrade_req()
        || is(ACCEPT, |accept| accept == b"text/event-stream")
        || is(CONTENT_TYPE, |content| {
            content.starts_with(b"application/grpc")
        })
}

fn content_length(header: &RequestHeader) -> Option<u64> {
    header
        .headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Room for all forwarding headers.
const FORWARDING_HEADERS: usize = 8;

/// Sets the forwarding headers of a request to an upstream, which came in with `headers`.
///
/// The library keeps the case of each header name as it came, at the price of two allocations and a
/// second map entry for each header that is set. Names go out in lower case instead where that is
/// possible, as they have no case.
fn tell(
    request: &mut RequestHeader,
    headers: &HeaderMap,
    hop: &Hop,
    strip: Option<&str>,
) -> Result<()> {
    let mut incoming = Incoming::new(headers.get(HOST).map(HeaderValue::as_bytes));
    for (name, value) in headers {
        if let Some(told) = Told::of(name.as_str().as_bytes()) {
            incoming.note(told, value.as_bytes());
        }
    }
    let mut set: SmallVec<[(HeaderName, HeaderValue); FORWARDING_HEADERS]> = SmallVec::new();
    headers::forwarding(&incoming, hop, strip, |told, pieces| {
        // What came in as values is one when joined.
        if let Ok(value) = HeaderValue::from_bytes(&pieces.concat()) {
            set.push((HeaderName::from_static(told.name()), value));
        }
    });
    let target = request
        .uri
        .path_and_query()
        .map(|target| target.as_str().as_bytes());
    if target != Some(request.raw_path()) {
        // The target would not survive: it is kept apart from the URI.
        for (name, value) in set {
            request.insert_header(name, value)?;
        }
        return Ok(());
    }
    let (placeholder, ()) = ::http::Request::new(()).into_parts();
    let mut parts = ReqParts::from(std::mem::replace(request, placeholder.into()));
    parts.headers.reserve(FORWARDING_HEADERS);
    for (name, value) in set {
        parts.headers.insert(name, value);
    }
    *request = parts.into();
    Ok(())
}

/// Headers of an answer that the library frames it by.
const FRAMING: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// Names of an answer's headers that speak of one connection only, as far as the library leaves
/// them in.
fn ending(headers: &HeaderMap) -> SmallVec<[HeaderName; 2]> {
    let connection = headers.get_all(CONNECTION).iter();
    let connection: SmallVec<[&[u8]; 1]> = connection.map(HeaderValue::as_bytes).collect();
    let ends = |name: &&HeaderName| {
        let bytes = name.as_str().as_bytes();
        !FRAMING.contains(name)
            && (headers::hop_by_hop(bytes) || headers::is_nominated(bytes, &connection))
    };
    headers.keys().filter(ends).cloned().collect()
}

/// Leaves out of an answer what speaks of the target's connection only.
fn clean(answer: &mut ResponseHeader) -> Result<()> {
    answer.set_version(Version::HTTP_11);
    for name in ending(&answer.headers) {
        answer.remove_header(&name);
    }
    // The library has checked that all say the same.
    let length = answer.headers.get(CONTENT_LENGTH);
    let length =
        length.and_then(|length| length.to_str().ok()?.split(',').next()?.trim().parse().ok());
    if let Some(length) = length.map(|length: u64| HeaderValue::from(length)) {
        answer.insert_header(CONTENT_LENGTH, length)?;
    }
    Ok(())
}

fn is_timeout(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout
    )
}

/// What a target did to make a request fail.
fn failure(error: &Error) -> Failure {
    if is_timeout(error) {
        Failure::Silent
    } else {
        Failure::Broken
    }
}

#[async_trait]
impl ProxyHttp for Service {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request::default()
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, cx: &mut Request) -> Result<bool> {
        if let Some(client) = session.digest().and_then(socket::client) {
            client.on_head();
        }
        let raw = session.as_http1().map(SessionV1::get_headers_raw_bytes);
        let header = session.req_header_mut();
        if let Err(reason) = head::check(header, &raw.unwrap_or_default()) {
            tracing::debug!(reason, "request refused");
            session.set_keepalive(None);
            Service::answer(session, StatusCode::BAD_REQUEST).await?;
            return Ok(true);
        }
        if let Some(harmless) = header
            .headers
            .get(CONNECTION)
            .and_then(headers::harmless_connection)
        {
            header.insert_header(CONNECTION, harmless)?;
        }
        // Requests that were sent ahead are answered in order.
        session.set_pipelining_enabled(true);
        // A client that sends nothing more may still wait for its answer; what bounds the wait is
        // the target's silence. Where that is not timed, the end of the client's side counts as its
        // leaving.
        let is_timed = self.config.response_timeout.is_some() && !is_open_ended(session);
        session.set_abort_on_close(!is_timed);
        if session.is_upgrade_req() {
            session.set_read_timeout(None);
        } else {
            session.set_read_timeout(Some(self.config.client_timeout));
        }
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(self.config.client_idle_timeout.as_secs().max(1)));
        }
        if content_length(session.req_header()).is_some_and(|bytes| self.is_too_large(bytes)) {
            session.set_keepalive(None);
            Service::answer(session, StatusCode::PAYLOAD_TOO_LARGE).await?;
            return Ok(true);
        }
        self.budget.on_request();
        cx.tried = Tried::of(&session.req_header().method);
        cx.left = self.config.retries.saturating_add(1);
        let refused = match self.lease(session, cx) {
            Ok(lease) => {
                let target = lease.target().clone();
                cx.lease = Some(lease);
                return Service::stop(session, &target).await;
            }
            Err(refused) => routing::refusal(&self.config, refused),
        };
        Service::answer(session, refused).await?;
        Ok(true)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        cx: &mut Request,
    ) -> Result<()> {
        cx.body_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
        if !session.was_upgraded() && self.is_too_large(cx.body_bytes) {
            return Error::e_explain(ErrorType::HTTPStatus(413), "request body is too large");
        }
        Ok(())
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        cx: &mut Request,
    ) -> Result<Box<HttpPeer>> {
        if cx.lease.is_none() {
            let refused = |_| {
                let last = cx.tried.status().as_u16();
                Error::explain(ErrorType::HTTPStatus(last), "no target is left to try")
            };
            cx.lease = Some(self.lease(session, cx).map_err(refused)?);
        }
        cx.asked = Some(Instant::now());
        cx.left = cx.left.saturating_sub(1);
        self.watch(session, cx);
        match &cx.lease {
            Some(lease) => Ok(self.peer(lease.target(), session)),
            None => Error::e_explain(ErrorType::InternalError, "no target was chosen"),
        }
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::fd::RawFd,
        _digest: Option<&Digest>,
        cx: &mut Request,
    ) -> Result<()> {
        cx.is_kept = reused;
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        cx: &mut Request,
    ) -> Result<()> {
        let Some(lease) = &cx.lease else {
            return Ok(());
        };
        let target = lease.target();
        let header = session.req_header();
        let (path, query) = (header.uri.path(), header.uri.query().unwrap_or_default());
        let uri = target.forwarded(&RequestPath::new(path), (path, query));
        if let Some(uri) = uri {
            let uri = Uri::try_from(uri).map_err(|error| {
                Error::because(
                    ErrorType::HTTPStatus(400),
                    "request target cannot be rewritten",
                    error,
                )
            })?;
            upstream_request.set_uri(uri);
        }
        if let Some(client) = session.digest().and_then(socket::client) {
            let strip = target.options().strip.as_deref();
            let headers = &session.req_header().headers;
            tell(upstream_request, headers, client.hop(), strip)?;
        }
        if let Some(host) = target.host_header() {
            upstream_request.insert_header(HOST, host)?;
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        cx: &mut Request,
    ) -> Result<()> {
        if let (Some(asked), Some(lease)) = (cx.asked.take(), &cx.lease) {
            let health = lease.target().upstream().health();
            health.answered(self.handle.now_ms(), asked.elapsed());
            health.succeeded();
        }
        if let Some(client) = session.digest().and_then(socket::client) {
            client.wait(None);
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            if session.is_upgrade_req() {
                return Ok(());
            }
            let reason = "nobody asked to switch protocols";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, reason).into_up());
        }
        let coding = response
            .headers
            .get_all(TRANSFER_ENCODING)
            .iter()
            .next_back();
        let coding = coding.and_then(|codings| codings.as_bytes().rsplit(|b| *b == b',').next());
        if coding.is_some_and(|last| !last.trim_ascii().eq_ignore_ascii_case(b"chunked")) {
            // Only the end of the connection tells the end of the body.
            session.set_keepalive(None);
        }
        clean(response)
    }

    /// Nothing was sent, so another target may be asked whatever the method.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        cx: &mut Request,
        mut error: Box<Error>,
    ) -> Box<Error> {
        cx.tried.unreachable(peer.group_key, failure(&error));
        if let Some(lease) = cx.lease.take() {
            rescue::unreachable(&self.handle, lease.target().upstream());
        }
        error.set_retry(true);
        error
    }

    /// Something was sent: another target may be asked only if the request may be repeated, the
    /// whole body is still here, and the client has seen nothing yet.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        cx: &mut Request,
        client_reused: bool,
    ) -> Box<Error> {
        let client = session.digest().and_then(socket::client);
        let left = client.and_then(|client| client.has_left());
        let is_upstream = *error.esource() == ErrorSource::Upstream;
        let failure = left.unwrap_or_else(|| failure(&error));
        // That a connection which waited has ended says nothing of its target.
        let is_stale = cx.is_kept && cx.asked.is_some() && failure == Failure::Broken;
        if is_upstream && !is_stale {
            self.failed(session.req_header(), cx);
        }
        let repeatable = (is_upstream || left.is_some())
            && cx.tried.may_repeat(failure)
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none()
            && (is_stale || self.budget.take());
        if repeatable {
            tracing::debug!(%error, client_reused, "asking another target");
            cx.tried.broken(peer.group_key, failure);
            cx.lease = None;
        }
        error.set_retry(repeatable);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        cx: &mut Request,
    ) -> FailToProxy {
        let code = match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(code), _) => *code,
            (_, ErrorSource::Upstream) => failure(error).status().as_u16(),
            (
                ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed,
                ErrorSource::Downstream,
            ) => 0,
            (ErrorType::ReadTimedout, ErrorSource::Downstream) => 408,
            (_, ErrorSource::Downstream) => 400,
            (_, ErrorSource::Internal | ErrorSource::Unset) => 500,
        };
        if code >= 500 {
            let target = cx.lease.as_ref().map(|lease| lease.target().address());
            tracing::warn!(%error, code, ?target, "request failed");
        } else {
            tracing::debug!(%error, code, "request failed");
        }
        // A body that was not read through would be taken for the next request.
        session.set_keepalive(None);
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if code > 0
            && session.response_written().is_none()
            && let Err(error) = Service::answer(session, status).await
        {
            tracing::debug!(%error, "cannot tell the client that its request failed");
        }
        FailToProxy {
            error_code: code,
            can_reuse_downstream: false,
        }
    }

    fn suppress_error_log(&self, _: &Session, _: &Request, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Request,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

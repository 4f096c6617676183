//! What happens to one request, in the hooks of the proxy library.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    LOCATION, RETRY_AFTER, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, UPGRADE,
    WWW_AUTHENTICATE,
};
use ::http::request::Parts as ReqParts;
use ::http::{HeaderMap, Method, StatusCode, Uri, Version};
use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::v1::server::HttpSession as SessionV1;
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use regex::Regex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use smallvec::SmallVec;
use tokio::time::{Instant, timeout};

use super::compress::Encoder;
use super::counters::Wire;
use super::handle::{Handle, OpenSocket};
use super::head;
use super::lease::{Lease, Refused};
use super::rescue::{self, Budget, Wait};
use super::routing::{self, Criteria, Failure, HTML, Tried};
use super::socket::{self, Waiting};
use super::waiting::Queued;
use crate::config::Config;
use crate::headers::{self, Hop, Incoming, Told};
use crate::log::{AccessLog, Entry, UpstreamEntry};
use crate::route::{self, CallEnd, CallStatus, Facts, Outcome, RequestPath, Scheme, Target};

/// The decisions of the proxy; the library carries them out.
pub(super) struct Service {
    /// Which of the threads it works on.
    thread: usize,
    config: Arc<Config>,
    handle: Handle,
    budget: Arc<Budget>,
    compressed: Option<Regex>,
    /// For targets whose certificates are not looked at: the library wants an authority for them
    /// all the same, and there may be no other.
    nobody: Arc<CaType>,
}

/// Checks what of the settings only this way uses.
pub(super) fn check(config: &Config) -> Result<(), super::Error> {
    compressed_types(config)?;
    let own = &config.own_headers;
    let (tls, value) = own.tls.clone().unzip();
    for name in [&own.client_ip, &own.request_id, &tls]
        .into_iter()
        .flatten()
    {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(super::Error::Header { text: name.clone() });
        }
    }
    for value in [&own.transport_security, &value].into_iter().flatten() {
        if HeaderValue::from_str(value).is_err() {
            return Err(super::Error::Header {
                text: value.clone(),
            });
        }
    }
    Ok(())
}

fn compressed_types(config: &Config) -> Result<Option<Regex>, super::Error> {
    let Some(pattern) = &config.compressed_types else {
        return Ok(None);
    };
    let compiled = Regex::new(pattern);
    compiled
        .map(Some)
        .map_err(|error| super::Error::CompressedTypes {
            pattern: pattern.clone(),
            reason: error.to_string(),
        })
}

/// What is remembered of a request from hook to hook.
#[derive(Default)]
pub(super) struct Request {
    lease: Option<Lease>,
    tried: Tried,
    /// When the last target was chosen, until it has answered.
    asked: Option<Instant>,
    /// When the last target was chosen.
    since: Option<Instant>,
    /// The answer was none that the client gets, but counts as a failure.
    passed_over: Option<StatusCode>,
    /// How many more targets may be tried.
    left: usize,
    /// The connection to the target waited for this request.
    is_kept: bool,
    body_bytes: u64,
    began: Option<Instant>,
    encoder: Option<Encoder>,
    /// It became a WebSocket.
    socket: Option<OpenSocket>,
    /// What the trailers of a call of gRPC say.
    call: Option<CallStatus>,
}

impl Service {
    pub(super) fn new(
        thread: usize,
        config: Arc<Config>,
        handle: Handle,
        budget: Arc<Budget>,
    ) -> Service {
        // It was checked before anything was started.
        let compressed = compressed_types(&config).unwrap_or_default();
        Service {
            thread,
            config,
            handle,
            budget,
            compressed,
            nobody: nobody().into(),
        }
    }

    fn try_lease(&self, session: &Session, cx: &Request) -> Result<Lease, Refused> {
        ask(session, |asked| {
            cx.tried.lease(&self.config, &self.handle, asked, false)
        })
    }

    /// A target for a request, which may have to wait for it.
    async fn lease(&self, session: &Session, cx: &Request) -> Result<Lease, Refused> {
        let turn = match self.try_lease(session, cx) {
            Err(Refused::Wait(turn)) => turn,
            other => return other,
        };
        let Some(_queued) = Queued::enter(&self.handle, &turn) else {
            return Err(Refused::NoTarget);
        };
        let end = Instant::now() + turn.time;
        loop {
            let mut changed = pin!(self.handle.changed().notified());
            // Listen before trying, so that nothing is missed.
            changed.as_mut().enable();
            match self.try_lease(session, cx) {
                Err(Refused::Wait(_)) => {}
                other => return other,
            }
            if tokio::time::timeout_at(end, changed).await.is_err() {
                return Err(Refused::NoTarget);
            }
        }
    }

    /// Counts an attempt that has ended.
    fn count(&self, cx: &Request, outcome: Outcome, is_repeated: bool) {
        if let Some(lease) = &cx.lease {
            let meter = lease.target().meter();
            let took = cx.since.map_or(Duration::ZERO, |since| since.elapsed());
            meter.ended(self.thread, outcome, took);
            if is_repeated {
                meter.retried(self.thread);
            }
        }
    }

    /// Counts a call of gRPC that has ended.
    fn count_call(&self, session: &Session, error: Option<&Error>, cx: &Request) {
        let answer = session.response_written();
        let told = answer.and_then(|answer| answer.headers.get(GRPC_STATUS));
        let told = told.map(|status| CallStatus::told(status.as_bytes()));
        let status = cx.call.or(told).unwrap_or_else(|| {
            let end = match error.map(Error::esource) {
                None => CallEnd::Whole,
                Some(ErrorSource::Downstream) => CallEnd::Left,
                Some(_) => CallEnd::Failed,
            };
            CallStatus::guessed(answer.map(|answer| answer.status.as_u16()), end)
        });
        let took = cx.began.map(|began| began.elapsed()).unwrap_or_default();
        let calls = &self.handle.counters().calls;
        calls.ended(self.thread, status, took);
    }

    /// Notes that the target of a request failed it.
    fn failed(&self, header: &RequestHeader, cx: &Request) {
        if let Some(lease) = &cx.lease {
            let path = RequestPath::new(header.uri.path());
            let upstream = lease.target().upstream();
            rescue::failed(&self.config, &self.handle, (host(header), &path), upstream);
        }
    }

    /// Looks whether an answer counts as a failure of its target.
    ///
    /// # Errors
    /// If another target is to be asked instead.
    fn judge(&self, session: &Session, answer: &ResponseHeader, cx: &mut Request) -> Result<()> {
        let Some(lease) = &cx.lease else {
            return Ok(());
        };
        let (target, status) = (lease.target(), answer.status);
        if status.is_informational() {
            return Ok(());
        }
        if !routing::is_failure(&self.config, target.policy(), status) {
            target.upstream().health().succeeded();
            return Ok(());
        }
        let serial = target.upstream().serial();
        let is_passed_over = cx.left > 0
            && cx.tried.may_repeat(Failure::Status(status))
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none()
            && self.budget.has_left()
            && ask(session, |asked| {
                cx.tried.has_other(&self.handle, asked, serial)
            });
        if !is_passed_over {
            return Ok(());
        }
        cx.passed_over = Some(status);
        let reason = "its answer is a failure";
        Err(Error::explain(ErrorType::HTTPStatus(status.as_u16()), reason).into_up())
    }

    /// Lets a request wait for the first of an answer only as long as it is worth it.
    fn watch(&self, session: &Session, cx: &Request) {
        let header = session.req_header();
        let client = session.digest().and_then(socket::client);
        let (Some(client), Some(lease)) = (client, &cx.lease) else {
            return;
        };
        // Requests of the newer version share their connection: none may leave by an error on it.
        let may_leave = cx.left > 0
            && !session.is_http2()
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
            peer.options.ca = Some(self.nobody.clone());
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
    async fn answer(&self, session: &mut Session, status: StatusCode) -> Result<()> {
        self.answer_with(session, status, None).await
    }

    async fn answer_with(
        &self,
        session: &mut Session,
        status: StatusCode,
        header: Option<(HeaderName, String)>,
    ) -> Result<()> {
        if is_grpc(session.req_header()) {
            return answer_call(session, status).await;
        }
        let page = self.handle.error_page(status).unwrap_or_default();
        let mut response = ResponseHeader::build(status, Some(3))?;
        response.insert_header(CONTENT_LENGTH, page.len())?;
        if !page.is_empty() {
            response.insert_header(CONTENT_TYPE, HeaderValue::from_static(HTML))?;
        }
        if let Some((name, value)) = header {
            response.insert_header(name, value)?;
        }
        if routing::comes_again(status) {
            response.insert_header(RETRY_AFTER, HeaderValue::from_static("1"))?;
        }
        send(session, response, page).await
    }

    /// What asks for the credentials that a request lacks for a scheme; none if it has them. A
    /// scheme that there is not lets nobody in and asks for nothing.
    async fn challenge(&self, session: &Session, scheme: Option<&str>) -> Option<Option<String>> {
        let Some(scheme) = self.config.schemes.scheme(scheme?) else {
            return Some(None);
        };
        let header = session.req_header().headers.get(AUTHORIZATION);
        let given = header.map(|header| header.as_bytes().to_vec());
        let is_in = match given {
            None => false,
            Some(given) if scheme.is_known(&given) => true,
            Some(given) => {
                // It may take long, and other requests wait on this thread.
                let scheme = scheme.clone();
                let checked = tokio::task::spawn_blocking(move || scheme.admits(&given)).await;
                checked.unwrap_or(false)
            }
        };
        (!is_in).then(|| Some(scheme.challenge()))
    }

    /// Sets the headers of a request that are the proxy's own.
    fn tell_own(&self, request: &mut RequestHeader, hop: &Hop) -> Result<()> {
        let own = &self.config.own_headers;
        if let Some(name) = &own.client_ip
            && Told::of(name.as_bytes()).is_none()
        {
            request.insert_header(name.clone(), hop.address().to_string())?;
        }
        if let Some(name) = &own.request_id {
            request.insert_header(name.clone(), self.handle.request_id().to_string())?;
        }
        if let Some((name, value)) = &own.tls {
            if hop.is_tls() {
                request.insert_header(name.clone(), value.clone())?;
            } else {
                request.remove_header(name.as_str());
            }
        }
        Ok(())
    }

    /// Answers a request without a route, with the page if there is one.
    async fn answer_no_route(&self, session: &mut Session) -> Result<()> {
        self.handle.on_unrouted();
        if is_grpc(session.req_header()) {
            self.handle.counters().unrouted(Wire::Grpc);
        }
        let status = routing::refusal(&self.config, &Refused::NoRoute);
        let page = self.handle.no_route_page();
        if page.is_empty() || is_grpc(session.req_header()) {
            return self.answer(session, status).await;
        }
        let page = (HTML, Bytes::clone(&page));
        Service::answer_text(session, status, page).await
    }

    /// Answers a request with a text of the proxy's own.
    async fn answer_text(
        session: &mut Session,
        status: StatusCode,
        (kind, text): (&'static str, Bytes),
    ) -> Result<()> {
        let mut response = ResponseHeader::build(status, Some(2))?;
        response.insert_header(CONTENT_LENGTH, text.len())?;
        response.insert_header(CONTENT_TYPE, HeaderValue::from_static(kind))?;
        send(session, response, text).await
    }

    /// Answers a request that its route does not send on: the client may not use it, or is told to
    /// go elsewhere. `false` if it is to be sent on.
    async fn stop(&self, session: &mut Session, target: &Target) -> Result<bool> {
        let options = target.options();
        let path = RequestPath::new(session.req_header().uri.path());
        let redirect = target.redirect(&asked(session, &path));
        if !options.access.is_open() && !options.access.admits(addresses(session)) {
            self.answer(session, StatusCode::FORBIDDEN).await?;
        } else if let Some(challenge) = self.challenge(session, options.auth.as_deref()).await {
            let header = challenge.map(|challenge| (WWW_AUTHENTICATE, challenge));
            self.answer_with(session, StatusCode::UNAUTHORIZED, header)
                .await?;
        } else if let Some((status, location)) = redirect {
            self.handle.counters().redirected(status);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
            self.answer_with(session, status, Some((LOCATION, location)))
                .await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn is_too_large(&self, bytes: u64) -> bool {
        self.config.request_body_max.is_some_and(|max| bytes > max)
    }
}

/// What texts of the proxy's own are.
const PLAIN_TEXT: &str = "text/plain";

/// An authority whose key was never kept.
const NOBODY: &[u8] = b"\
-----BEGIN CERTIFICATE-----
MIIBdjCCAR2gAwIBAgIURfAMrMbeuADWM+ctLEEd0OH4P+gwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MB4XDTI2MTEyMjA4MzAzOVoXDTI2MTEyMzA4MzAz
OVowETEPMA0GA1UEAwwGbm9ib2R5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
2IPi67zAOVFKgR+K6R2CmzGRE3ENBtA6avQeexsiHnXGCbE5gTgr8Bt+Z4wkG7Qt
b2PG3WZOO6AQ33YOPYjPrqNTMFEwHQYDVR0OBBYEFOtWcaAbVF/HvaeTIdmlb+9S
VPLHMB8GA1UdIwQYMBaAFOtWcaAbVF/HvaeTIdmlb+9SVPLHMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgOxvu1zCqTNQ7haSMRe0/+8me2ODf0ypF
D4Z9i7ikc8wCIEJiG5odv97Bb7uWGTKJgChjbUtPy1BxjJy8Q6wdTbmW
-----END CERTIFICATE-----
";

fn nobody() -> Vec<WrappedX509> {
    let certificate = CertificateDer::from_pem_slice(NOBODY);
    let certificate = certificate.map(|certificate| certificate.to_vec());
    let certificates = certificate.into_iter();
    certificates
        .map(|certificate| WrappedX509::new(certificate, parse_x509))
        .collect()
}

/// Whether an answer makes a WebSocket of the connection.
fn is_socket(response: &ResponseHeader) -> bool {
    let upgrade = response.headers.get(UPGRADE).map(HeaderValue::as_bytes);
    upgrade.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"))
}

/// Names the host of a call, for which its authority is not asked then.
const GRPC_HOST: &str = "dsthost";

/// What calls are of.
const GRPC: &[u8] = b"application/grpc";
/// How a call ended, in a trailer, or in the head of an answer that has nothing else.
const GRPC_STATUS: &str = "grpc-status";

fn is_grpc(header: &RequestHeader) -> bool {
    let content = header.headers.get(CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(GRPC))
}

/// Whether it is a call whose status stands where others can see it: that of a browser's dialect is
/// in the body.
fn is_counted_call(header: &RequestHeader) -> bool {
    let content = header.headers.get(CONTENT_TYPE);
    let rest = content.and_then(|content| content.as_bytes().strip_prefix(GRPC));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Answers a call of gRPC that goes to no target: its status stands in headers of its own.
async fn answer_call(session: &mut Session, status: StatusCode) -> Result<()> {
    let (code, message) = match status.as_u16() {
        400 => ("3", "invalid request"),
        401 => ("16", "authorization failed"),
        403 => ("7", "access denied"),
        404 => ("5", "no route found"),
        408 | 504 => ("4", "no answer in time"),
        413 => ("8", "the message is too large"),
        429 => ("8", "too many requests"),
        502 | 503 => ("14", "no server can be reached"),
        500.. => ("13", "internal error"),
        _ => ("2", "unknown error"),
    };
    let mut response = ResponseHeader::build(StatusCode::OK, Some(3))?;
    response.insert_header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))?;
    response.insert_header(GRPC_STATUS, code)?;
    response.insert_header("grpc-message", message)?;
    // A stream that ends while the client still sends looks like one that was broken off.
    let rest = session.as_downstream_mut().drain_request_body();
    drop(timeout(CALL_REST_WAIT_MAX, rest).await);
    send(session, response, Bytes::new()).await
}

/// Sends an answer of the proxy's own, without its body where none is asked for.
async fn send(session: &mut Session, answer: ResponseHeader, body: Bytes) -> Result<()> {
    let has_body = !body.is_empty() && session.req_header().method != Method::HEAD;
    session
        .write_response_header(Box::new(answer), !has_body)
        .await?;
    if has_body {
        session.write_response_body(Some(body), true).await?;
    }
    if session.is_http2() {
        // After a failure, the library would break the stream off instead.
        session.as_downstream_mut().finish_body().await?;
    }
    Ok(())
}

/// How long the rest of a call is waited for that goes to no target.
const CALL_REST_WAIT_MAX: Duration = Duration::from_millis(500);

/// Writes a request down that has ended.
fn note(log: &AccessLog, session: &Session, cx: &Request) {
    let header = session.req_header();
    let client = session.digest().and_then(socket::client);
    let Some(client) = client else { return };
    let status = session
        .response_written()
        .map(|answer| answer.status.as_u16());
    let find = |name: &str| {
        let value = header.headers.get(name)?.to_str().ok()?;
        Some(Cow::Borrowed(value))
    };
    let (path, query) = (header.uri.path(), header.uri.query().unwrap_or_default());
    let uri = header.uri.path_and_query();
    let uri = uri.map_or(path, |uri| uri.as_str());
    let upstream = cx.lease.as_ref().map(|lease| {
        let target = lease.target();
        let sent = lease.forwarded(path, query);
        UpstreamEntry {
            address: target.address(),
            scheme: target.destination().scheme.as_str(),
            uri: sent.map_or(Cow::Borrowed(uri), Cow::Owned),
            service: target.service(),
        }
    });
    log.add(&Entry {
        ended: SystemTime::now(),
        took: cx.began.map(|began| began.elapsed()).unwrap_or_default(),
        remote: client.peer(),
        is_tls: client.hop().is_tls(),
        method: header.method.as_str(),
        uri,
        host: host(header),
        proto: match header.version {
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        header: &find,
        // The client went away before there was an answer.
        status: status.unwrap_or(499),
        body_bytes: session.body_bytes_sent() as u64,
        upstream,
    });
}

/// What of a request decides on its route.
fn asked<'a>(session: &'a Session, path: &'a RequestPath<'a>) -> route::Request<'a> {
    let header = session.req_header();
    let client = session.digest().and_then(socket::client);
    let named = header.headers.get(GRPC_HOST).filter(|_| is_grpc(header));
    let named = named.and_then(|host| host.to_str().ok());
    let proto = header.headers.get(Told::Proto.name());
    route::Request {
        host: named.unwrap_or_else(|| host(header)),
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
        None => match &target.destination().name {
            Some(name) => name.clone(),
            None => target.address().ip().to_string(),
        },
    }
}

/// Says what the target of a request is chosen by.
fn ask<R>(session: &Session, tell: impl FnOnce(&Criteria<'_>) -> R) -> R {
    let request = session.req_header();
    let path = RequestPath::new(request.uri.path());
    let header = |name: &str| request.headers.get(name).map(HeaderValue::as_bytes);
    let client = session.digest().and_then(socket::client);
    tell(&Criteria {
        request: asked(session, &path),
        client: client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| {
            client.peer().ip()
        }),
        facts: Facts {
            method: request.method.as_str(),
            path: path.decoded(),
            query: request.uri.query().unwrap_or_default(),
            header: &header,
        },
    })
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
    (authority, headers): (Option<&str>, &HeaderMap),
    hop: &Hop,
    strip: Option<&str>,
) -> Result<()> {
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    let mut incoming = Incoming::new(host.or_else(|| authority.map(str::as_bytes)));
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
        cx.began = Some(Instant::now());
        let mut is_believed = true;
        if let Some(client) = session.digest().and_then(socket::client) {
            client.on_head();
            is_believed = self.config.believes(client.hop().address());
        }
        let raw = session.as_http1().map(SessionV1::get_headers_raw_bytes);
        let header = session.req_header_mut();
        if let Err(reason) = head::check(header, &raw.unwrap_or_default()) {
            tracing::debug!(reason, "request refused");
            session.set_keepalive(None);
            self.answer(session, StatusCode::BAD_REQUEST).await?;
            return Ok(true);
        }
        if !is_believed {
            for told in Told::ALL {
                header.remove_header(told.name());
            }
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
        let limits = session.digest().and_then(socket::client);
        let limits = limits.map(socket::Client::limits);
        let (client, idle) = limits.map_or(
            (self.config.client_timeout, self.config.client_idle_timeout),
            |limits| (limits.client, limits.idle),
        );
        if session.is_upgrade_req() {
            session.set_read_timeout(None);
        } else {
            session.set_read_timeout(Some(client));
        }
        if self.handle.is_leaving() {
            session.set_keepalive(None);
        }
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(idle.as_secs().max(1)));
        }
        if content_length(session.req_header()).is_some_and(|bytes| self.is_too_large(bytes)) {
            session.set_keepalive(None);
            self.answer(session, StatusCode::PAYLOAD_TOO_LARGE).await?;
            return Ok(true);
        }
        if let Some(answer) = self
            .config
            .challenges
            .answer(session.req_header().uri.path())
        {
            Service::answer_text(session, StatusCode::OK, (PLAIN_TEXT, answer.into())).await?;
            return Ok(true);
        }
        self.budget.on_request();
        cx.tried = Tried::of(&session.req_header().method);
        let refused = match self.lease(session, cx).await {
            Ok(lease) => {
                // The first attempt is no repetition.
                cx.left = routing::retries(&self.config, lease.target().policy()) + 1;
                let target = lease.target().clone();
                cx.lease = Some(lease);
                return self.stop(session, &target).await;
            }
            Err(Refused::NoRoute) => {
                self.answer_no_route(session).await?;
                return Ok(true);
            }
            Err(refused) => routing::refusal(&self.config, &refused),
        };
        self.answer(session, refused).await?;
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
            cx.lease = Some(self.lease(session, cx).await.map_err(refused)?);
        }
        cx.asked = Some(Instant::now());
        cx.since = cx.asked;
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
        let uri = lease.forwarded(path, query);
        if let Some(authority) = header.uri.authority()
            && !upstream_request.headers.contains_key(HOST)
        {
            // The newer version of HTTP says it so; it would be lost with the rest of the URI.
            let authority = authority.as_str().to_owned();
            upstream_request.insert_header(HOST, authority)?;
        }
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
            let authority = header.uri.authority().map(|authority| authority.as_str());
            let told = (authority, &header.headers);
            tell(upstream_request, told, client.hop(), strip)?;
            self.tell_own(upstream_request, client.hop())?;
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
            health.answered(self.handle.now_us(), asked.elapsed());
        }
        if let Some(client) = session.digest().and_then(socket::client) {
            client.wait(None);
        }
        self.judge(session, response, cx)?;
        if let Some(cookie) = cx.tried.cookie() {
            response.append_header(SET_COOKIE, cookie)?;
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            if session.is_upgrade_req() {
                cx.socket = is_socket(response).then(|| self.handle.open_socket());
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
        clean(response)?;
        let client = session.digest().and_then(socket::client);
        if let Some(value) = &self.config.own_headers.transport_security
            && client.is_some_and(|client| client.hop().is_tls())
        {
            response.insert_header(STRICT_TRANSPORT_SECURITY, value.clone())?;
        }
        if let Some(types) = &self.compressed {
            cx.encoder = Encoder::of(types, session.req_header(), response)?;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        cx: &mut Request,
    ) -> Result<Option<Duration>> {
        if let Some(encoder) = &mut cx.encoder {
            let encoded = encoder.push(body.as_deref(), end_of_stream);
            let encoded = encoded.map_err(|error| {
                Error::because(
                    ErrorType::InternalError,
                    "an answer cannot be compressed",
                    error,
                )
            })?;
            *body = Some(encoded);
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        cx: &mut Request,
    ) -> Result<Option<Bytes>> {
        let told = trailers.get(GRPC_STATUS);
        cx.call = told.map(|status| CallStatus::told(status.as_bytes()));
        Ok(None)
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, cx: &mut Request) {
        let answer = session.response_written().map(|answer| answer.status);
        if let (None, Some(status), Some(_)) = (error, answer, cx.since) {
            self.count(cx, Outcome::Status(status.as_u16()), false);
        }
        if is_counted_call(session.req_header()) {
            self.count_call(session, error, cx);
        }
        if let Some(log) = &self.config.access_log {
            note(log, session, cx);
        }
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
        self.count(cx, Outcome::Refused, cx.left > 0);
        if let Some(lease) = cx.lease.take() {
            rescue::unreachable(&self.handle, lease.target().upstream());
        }
        error.set_retry(cx.left > 0);
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
        let passed_over = cx.passed_over.take().map(Failure::Status);
        let failure = passed_over.or(left).unwrap_or_else(|| failure(&error));
        // That a connection which waited has ended says nothing of its target.
        let is_stale = cx.is_kept && cx.asked.is_some() && failure == Failure::Broken;
        if is_upstream && !is_stale {
            self.failed(session.req_header(), cx);
        }
        let repeatable = (is_upstream || left.is_some())
            && cx.left > 0
            && cx.tried.may_repeat(failure)
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none()
            && (is_stale || self.budget.take());
        let outcome = match failure {
            Failure::Status(status) => Outcome::Status(status.as_u16()),
            _ if is_upstream || left.is_some() => Outcome::Failed,
            _ => Outcome::Left,
        };
        self.count(cx, outcome, repeatable);
        cx.since = None;
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
            && let Err(error) = self.answer(session, status).await
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

//! A plain request on its way to a target, and the answer on its way back.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::{Method, StatusCode};
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::answer::{self, Asked, Final, Head};
use super::connection::{After, Connection};
use super::local::Date;
use super::request::Plain;
use crate::headers;
use crate::http::body::{Body, Coding};
use crate::http::lease::{Lease, Refused};
use crate::http::rescue::{self, Verdict, Wait};
use crate::http::routing::{self, Criteria, Failure, Tried};
use crate::http::waiting::{Queued, Turn};
use crate::route::{Facts, Outcome, Request, RequestPath, Target, Upstream};

/// How many interim answers a target may send before its answer.
const INTERIM_MAX: u32 = 64;

/// How long an answer may take before the connection of a client that came with this request is
/// watched for its end.
const WATCH_AFTER: Duration = Duration::from_millis(50);

/// Content is copied behind what is before it up to so many bytes; more goes out from where it was
/// read.
const COPY_BYTES_MAX: usize = 4 << 10;

/// Why an exchange ended before the answer was whole.
#[derive(Debug)]
enum Broken {
    /// The target failed.
    Target(Failure, &'static str),
    /// The client is gone, or takes nothing.
    Client,
}

/// How an answer ended.
struct Whole {
    keeps_upstream: bool,
    keeps_client: bool,
}

impl Connection {
    /// Carries a request that is at the start of the bytes to a target, and the answer back.
    pub(super) async fn exchange(&mut self, plain: &Plain) -> After {
        // The library takes out what is not believed.
        if plain.tells() && !self.local.config.believes(self.hop.address()) {
            return After::Doubtful;
        }
        let method = plain.method(&self.bytes);
        let mut tried = Tried::of(&method);
        self.local.budget.on_request();
        let mut attempts = 0;
        loop {
            self.note_target(None);
            let lease = match self.lease(plain, &tried).await {
                Ok(lease) => lease,
                Err(Refused::NotPlain) if tried.is_empty() => return After::Doubtful,
                Err(_) if !tried.is_empty() => break,
                // The library has the page.
                Err(Refused::NoRoute) if !self.local.handle.no_route_page().is_empty() => {
                    return After::Doubtful;
                }
                Err(refused) => {
                    if matches!(refused, Refused::NoRoute) {
                        self.local.handle.on_unrouted();
                    }
                    let status = routing::refusal(&self.local.config, &refused);
                    // As behind us, a body that nobody wants ends the connection.
                    let keeps = !plain.is_last() && plain.body_bytes() == 0;
                    return self.answer(plain, status, keeps).await;
                }
            };
            self.note_target(Some(&lease));
            let target = lease.target();
            let upstream = target.upstream();
            let most = routing::retries(&self.local.config, target.policy());
            let is_last = attempts >= most;
            attempts += 1;
            let connected = match self.upstream(upstream, &method, tried.is_empty()).await {
                Ok(connected) => connected,
                Err(failure) => {
                    rescue::unreachable(&self.local.handle, upstream);
                    tried.unreachable(upstream.serial(), failure);
                    self.count(&lease, Outcome::Refused, Duration::ZERO, !is_last);
                    if is_last {
                        break;
                    }
                    continue;
                }
            };
            let Connected { stream, is_kept } = connected;
            let may_leave = !is_last && tried.may_repeat(Failure::Suspected);
            let Ok(mut relay) = self.begin((plain, &tried), &lease, stream, may_leave) else {
                return After::Doubtful;
            };
            let result = poll_fn(|cx| relay.poll(cx)).await;
            let since = relay.wait.since();
            match result {
                Ok(whole) => {
                    let outcome = Outcome::Status(relay.status.as_u16());
                    let took = relay.since.saturating_duration_since(since);
                    let after = relay.end(whole, &lease);
                    self.count(&lease, outcome, took, false);
                    return after;
                }
                Err(Broken::Client) => {
                    relay.abandon(Failure::Broken);
                    self.count(&lease, Outcome::Left, since.elapsed(), false);
                    return After::Ended;
                }
                Err(Broken::Target(failure, reason)) => {
                    let has_answered = relay.has_answered;
                    // That a connection which waited has ended says nothing of its target.
                    let is_stale = is_kept && !relay.is_heard && failure == Failure::Broken;
                    relay.abandon(failure);
                    if !is_stale {
                        self.failed(plain, upstream, failure);
                    }
                    tried.broken(upstream.serial(), failure);
                    let is_repeated = !has_answered
                        && !is_last
                        && tried.may_repeat(failure)
                        && (is_stale || self.local.budget.take());
                    let outcome = match failure {
                        Failure::Status(status) => Outcome::Status(status.as_u16()),
                        _ => Outcome::Failed,
                    };
                    self.count(&lease, outcome, since.elapsed(), is_repeated);
                    if has_answered {
                        return After::Ended;
                    }
                    if !is_repeated {
                        tracing::warn!(
                            reason,
                            code = failure.status().as_u16(),
                            target = %upstream.address(),
                            "request failed"
                        );
                        break;
                    }
                    tracing::debug!(reason, "asking another target");
                }
            }
        }
        self.answer(plain, tried.status(), false).await
    }

    /// Counts an attempt, and how long it took from when an answer was waited for.
    fn count(&self, lease: &Lease, outcome: Outcome, took: Duration, is_repeated: bool) {
        let meter = lease.target().meter();
        meter.ended(self.local.number, outcome, took);
        if is_repeated {
            meter.retried(self.local.number);
        }
    }

    /// A target for a request, which may have to wait for it.
    async fn lease(&mut self, plain: &Plain, tried: &Tried) -> Result<Lease, Refused> {
        match self.try_lease(plain, tried) {
            Err(Refused::Wait(turn)) => Box::pin(self.lease_later(plain, tried, turn)).await,
            other => other,
        }
    }

    /// A target for a request that waits for its turn.
    async fn lease_later(
        &mut self,
        plain: &Plain,
        tried: &Tried,
        turn: Turn,
    ) -> Result<Lease, Refused> {
        let local = self.local.clone();
        let Some(_queued) = Queued::enter(&local.handle, &turn) else {
            return Err(Refused::NoTarget);
        };
        self.timer.set_after(turn.time);
        loop {
            let mut changed = pin!(local.handle.changed().notified());
            // Listen before trying, so that nothing is missed.
            changed.as_mut().enable();
            match self.try_lease(plain, tried) {
                Err(Refused::Wait(_)) => {}
                other => return other,
            }
            let is_late = poll_fn(|cx| {
                if changed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                self.timer.poll(cx).map(|()| true)
            });
            if is_late.await {
                return Err(Refused::NoTarget);
            }
        }
    }

    fn try_lease(&self, plain: &Plain, tried: &Tried) -> Result<Lease, Refused> {
        let path = RequestPath::new(plain.path(&self.bytes));
        self.ask(plain, &path, |asked| {
            tried.lease(&self.local.config, &self.local.handle, asked, true)
        })
    }

    /// Says what a target is chosen by.
    fn ask<R>(
        &self,
        plain: &Plain,
        path: &RequestPath<'_>,
        tell: impl FnOnce(&Criteria<'_>) -> R,
    ) -> R {
        let bytes = &*self.bytes;
        let header = |name: &str| plain.header(bytes, name);
        tell(&Criteria {
            request: Request {
                host: plain.host(bytes),
                path,
                query: plain.query(bytes),
                is_tls: self.hop.is_tls(),
                forwarded_scheme: plain.forwarded_scheme(bytes),
            },
            client: self.accepted.peer.ip(),
            facts: Facts {
                method: plain.method_text(bytes),
                path: path.decoded(),
                query: plain.query(bytes),
                header: &header,
            },
        })
    }

    /// Notes that a target failed a request.
    fn failed(&self, plain: &Plain, upstream: &Upstream, failure: Failure) {
        if !matches!(failure, Failure::Suspected | Failure::Lost) {
            let path = RequestPath::new(plain.path(&self.bytes));
            let request = (plain.host(&self.bytes), &path);
            let local = &self.local;
            rescue::failed(&local.config, &local.handle, request, upstream);
        }
    }

    /// A connection to an upstream: one that waits, if `may_wait`, or a new one.
    async fn upstream(
        &mut self,
        upstream: &Upstream,
        method: &Method,
        may_wait: bool,
    ) -> Result<Connected, Failure> {
        let waiting = poll_fn(|cx| {
            let mut pool = self.local.pool.borrow_mut();
            Poll::Ready(pool.take(upstream, Instant::now(), cx))
        });
        if may_wait
            && let Some(stream) = waiting.await
            // What cannot be repeated is worth a question to the system.
            && (method.is_idempotent() || is_quiet(&stream))
        {
            return Ok(Connected {
                stream,
                is_kept: true,
            });
        }
        self.timer.set_after(self.local.config.connect_timeout);
        let mut connect = Box::pin(connect(upstream.address()));
        poll_fn(|cx| {
            if let Poll::Ready(result) = connect.as_mut().poll(cx) {
                let connected = result.map(|stream| Connected {
                    stream,
                    is_kept: false,
                });
                return Poll::Ready(connected.map_err(|_| Failure::Broken));
            }
            ready!(self.timer.poll(cx));
            Poll::Ready(Err(Failure::Silent))
        })
        .await
    }

    /// Writes a request for its target, as much as goes out at once. An error means that the target
    /// of the request cannot be written as the route wants.
    fn begin<'c>(
        &'c mut self,
        (plain, tried): (&'c Plain, &'c Tried),
        lease: &'c Lease,
        stream: TcpStream,
        may_leave: bool,
    ) -> Result<Relay<'c>, ()> {
        let target = lease.target();
        let (raw, query) = (plain.path(&self.bytes), plain.query(&self.bytes));
        let uri = lease.forwarded(raw, query);
        if uri
            .as_ref()
            .is_some_and(|uri| !uri.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(());
        }
        let mut unsent = self.local.buffer();
        let told = |out: &mut Vec<u8>| {
            let mut replaced = SmallVec::new();
            let incoming = plain.incoming(&self.bytes);
            let strip = target.options().strip.as_deref();
            headers::forwarding(&incoming, &self.hop, strip, |told, pieces| {
                replaced.push(told);
                out.extend_from_slice(told.name().as_bytes());
                out.extend_from_slice(b": ");
                for piece in pieces {
                    out.extend_from_slice(piece);
                }
                out.extend_from_slice(b"\r\n");
            });
            self.local.own.write(&self.hop, &self.local.handle, out);
            replaced
        };
        plain.write(
            &self.bytes,
            (uri.as_deref(), target.host_header()),
            told,
            &mut unsent,
        );
        let now = Instant::now();
        let wait = Wait::begin(target.upstream(), now);
        let is_known = self.accepted.stream.is_known();
        let mut deadline = wait.first_look().min(now + self.silence_max());
        if !is_known {
            deadline = deadline.min(now + WATCH_AFTER);
        }
        self.timer.set(deadline);
        self.local.asks(self.number, may_leave);
        Ok(Relay {
            plain,
            tried,
            target,
            upstream: target.upstream(),
            status: StatusCode::OK,
            wait,
            since: now,
            may_leave,
            is_heard: false,
            stream,
            unsent: Rest::new(unsent),
            unwritten: Rest::new(Vec::new()),
            head: Vec::new(),
            state: State::Head { interim: 0 },
            is_sound: true,
            has_answered: false,
            is_watching: true,
            is_slow: is_known,
            waits_for_client: false,
            connection: self,
        })
    }

    /// The longest silence of a target.
    fn silence_max(&self) -> Duration {
        // Requests without such a bound are not carried here.
        self.local.config.response_timeout.unwrap_or_default()
    }
}

/// A connection to a target.
struct Connected {
    stream: TcpStream,
    /// It waited for this request.
    is_kept: bool,
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// Whether nothing has come on a connection, not even its end.
fn is_quiet(stream: &TcpStream) -> bool {
    let peeked = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Bytes of which some were written.
struct Rest {
    bytes: Vec<u8>,
    at: usize,
}

impl Rest {
    fn new(bytes: Vec<u8>) -> Rest {
        Rest { bytes, at: 0 }
    }

    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Writes as much as goes.
    fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let rest = &self.bytes[self.at..];
            self.at += ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
        }
        Poll::Ready(Ok(()))
    }
}

/// Where an answer is.
enum State {
    /// Before its head, after so many interim ones.
    Head { interim: u32 },
    /// In its body.
    Body {
        body: Body,
        coding: Coding,
        whole: Whole,
    },
    /// At its end.
    Whole(Whole),
}

/// A request on its way and its answer.
struct Relay<'c> {
    connection: &'c mut Connection,
    plain: &'c Plain,
    tried: &'c Tried,
    target: &'c Target,
    upstream: &'c Arc<Upstream>,
    /// The status of the answer, once its head is there.
    status: StatusCode,
    wait: Wait,
    /// When the request was sent, or the last of the answer came.
    since: Instant,
    /// The request may be given to another target.
    may_leave: bool,
    /// Something of the answer has come.
    is_heard: bool,
    /// To the target.
    stream: TcpStream,
    unsent: Rest,
    /// For the client.
    unwritten: Rest,
    /// The head of the answer as far as it came.
    head: Vec<u8>,
    state: State,
    /// The target has taken everything so far.
    is_sound: bool,
    /// The client got something.
    has_answered: bool,
    /// The client's connection is watched for its end.
    is_watching: bool,
    /// It has taken so long already that watching is worth its cost.
    is_slow: bool,
    /// The deadline is that of the client.
    waits_for_client: bool,
}

impl Relay<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Whole, Broken>> {
        loop {
            // Both ways at once: a target may answer before it has read everything.
            let sent = self.unsent.poll_write(&mut self.stream, cx);
            if let Poll::Ready(Err(_)) = sent {
                // It may have answered nevertheless.
                self.unsent.at = self.unsent.bytes.len();
                self.is_sound = false;
            }
            if !self.unwritten.is_empty() {
                ready!(self.poll_client(cx))?;
            }
            if let State::Whole(whole) = &self.state {
                return Poll::Ready(Ok(Whole { ..*whole }));
            }
            match self.poll_answer(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    if self.is_watching && self.is_client_gone(cx) {
                        return Poll::Ready(Err(Broken::Client));
                    }
                    self.look_for_loss()?;
                    ready!(self.connection.timer.poll(cx));
                    self.on_silence()?;
                }
            }
        }
    }

    /// Gives the client what waits for it.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let connection = &mut *self.connection;
        let before = self.unwritten.at;
        let written = self
            .unwritten
            .poll_write(&mut connection.accepted.stream, cx);
        if self.unwritten.at > before || !self.waits_for_client {
            let wait = connection.accepted.limits.client;
            connection.timer.set_after(wait);
        }
        self.waits_for_client = written.is_pending();
        match written {
            Poll::Ready(Ok(())) => {
                self.since = Instant::now();
                let deadline = self.since + connection.silence_max();
                connection.timer.set(deadline);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(Broken::Client)),
            Poll::Pending => {
                ready!(connection.timer.poll(cx));
                Poll::Ready(Err(Broken::Client))
            }
        }
    }

    /// Reads of the answer what there is, and passes it on.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let local = self.connection.local.clone();
        let mut scratch = local.scratch.borrow_mut();
        let scratch = &mut *scratch;
        let mut buffer = ReadBuf::new(&mut scratch.read);
        let broken = |_| Broken::Target(Failure::Broken, "its connection broke");
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).map_err(broken)?;
        let read = buffer.filled();
        let out = &mut scratch.write;
        out.clear();
        if !read.is_empty() {
            self.on_bytes();
        }
        let mut tail: &[u8] = &[];
        // A head that came in parts is put together.
        let mut held = std::mem::take(&mut self.head);
        if read.is_empty() {
            self.take_end(out)?;
        } else if matches!(self.state, State::Head { .. }) && !held.is_empty() {
            held.extend_from_slice(read);
            tail = self.take(&held, &mut scratch.date, out)?;
        } else {
            tail = self.take(read, &mut scratch.date, out)?;
        }
        if tail.len() <= COPY_BYTES_MAX {
            out.extend_from_slice(tail);
            tail = &[];
        }
        let result = self.write(out, tail, cx);
        local.give_back(held);
        Poll::Ready(result)
    }

    /// Something of the answer has come.
    fn on_bytes(&mut self) {
        let now = Instant::now();
        let local = &self.connection.local;
        if !std::mem::replace(&mut self.is_heard, true) {
            local.asks(self.connection.number, false);
            let took = now.saturating_duration_since(self.wait.since());
            let now_us = local.handle.at_us(now);
            self.upstream.health().answered(now_us, took);
        }
        self.since = now;
        let deadline = now + self.connection.silence_max();
        self.connection.timer.set(deadline);
    }

    /// Whether the request may be given to another target now.
    fn may_leave(&self) -> bool {
        self.may_leave && !self.is_heard && self.connection.local.budget.has_left()
    }

    /// Whether another target may be asked instead of taking an answer that counts as a failure.
    fn may_pass_over(&self) -> bool {
        let connection = &*self.connection;
        let path = RequestPath::new(self.plain.path(&connection.bytes));
        self.may_leave
            && !self.has_answered
            && connection.local.budget.has_left()
            && connection.ask(self.plain, &path, |asked| {
                let handle = &connection.local.handle;
                self.tried.has_other(handle, asked, self.upstream.serial())
            })
    }

    /// The target may have been found dead meanwhile.
    fn look_for_loss(&self) -> Result<(), Broken> {
        if self.wait.is_lost(self.upstream) && self.may_leave() {
            let reason = "it was found dead";
            return Err(Broken::Target(Failure::Lost, reason));
        }
        Ok(())
    }

    /// The target was silent until the deadline: the last one, or one to look whether others answer
    /// meanwhile.
    fn on_silence(&mut self) -> Result<(), Broken> {
        self.is_slow = true;
        let now = Instant::now();
        let end = self.since + self.connection.silence_max();
        if now >= end {
            return Err(Broken::Target(Failure::Silent, "it is silent"));
        }
        let mut next = end;
        if !self.is_heard {
            let Connection { local, bytes, .. } = &*self.connection;
            let path = RequestPath::new(self.plain.path(bytes));
            let request = (self.plain.host(bytes), &path);
            match self.wait.look(&local.handle, request, self.upstream, now) {
                Verdict::Wait(at) => next = at,
                Verdict::Leave(failure) if self.may_leave() => {
                    return Err(Broken::Target(failure, "it is silent while others answer"));
                }
                Verdict::Leave(_) => next = now + rescue::LOOK_INTERVAL,
            }
        }
        self.connection.timer.set(next.min(end));
        Ok(())
    }

    /// Gives the target up.
    fn abandon(self, failure: Failure) {
        let local = &self.connection.local;
        local.asks(self.connection.number, false);
        if failure == Failure::Suspected {
            local.overhear(self.upstream, self.stream);
        }
        for buffer in [self.unsent.bytes, self.unwritten.bytes, self.head] {
            local.give_back(buffer);
        }
    }

    /// The target has closed its connection.
    fn take_end(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        match std::mem::replace(&mut self.state, State::Head { interim: 0 }) {
            State::Body {
                body: Body::UntilClose,
                coding,
                whole,
            } => {
                coding.finish(out);
                self.state = State::Whole(whole);
                Ok(())
            }
            _ => Err(Broken::Target(
                Failure::Broken,
                "it closed the connection before the end of its answer",
            )),
        }
    }

    /// Takes bytes of the answer; what goes on is `out` and what is returned, in this order.
    fn take<'b>(
        &mut self,
        mut bytes: &'b [u8],
        date: &mut Date,
        out: &mut Vec<u8>,
    ) -> Result<&'b [u8], Broken> {
        let unclear = |reason| Broken::Target(Failure::Broken, reason);
        let config = self.connection.local.config.clone();
        let cookie = self.tried.cookie();
        let local = self.connection.local.clone();
        while let State::Head { interim } = &mut self.state {
            let asked = Asked {
                is_head: self.plain.method(&self.connection.bytes) == Method::HEAD,
                keeps: !self.plain.is_last() && self.connection.local.keeps(),
                date: date.now(),
                cookie: cookie.as_deref(),
                transport_security: local.own.transport_security(&self.connection.hop),
            };
            let head = answer::take(bytes, asked, out)
                .map_err(|answer::Malformed(reason)| unclear(reason))?;
            match head {
                Head::Partial if bytes.len() >= answer::HEAD_BYTES_MAX => {
                    return Err(unclear("the head of its answer is too large"));
                }
                Head::Partial => {
                    self.head = self.connection.local.buffer();
                    self.head.extend_from_slice(bytes);
                    return Ok(&[]);
                }
                Head::Interim(_) if *interim == INTERIM_MAX => {
                    return Err(unclear("it sends nothing but interim answers"));
                }
                Head::Interim(length) => {
                    *interim += 1;
                    bytes = &bytes[length..];
                    if bytes.is_empty() {
                        return Ok(&[]);
                    }
                }
                Head::Final(answer) => {
                    self.status = answer.status;
                    if routing::is_failure(&config, self.target.policy(), answer.status) {
                        if self.may_pass_over() {
                            let failure = Failure::Status(answer.status);
                            return Err(Broken::Target(failure, "its answer is a failure"));
                        }
                    } else {
                        self.upstream.health().succeeded();
                    }
                    self.connection.noted.status = Some(answer.status.as_u16());
                    bytes = &bytes[answer.bytes..];
                    self.state = self.answered(answer, bytes);
                }
            }
        }
        let State::Body {
            body,
            coding,
            whole,
        } = &mut self.state
        else {
            return Ok(&[]);
        };
        let coding = *coding;
        let body_bytes = &mut self.connection.noted.body_bytes;
        let taken = body.take(bytes, |content| {
            *body_bytes += content.len() as u64;
            if coding == Coding::Chunked && !content.is_empty() {
                coding.write(content, out);
            }
        });
        let taken = taken.map_err(|_| unclear("its body is not in chunks"))?;
        if taken.is_whole {
            coding.finish(out);
            // More than the answer: whose it is, nobody knows.
            let keeps_upstream = whole.keeps_upstream && taken.bytes == bytes.len();
            self.state = State::Whole(Whole {
                keeps_upstream,
                ..*whole
            });
        }
        let is_plain = coding == Coding::Plain;
        Ok(if is_plain { &bytes[..taken.bytes] } else { &[] })
    }

    /// The state behind the head of an answer, which `rest` follows.
    fn answered(&self, answer: Final, rest: &[u8]) -> State {
        // A request that is not sent whole is not followed by another one.
        let keeps_upstream = answer.keeps_upstream && self.unsent.is_empty();
        let whole = Whole {
            keeps_upstream,
            keeps_client: answer.keeps_client,
        };
        match answer.body {
            Some(body) => State::Body {
                body,
                coding: answer.coding,
                whole,
            },
            None => State::Whole(Whole {
                keeps_upstream: keeps_upstream && rest.is_empty(),
                ..whole
            }),
        }
    }

    /// Gives the client `out` and `tail`; what does not go out at once waits.
    fn write(&mut self, out: &[u8], tail: &[u8], cx: &mut Context<'_>) -> Result<(), Broken> {
        if out.is_empty() && tail.is_empty() {
            return Ok(());
        }
        self.has_answered = true;
        let client = Pin::new(&mut self.connection.accepted.stream);
        let written = if tail.is_empty() {
            client.poll_write(cx, out)
        } else {
            client.poll_write_vectored(cx, &[IoSlice::new(out), IoSlice::new(tail)])
        };
        let written = match written {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(_)) => return Err(Broken::Client),
            Poll::Pending => 0,
        };
        let in_tail = written.saturating_sub(out.len());
        let (out, tail) = (&out[written.min(out.len())..], &tail[in_tail..]);
        if !(out.is_empty() && tail.is_empty()) {
            let mut rest = std::mem::take(&mut self.unwritten.bytes);
            if rest.capacity() == 0 {
                rest = self.connection.local.buffer();
            }
            rest.clear();
            rest.extend_from_slice(out);
            rest.extend_from_slice(tail);
            self.unwritten = Rest::new(rest);
        }
        Ok(())
    }

    /// Whether the client has closed its connection altogether. That it says no more, or says the
    /// next request already, is no reason to end this one; then it is watched no more.
    fn is_client_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let client = &mut self.connection.accepted.stream;
        if client.poll_readable(cx, self.is_slow).is_pending() {
            return false;
        }
        self.is_watching = false;
        client.socket().is_none_or(|client| {
            let peeked = SockRef::from(&client).peek(&mut [MaybeUninit::uninit()]);
            peeked.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
        })
    }

    /// Keeps what can be used again.
    fn end(self, whole: Whole, lease: &Lease) -> After {
        let local = &self.connection.local;
        if whole.keeps_upstream && self.is_sound {
            let mut pool = local.pool.borrow_mut();
            // It rests since its last bytes came.
            pool.put(lease.target().upstream(), self.stream, self.since);
        }
        for buffer in [self.unsent.bytes, self.unwritten.bytes, self.head] {
            local.give_back(buffer);
        }
        if whole.keeps_client {
            After::Kept
        } else if self.connection.bytes.len() > self.plain.bytes() {
            After::Refused
        } else {
            After::Ended
        }
    }
}

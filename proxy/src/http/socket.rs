//! A client's connection, as the proxy library wants it, with the bounds that the library has not:
//! a request's head has a largest size and one deadline, a client has to take what it is sent, and
//! what the library answers to a bad request is put into our own words.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::StatusCode;
use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest,
    Ssl, TimingDigest, UniqueID, UniqueIDType,
};
use pingora_http::ResponseHeader;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::handle::Handle;
use super::linger::linger;
use super::patience::Limits;
use super::rescue::{Budget, LOOK_INTERVAL, Verdict, Wait};
use super::routing::Failure;
use super::stream::Stream;
use crate::headers::Hop;
use crate::route::{RequestPath, Upstream};

/// Room for the head and a small body of an answer, so that both leave in one system call. Larger
/// writes go through.
const WRITE_BUFFER_BYTES: usize = 1460;

/// The largest head of a request in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;

/// What HTTP/2 begins with.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What was read of a connection before the library got it.
#[derive(Debug)]
pub(super) struct Replay {
    /// The start of a request.
    pub(super) bytes: Vec<u8>,
    /// When its head has to be whole.
    pub(super) deadline: Instant,
}

/// A TCP connection with buffered writes; reads go straight into the parser's own buffer.
#[derive(Debug)]
pub(super) struct Socket {
    stream: BufWriter<Stream>,
    /// What was read before, and how much of it the library has got.
    replay: (Vec<u8>, usize),
    digest: Arc<SocketDigest>,
    /// Carries the [`Client`], in the place that the library passes on from the connection to its
    /// requests.
    client: Arc<ProxyDigest>,
    tls: Option<Arc<SslDigest>>,
    /// The library reads frames, and bounds heads itself.
    is_http2: bool,
    head_timeout: Duration,
    /// Bytes of the head so far; what follows the head in the same read counts too.
    head_bytes: usize,
    /// When the first head has to be whole.
    first_deadline: Option<Instant>,
    /// Set when a head did not come in one read.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The request was refused by us; nothing more is written.
    is_refused: bool,
    /// How long the client may take none of what is written.
    client_timeout: Duration,
    /// Set while it takes none.
    stuck: Option<Pin<Box<Sleep>>>,
}

/// What the socket of a request says about its client, and is told about the request.
#[derive(Debug)]
pub(super) struct Client {
    peer: SocketAddr,
    hop: Hop,
    limits: Limits,
    stage: AtomicU8,
    waiting: Mutex<Waits>,
}

/// Whether the request waits for the first of an answer.
#[derive(Debug, Default)]
enum Waits {
    #[default]
    No,
    Yes(Box<Waiting>),
    /// It did, and has left its target.
    Left(Failure),
}

/// A request that waits for the first of an answer, and may be given to another target.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) wait: Wait,
    pub(super) upstream: Arc<Upstream>,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) handle: Handle,
    pub(super) budget: Arc<Budget>,
    /// What wakes it: set when it waits for the first time.
    pub(super) alarms: Option<Alarms>,
}

/// The next look, and word of targets that were found dead.
type Alarms = (Pin<Box<Sleep>>, Pin<Box<OwnedNotified>>);

impl Waiting {
    /// Ready when the request is better off with another target.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        loop {
            let losses = self.handle.losses();
            let (look, told) = self.alarms.get_or_insert_with(|| {
                let mut told = Box::pin(losses.clone().notified_owned());
                told.as_mut().enable();
                (Box::pin(sleep_until(self.wait.first_look())), told)
            });
            let mut is_due = look.as_mut().poll(cx).is_ready();
            if told.as_mut().poll(cx).is_ready() {
                told.set(losses.clone().notified_owned());
                told.as_mut().enable();
                is_due = true;
            }
            if !is_due && !self.wait.is_lost(&self.upstream) {
                return Poll::Pending;
            }
            let path = RequestPath::new(&self.path);
            let (request, now) = ((&*self.host, &path), Instant::now());
            let next = match self.wait.look(&self.handle, request, &self.upstream, now) {
                Verdict::Leave(failure) if self.budget.has_left() => return Poll::Ready(failure),
                Verdict::Leave(_) => now + LOOK_INTERVAL,
                Verdict::Wait(at) => at,
            };
            look.as_mut().reset(next);
            if look.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Nothing of the next request was read yet.
const FRESH: u8 = 0;
/// A head is being read.
const HEAD: u8 = 1;
/// The head is whole, and the request is being served.
const SERVED: u8 = 2;

impl Client {
    /// Where the client is.
    pub(super) fn hop(&self) -> &Hop {
        &self.hop
    }

    /// Lets the request wait for an answer, or not any more.
    pub(super) fn wait(&self, waiting: Option<Waiting>) {
        let waits = waiting.map_or(Waits::No, |waiting| Waits::Yes(Box::new(waiting)));
        *self.waits() = waits;
    }

    /// Why the request has left its target, if it has.
    pub(super) fn has_left(&self) -> Option<Failure> {
        match *self.waits() {
            Waits::Left(failure) => Some(failure),
            Waits::No | Waits::Yes(_) => None,
        }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        // No panic leaves it half-changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when the request leaves its target.
    fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waits = self.waits();
        let Waits::Yes(waiting) = &mut *waits else {
            return Poll::Pending;
        };
        let failure = ready!(waiting.poll(cx));
        *waits = Waits::Left(failure);
        Poll::Ready(())
    }

    /// The client's address and port.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How long it may take.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// The head of the request has come; its bounds end.
    pub(super) fn on_head(&self) {
        self.stage.store(SERVED, Ordering::Relaxed);
    }
}

impl Socket {
    pub(super) fn new(
        stream: Stream,
        (peer, own): (SocketAddr, SocketAddr),
        by: Option<IpAddr>,
        limits: Limits,
        replay: Replay,
    ) -> io::Result<Socket> {
        let client = Client {
            peer,
            hop: Hop::new(peer.ip(), own, by, stream.is_tls()),
            limits,
            stage: AtomicU8::new(FRESH),
            waiting: Mutex::default(),
        };
        let is_http2 = stream.is_http2();
        if is_http2 {
            client.on_head();
        }
        let unused =
            ResponseHeader::build_no_case(StatusCode::OK, Some(0)).map_err(io::Error::other)?;
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // It is fresh, so this cannot be refused; the system would be asked again otherwise.
        let _ = digest.peer_addr.set(Some(peer.into()));
        Ok(Socket {
            replay: (replay.bytes, 0),
            digest: Arc::new(digest),
            client: Arc::new(ProxyDigest::new(Box::new(unused), Some(Box::new(client)))),
            tls: stream.tls().map(|(version, cipher)| {
                let unknown = (None, None, Vec::new());
                Arc::new(SslDigest::new(
                    cipher, version, unknown.0, unknown.1, unknown.2,
                ))
            }),
            is_http2,
            head_timeout: limits.head,
            head_bytes: 0,
            first_deadline: Some(replay.deadline),
            deadline: None,
            is_refused: false,
            client_timeout: limits.client,
            stuck: None,
            stream: BufWriter::with_capacity(WRITE_BUFFER_BYTES, stream),
        })
    }

    fn stage(&self) -> &AtomicU8 {
        &of(&self.client)
            .expect("every socket is made with its client")
            .stage
    }

    /// Reads what was read before, and then what comes.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (bytes, at) = &mut self.replay;
        let rest = &bytes[*at..];
        if rest.is_empty() {
            return Pin::new(self.stream.get_mut()).poll_read(cx, buf);
        }
        let part = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..part]);
        *at += part;
        if *at == bytes.len() {
            self.replay = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a part of a head within its bounds.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head_bytes >= HEAD_BYTES_MAX {
            ready!(self.poll_refuse(cx, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))?;
            return Poll::Ready(Err(io::Error::other("the head of a request is too large")));
        }
        let before = buf.filled().len();
        if self.poll_bytes(cx, buf)?.is_ready() {
            self.head_bytes += buf.filled().len() - before;
            return Poll::Ready(Ok(()));
        }
        // A connection may rest between requests, but not within a head.
        if self.head_bytes > 0 {
            let first = self.first_deadline;
            let at = first.unwrap_or_else(|| Instant::now() + self.head_timeout);
            let deadline = self
                .deadline
                .get_or_insert_with(|| Box::pin(sleep_until(at)));
            ready!(deadline.as_mut().poll(cx));
            ready!(self.poll_refuse(cx, StatusCode::REQUEST_TIMEOUT))?;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Answers in the library's place.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, status: StatusCode) -> Poll<io::Result<()>> {
        if !self.is_refused {
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            // It is short, and everything before it was flushed: the buffer takes it whole.
            ready!(Pin::new(&mut self.stream).poll_write(cx, answer.as_bytes()))?;
            self.is_refused = true;
        }
        Poll::Ready(Ok(()))
    }

    /// What came of a write: one that waits has its time, in which some of it has to be taken.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let time = self.client_timeout;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(time)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Takes a write of the library. As long as no request is there, it is an answer to something
    /// that is none: the library's name, date and caching do not belong there.
    fn poll_answer(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_refused || self.stage().load(Ordering::Relaxed) != SERVED {
            let status = buf
                .get(b"HTTP/1.1 ".len()..b"HTTP/1.1 400".len())
                .and_then(|code| StatusCode::from_bytes(code).ok());
            ready!(self.poll_refuse(cx, status.unwrap_or(StatusCode::BAD_REQUEST)))?;
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.in_time(cx, written)
    }
}

/// What the socket of a request knows of its client.
pub(super) fn client(digest: &Digest) -> Option<&Client> {
    of(digest.proxy_digest.as_ref()?)
}

fn of(digest: &ProxyDigest) -> Option<&Client> {
    digest.user_data.as_ref()?.downcast_ref()
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.stage().load(Ordering::Relaxed) {
            SERVED => {
                if self.poll_bytes(cx, buf)?.is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if let Some(client) = of(&self.client) {
                    ready!(client.poll_left(cx));
                }
                return Poll::Ready(Err(io::Error::other("the request leaves its target")));
            }
            FRESH => {
                if self.head_bytes > 0 {
                    // The first head is over.
                    self.first_deadline = None;
                }
                self.stage().store(HEAD, Ordering::Relaxed);
                self.head_bytes = 0;
                self.deadline = None;
            }
            _ => {}
        }
        self.poll_head(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_answer(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_refused || self.stage().load(Ordering::Relaxed) != SERVED {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_answer(cx, first.map_or(&[], |buf| buf));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.in_time(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Socket {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(&mut self.stream).await {
            tracing::debug!(%error, "cannot shut a client's connection down");
        } else if self.is_refused {
            linger(self.stream.get_mut()).await;
        }
    }
}

impl UniqueID for Socket {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().as_raw_fd()
    }
}

impl Socket {
    /// Whether HTTP/2 is spoken on it, as was agreed on or as its first bytes say.
    pub(super) async fn speaks_http2(&mut self) -> bool {
        if !self.is_http2 && self.tls.is_none() {
            // What cannot be read is found by the one who reads.
            drop(self.try_peek(&mut [0; HTTP2_PREFACE.len()]).await);
        }
        self.is_http2
    }
}

impl Ssl for Socket {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        (self.tls.is_some() && self.is_http2).then_some(ALPN::H2)
    }
}

#[async_trait]
impl Peek for Socket {
    /// Tells HTTP/2 without TLS by its first bytes; the buffer is filled only with those.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        loop {
            let (bytes, _) = &self.replay;
            let seen = bytes.len().min(HTTP2_PREFACE.len());
            if bytes[..seen] != HTTP2_PREFACE[..seen] || buf.len() != HTTP2_PREFACE.len() {
                return Ok(true);
            }
            if seen == HTTP2_PREFACE.len() {
                buf.copy_from_slice(HTTP2_PREFACE);
                self.is_http2 = true;
                self.stage().store(SERVED, Ordering::Relaxed);
                return Ok(true);
            }
            let read = self.stream.get_mut().read_buf(&mut self.replay.0);
            let read = timeout(self.head_timeout, read).await;
            if read.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
                return Ok(true);
            }
        }
    }
}

impl GetTimingDigest for Socket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Socket {
    /// The library asks for it once for each request, just before it waits for the head.
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        if !self.is_http2 {
            self.stage().store(FRESH, Ordering::Relaxed);
        }
        Some(self.client.clone())
    }
}

impl GetSocketDigest for Socket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}

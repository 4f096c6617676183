//! Connections between machines: HTTP/2 with MessagePack frames, bodies or bytes on its streams.
//!
//! What an agent asks for has a [`Kind`]: its long-lived session, a pipe for requests of an API, a
//! tunnel on which a server asks back, and calls among servers. A listener hands each of them to
//! whoever answers it as an [`Asked`]; a server that does not lead relays those for the leader.
//!
//! Both ends ping each other, so that a path that is cut without a word ends the stream within
//! [`PING_INTERVAL`] and [`PING_TIMEOUT`].

use super::{
    frame::{self, Frame, Limits},
    message::{ToClient, ToServer},
    pipe::{Body, Pipe, of_bytes, pipe},
    security::{Role, Security},
    wire::Arrivals,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, BodyStream, Limited, StreamBody};
use hyper::{
    body::{Frame as BodyFrame, Incoming},
    client::conn::http2::SendRequest,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};
use sys::{callers::Callers, seldom::Seldom};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Messages that may wait in each direction of a stream.
pub const STREAM_MESSAGES_MAX: usize = 256;
/// Connections of one listener unless the caller says so.
const CONNECTIONS_MAX: usize = 16_384;
/// Streams that may wait to be accepted.
const ACCEPT_STREAMS_MAX: usize = 64;
/// Streams of one connection: a server relays what many ask for on one.
const STREAMS_PER_CONNECTION_MAX: u32 = 4096;
/// Flow-control window of a stream in bytes.
const WINDOW_BYTES: u32 = 4 << 20;
/// Flow-control window of a connection: some streams that nobody reads hold up no other.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// How long a connection may take to open.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new connection may take to agree on TLS, and then to ask for its stream, unless the
/// caller says so.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two pings of an open connection.
pub const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long the other side may take to answer a ping before the connection is given up.
pub const PING_TIMEOUT: Duration = Duration::from_secs(4);
/// Says that a server passes on what somebody else asks for, so that it goes no further.
const RELAYED: HeaderName = HeaderName::from_static("x-trivet-relayed");
/// Bytes of a refusal that are read.
const REASON_BYTES_MAX: usize = 4096;

/// Why a stream could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener could not be opened.
    #[error("cannot listen for RPC on {address}")]
    Bind {
        /// Wanted address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server could not be reached.
    #[error("cannot reach the server at {address}")]
    Connect {
        /// Its address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server did not answer in time.
    #[error("the server at {address} did not answer within {} s", waited.as_secs())]
    Timeout {
        /// Its address.
        address: String,
        /// How long it had.
        waited: Duration,
    },
    /// HTTP/2 failed.
    #[error("the stream to {address} failed")]
    Http {
        /// Address of the server.
        address: String,
        /// Why.
        source: hyper::Error,
    },
    /// The server said no.
    #[error("the server at {address} answered {status}: {reason}")]
    Refused {
        /// Its address.
        address: String,
        /// HTTP status.
        status: StatusCode,
        /// Why, in a sentence.
        reason: String,
    },
}

/// One of the HTTP APIs of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Jobs, and what is our own.
    Jobs,
    /// The catalog.
    Catalog,
    /// The admin API of the ingress.
    Ingress,
}

/// What one server asks of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Take these entries.
    Append,
    /// Vote for me.
    Vote,
    /// Take this part of a snapshot.
    Snapshot,
    /// Stand for election.
    Elect,
    /// Who is there?
    Members,
    /// Be of this cluster.
    Admit,
    /// Sign my key, for I know a secret.
    Enroll,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An agent's session.
    Session,
    /// A pipe on which the leader asks the agent.
    Tunnel,
    /// A pipe that speaks HTTP/1.1 with an API.
    Http(Dialect),
    /// A question with one answer.
    Call(Call),
}

const KINDS: [(Kind, &str); 12] = [
    (Kind::Session, "/v1/stream"),
    (Kind::Tunnel, "/v1/tunnel"),
    (Kind::Http(Dialect::Jobs), "/v1/http/jobs"),
    (Kind::Http(Dialect::Catalog), "/v1/http/catalog"),
    (Kind::Http(Dialect::Ingress), "/v1/http/ingress"),
    (Kind::Call(Call::Append), "/v1/raft/append"),
    (Kind::Call(Call::Vote), "/v1/raft/vote"),
    (Kind::Call(Call::Snapshot), "/v1/raft/snapshot"),
    (Kind::Call(Call::Elect), "/v1/raft/elect"),
    (Kind::Call(Call::Members), "/v1/members"),
    (Kind::Call(Call::Admit), "/v1/admit"),
    (Kind::Call(Call::Enroll), "/v1/enroll"),
];

impl Kind {
    fn path(self) -> &'static str {
        let mut known = KINDS.iter();
        known
            .find(|(kind, _)| *kind == self)
            .map_or("/", |(_, path)| path)
    }

    fn of(method: &Method, path: &str) -> Option<Self> {
        let mut known = KINDS.iter();
        let found = known.find(|(_, at)| *at == path && method == Method::POST);
        found.map(|(kind, _)| *kind)
    }

    /// Whether whoever has this role may ask for it.
    fn is_open_to(self, role: Role) -> bool {
        match self {
            Self::Call(Call::Enroll) => true,
            Self::Session | Self::Tunnel | Self::Http(_) => role != Role::Stranger,
            Self::Call(_) => role == Role::Server,
        }
    }
}

/// One end of a stream. Dropping `outgoing` ends it; `incoming` ends when the other side is gone.
#[derive(Debug)]
pub struct Link<Out, In> {
    /// To the other side; full when it reads too slowly.
    pub outgoing: mpsc::Sender<Out>,
    /// From the other side.
    pub incoming: mpsc::Receiver<In>,
}

/// An agent's end.
pub type AgentLink = Link<ToServer, ToClient>;
/// A server's end. What many agents are told is encoded once, so it takes frames.
pub type ServerLink = Link<Frame, ToServer>;

/// Opens the agent's stream to the server at `address`, over plain TCP.
///
/// # Errors
/// Any [`Error`] but `Bind`; trying again later can help with all of them.
pub async fn connect(address: SocketAddr) -> Result<AgentLink, Error> {
    open_session(&address.to_string(), &Security::Plain).await
}

/// As [`connect`], over connections as `security` makes them.
pub(super) async fn open_session(address: &str, security: &Security) -> Result<AgentLink, Error> {
    let opening = async {
        let mut caller = Caller::dial(address, security).await?;
        let (outgoing, body) = body_of::<ToServer>();
        let response = caller.ask(Kind::Session, HeaderMap::new(), body).await?;
        let incoming = read_frames(response.into_body(), frame::FROM_SERVER);
        Ok(Link { outgoing, incoming })
    };
    bounded(address, CONNECT_TIMEOUT, opening).await
}

pub(super) async fn bounded<T>(
    address: &str,
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let late = || Error::Timeout {
        address: address.to_owned(),
        waited: limit,
    };
    timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

/// The asking end of a connection; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    address: Arc<str>,
    sender: SendRequest<Body>,
    /// Canceled when the connection has ended. The library loses a question now and then that is
    /// asked at that moment, and who asked would wait for ever.
    ended: CancellationToken,
}

impl Caller {
    /// Opens a connection.
    pub(super) async fn dial(address: &str, security: &Security) -> Result<Self, Error> {
        let connection = security.connect(address).await;
        let connection = connection.map_err(|source| Error::Connect {
            address: address.to_owned(),
            source,
        })?;
        Self::over(connection, address).await
    }

    /// Asks on a connection that is open.
    pub(super) async fn over<I>(connection: I, address: &str) -> Result<Self, Error>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let address: Arc<str> = address.into();
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(connection))
            .await
            .map_err(|source| Error::Http {
                address: address.to_string(),
                source,
            })?;
        let peer = Arc::clone(&address);
        let ended = CancellationToken::new();
        let end = ended.clone().drop_guard();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "RPC connection ended");
            }
            drop(end);
        });
        Ok(Self {
            address,
            sender,
            ended,
        })
    }

    /// Whether nothing can be asked here any more.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Asks for something; answers with what is not a refusal.
    pub(super) async fn ask(
        &mut self,
        kind: Kind,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{}", self.address, kind.path()))
            .body(body)
            .map_err(|error| Error::Connect {
                address: self.address.to_string(),
                source: std::io::Error::other(error),
            })?;
        *request.headers_mut() = headers;
        let answered = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let answered = tokio::select! {
            biased;
            answered = answered => answered,
            () = self.ended.cancelled() => return Err(Error::Connect {
                address: self.address.to_string(),
                source: std::io::ErrorKind::ConnectionReset.into(),
            }),
        };
        let response = answered.map_err(|source| Error::Http {
            address: self.address.to_string(),
            source,
        })?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let reason = Limited::new(response.into_body(), REASON_BYTES_MAX);
        let reason = reason.collect().await.map(|body| body.to_bytes());
        Err(Error::Refused {
            address: self.address.to_string(),
            status,
            reason: String::from_utf8_lossy(&reason.unwrap_or_default()).into_owned(),
        })
    }

    /// Asks for a pipe.
    pub(super) async fn open(&mut self, kind: Kind) -> Result<Pipe, Error> {
        let (near, body, far) = pipe();
        let response = self.ask(kind, HeaderMap::new(), body).await?;
        far.feed(response.into_body());
        Ok(near)
    }
}

/// Somebody asks for something; dropping it refuses.
#[derive(Debug)]
pub struct Asked {
    kind: Kind,
    request: Request<Incoming>,
    reply: oneshot::Sender<Response<Body>>,
}

impl Asked {
    /// What is asked for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether another server passes it on.
    pub fn is_relayed(&self) -> bool {
        self.request.headers().contains_key(RELAYED)
    }

    /// Begins a session.
    pub fn into_session(self) -> ServerLink {
        let (outgoing, body) = body_of::<Frame>();
        let incoming = read_frames(self.request.into_body(), frame::FROM_AGENT);
        // When the agent is gone already, `incoming` ends at once.
        drop(self.reply.send(Response::new(body)));
        Link { outgoing, incoming }
    }

    /// Begins a pipe.
    pub fn into_pipe(self) -> Pipe {
        let (near, body, far) = pipe();
        far.feed(self.request.into_body());
        drop(self.reply.send(Response::new(body)));
        near
    }

    /// Reads what came with the question, and answers with what `answer` makes of it; a text is
    /// the reason of a refusal.
    pub async fn answer<A>(self, bytes_max: usize, answer: impl FnOnce(Bytes) -> A)
    where
        A: Future<Output = Result<Vec<u8>, String>>,
    {
        let Self { request, reply, .. } = self;
        let body = Limited::new(request.into_body(), bytes_max);
        let response = match body.collect().await {
            Ok(body) => match answer(body.to_bytes()).await {
                Ok(bytes) => Response::new(of_bytes(bytes.into())),
                Err(reason) => refusal(StatusCode::CONFLICT, reason),
            },
            Err(error) => refusal(StatusCode::BAD_REQUEST, error.to_string()),
        };
        drop(reply.send(response));
    }

    /// Says no.
    pub fn refuse(self, reason: impl Into<String>) {
        let refused = refusal(StatusCode::SERVICE_UNAVAILABLE, reason.into());
        drop(self.reply.send(refused));
    }

    /// Passes it on, and what comes back, until `end` resolves.
    pub(super) async fn pass_on(
        self,
        mut caller: Caller,
        end: impl Future<Output = ()> + Send + 'static,
    ) {
        let Self {
            kind,
            request,
            reply,
        } = self;
        let body = request.into_body().map_err(Into::into).boxed_unsync();
        let headers = HeaderMap::from_iter([(RELAYED, HeaderValue::from_static("1"))]);
        let response = match caller.ask(kind, headers, body).await {
            Ok(response) => response.map(|body| {
                let body = BodyStream::new(body).take_until(Box::pin(end));
                let body = body.map(|part| part.map_err(Into::into));
                StreamBody::new(body).boxed_unsync()
            }),
            Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        };
        drop(reply.send(response));
    }
}

fn refusal(status: StatusCode, reason: String) -> Response<Body> {
    let mut response = Response::new(of_bytes(reason.into()));
    *response.status_mut() = status;
    response
}

/// Who is let in.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Connections at a time; more wait in the system's queue.
    pub connections_max: usize,
    /// How many of them each address may hold; more are closed.
    pub callers: Callers,
    /// How long a new connection may take to agree on TLS, and then to ask for its stream.
    pub handshake_max: Duration,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            callers: Callers::default(),
            handshake_max: OPEN_TIMEOUT,
        }
    }
}

/// Accepts what others ask for.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    asked: mpsc::Receiver<Asked>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener {
    /// Listens on `address` for plain connections; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`Error::Bind`] when the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        Self::bind_limited(address, Admission::default(), Security::Plain).await
    }

    /// As [`Listener::bind`], for those whom `admission` lets in.
    ///
    /// # Errors
    /// [`Error::Bind`] when the address is taken or not ours.
    pub async fn bind_limited(
        address: SocketAddr,
        admission: Admission,
        security: Security,
    ) -> Result<Self, Error> {
        let bound = Arrivals::bind(address).await;
        let (socket, local) = bound.map_err(|source| Error::Bind { address, source })?;
        let (accept, asked) = mpsc::channel(ACCEPT_STREAMS_MAX);
        let accepting = tokio::spawn(accept_connections(socket, admission, security, accept));
        Ok(Self {
            address: local,
            asked,
            accepting,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What is asked for next; none once the listener has failed for good.
    pub async fn next(&mut self) -> Option<Asked> {
        self.asked.recv().await
    }

    /// The next session, for those who answer nothing else; none once the listener has failed for
    /// good.
    pub async fn accept(&mut self) -> Option<ServerLink> {
        loop {
            let asked = self.next().await?;
            if asked.kind() == Kind::Session {
                return Some(asked.into_session());
            }
        }
    }
}

async fn accept_connections(
    mut socket: Arrivals,
    admission: Admission,
    security: Security,
    accept: mpsc::Sender<Asked>,
) {
    static WARNINGS: Seldom = Seldom::new();
    static CROWDS: Seldom = Seldom::new();
    let limit = admission.handshake_max;
    let places = Arc::new(Semaphore::new(admission.connections_max.max(1)));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match socket.accept().await {
            Ok((connection, peer)) => {
                let (accept, security) = (accept.clone(), security.clone());
                let Some(counted) = admission.callers.admit(peer.ip()) else {
                    if CROWDS.is_due() {
                        tracing::warn!(address = %peer.ip(), "an address holds as many RPC connections as it may; further ones are closed");
                    }
                    continue;
                };
                tokio::spawn(async move {
                    let served = async {
                        let agreed = timeout(limit, security.accept(connection));
                        let (connection, role) = agreed.await??;
                        serve(connection, role, accept, limit).await
                    };
                    if let Err(error) = served.await {
                        tracing::debug!(%peer, %error, "RPC connection ended");
                    }
                    drop((counted, place));
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: give the process time to close some.
                if WARNINGS.is_due() {
                    tracing::warn!(%error, "cannot accept an RPC connection");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers what the other side of a connection asks for, until it ends; it has to ask soon.
async fn serve<I>(
    connection: I,
    role: Role,
    accept: mpsc::Sender<Asked>,
    limit: Duration,
) -> anyhow::Result<()>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asked = Arc::new(Notify::new());
    let serving = carry(connection, role, accept, Arc::clone(&asked));
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        opened = timeout(limit, asked.notified()) => opened?,
    }
    Ok(serving.await?)
}

/// As [`serve`], for a connection on which nothing may be asked for long.
pub(super) async fn serve_idle<I>(
    connection: I,
    role: Role,
    accept: mpsc::Sender<Asked>,
) -> anyhow::Result<()>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Ok(carry(connection, role, accept, Arc::default()).await?)
}

fn carry<I>(
    connection: I,
    role: Role,
    accept: mpsc::Sender<Asked>,
    asked: Arc<Notify>,
) -> impl Future<Output = hyper::Result<()>> + Send
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        asked.notify_one();
        let accept = accept.clone();
        async move { Ok::<_, Infallible>(answer(request, role, accept).await) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .serve_connection(TokioIo::new(connection), service)
}

async fn answer(
    request: Request<Incoming>,
    role: Role,
    accept: mpsc::Sender<Asked>,
) -> Response<Body> {
    let Some(kind) = Kind::of(request.method(), request.uri().path()) else {
        return refusal(StatusCode::NOT_FOUND, "there is no such RPC".into());
    };
    if !kind.is_open_to(role) {
        return refusal(
            StatusCode::FORBIDDEN,
            "the certificate of the other side does not allow that".into(),
        );
    }
    let (reply, answered) = oneshot::channel();
    let asked = Asked {
        kind,
        request,
        reply,
    };
    let answered = async {
        accept.send(asked).await.ok()?;
        answered.await.ok()
    };
    let gone = || {
        refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server is stopping".into(),
        )
    };
    answered.await.unwrap_or_else(gone)
}

/// A body that carries what is sent to the channel; it ends with the first message that has no
/// form.
fn body_of<Out: Into<Frame> + Send + 'static>() -> (mpsc::Sender<Out>, Body) {
    let (sender, receiver) = mpsc::channel::<Out>(STREAM_MESSAGES_MAX);
    let frames = ReceiverStream::new(receiver)
        .map(|message| message.into().into_bytes())
        .take_while(|bytes| std::future::ready(bytes.is_some()))
        .map(|bytes| Ok(BodyFrame::data(bytes.unwrap_or_default())));
    (sender, BodyExt::boxed_unsync(StreamBody::new(frames)))
}

/// Why a stream ended early.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Frame(#[from] frame::Error),
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
}

/// A channel of the messages in `body`; it ends with the body, or with the first broken frame.
fn read_frames<In: DeserializeOwned + Send + 'static>(
    body: Incoming,
    limits: Limits,
) -> mpsc::Receiver<In> {
    let (sender, receiver) = mpsc::channel(STREAM_MESSAGES_MAX);
    tokio::spawn(async move {
        if let Err(error) = pump(body, limits, &sender).await {
            tracing::debug!(%error, "RPC stream ended");
        }
    });
    receiver
}

async fn pump<In: DeserializeOwned>(
    mut body: Incoming,
    limits: Limits,
    sender: &mpsc::Sender<In>,
) -> Result<(), StreamError> {
    let mut buffer = BytesMut::new();
    let mut bytes_max = limits.first;
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = sender.closed() => return Ok(()),
        };
        let Some(frame) = frame else {
            return Ok(());
        };
        if let Ok(data) = frame?.into_data() {
            buffer.extend_from_slice(&data);
        }
        while let Some(message) = frame::decode(&mut buffer, bytes_max)? {
            bytes_max = limits.later;
            if sender.send(message).await.is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Hello, RulesVersion};
    use sys::callers::Cap;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn both_directions_carry_messages_until_one_side_leaves() {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.local_addr();
        let (agent, server) = tokio::join!(connect(address), listener.accept());
        let (mut agent, mut server) = (agent.unwrap(), server.unwrap());

        let hello = Hello {
            agent_id: "a".into(),
            ..Hello::default()
        };
        agent
            .outgoing
            .send(ToServer::Hello(Box::new(hello)))
            .await
            .unwrap();
        let Some(ToServer::Hello(hello)) = server.incoming.recv().await else {
            panic!("expected hello");
        };
        assert_eq!(hello.agent_id, "a");

        server
            .outgoing
            .send(
                ToClient::Welcome {
                    lease_ms: 7,
                    history: 1,
                    rules: RulesVersion::default(),
                    takes_traffic: false,
                    servers: Vec::new(),
                }
                .into(),
            )
            .await
            .unwrap();
        assert!(matches!(
            agent.incoming.recv().await,
            Some(ToClient::Welcome { lease_ms: 7, .. })
        ));

        drop(agent);
        assert!(
            server.incoming.recv().await.is_none(),
            "the server notices that the agent left"
        );
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let error = Listener::bind(first.local_addr()).await.unwrap_err();
        assert!(
            error.to_string().contains(&first.local_addr().to_string()),
            "{error}"
        );
    }

    /// Forwards a connection to `server` until it is told to swallow everything without a word.
    async fn forward(server: SocketAddr) -> (SocketAddr, Arc<Notify>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(Notify::new());
        let cutting = Arc::clone(&cut);
        tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(server).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                () = cutting.notified() => {
                    // Both connections stay open, and nothing moves any more.
                    std::future::pending::<()>().await;
                }
            }
        });
        (address, cut)
    }

    #[tokio::test]
    async fn a_path_that_is_cut_without_a_word_is_noticed_at_both_ends() {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let (address, cut) = forward(listener.local_addr()).await;
        let (agent, server) = tokio::join!(connect(address), listener.accept());
        let (mut agent, mut server) = (agent.unwrap(), server.unwrap());
        cut.notify_one();
        let noticed = async { tokio::join!(agent.incoming.recv(), server.incoming.recv()) };
        // Far more than the bound: machines that run tests are busy.
        let (at_agent, at_server) = timeout((PING_INTERVAL + PING_TIMEOUT) * 10, noticed)
            .await
            .expect("nobody noticed");
        assert!(at_agent.is_none() && at_server.is_none());
    }

    /// Resolves when the other side has closed a connection.
    async fn closed(mut connection: TcpStream) {
        use tokio::io::AsyncReadExt;
        let mut bytes = Vec::new();
        timeout(OPEN_TIMEOUT * 12, connection.read_to_end(&mut bytes))
            .await
            .expect("it stays open")
            .ok();
    }

    #[tokio::test]
    async fn a_connection_that_asks_for_nothing_is_closed() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        closed(TcpStream::connect(listener.local_addr()).await.unwrap()).await;
    }

    #[tokio::test]
    async fn an_address_that_holds_too_many_is_closed_until_it_holds_fewer() {
        let admission = Admission {
            callers: Callers::new(Cap {
                most: Some(2),
                counts_loopback: true,
            }),
            // What is held stays open by itself.
            handshake_max: Duration::MAX,
            ..Admission::default()
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let bound = Listener::bind_limited(address, admission, Security::Plain);
        let mut listener = bound.await.unwrap();
        let address = listener.local_addr();
        let first = TcpStream::connect(address).await.unwrap();
        let (session, kept) = tokio::join!(connect(address), listener.accept());
        let (session, kept) = (session.unwrap(), kept.unwrap());
        closed(TcpStream::connect(address).await.unwrap()).await;
        drop(first);
        // The end of the first one takes a moment to be seen.
        let again = async {
            while connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        let again = timeout(OPEN_TIMEOUT * 12, again);
        let (again, accepted) = tokio::join!(again, listener.accept());
        assert!(again.is_ok() && accepted.is_some());
        drop((session, kept));
    }
}

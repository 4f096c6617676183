//! One long-lived stream per agent: HTTP/2 with MessagePack frames in both bodies.
//!
//! Both ends ping each other, so that a path that is cut without a word ends the stream within
//! [`PING_INTERVAL`] and [`PING_TIMEOUT`]. Plain TCP on the loopback interface only; streams
//! between machines need certificates, which this version does not have.

use super::{
    frame::{self, Frame, Limits},
    message::{ToClient, ToServer},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame as BodyFrame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use sys::seldom::Seldom;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;

/// Messages that may wait in each direction of a stream.
pub const STREAM_MESSAGES_MAX: usize = 256;
/// Connections of one listener unless the caller says so.
const CONNECTIONS_MAX: usize = 16_384;
/// Streams that may wait to be accepted.
const ACCEPT_STREAMS_MAX: usize = 64;
/// Streams of one connection; an agent needs one.
const STREAMS_PER_CONNECTION_MAX: u32 = 4;
/// Flow-control window of a stream in bytes.
const WINDOW_BYTES: u32 = 4 << 20;
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new connection may take to ask for its stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two pings of an open connection.
pub const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long the other side may take to answer a ping before the connection is given up.
pub const PING_TIMEOUT: Duration = Duration::from_secs(4);
/// Where the stream is asked for.
const STREAM_PATH: &str = "/v1/stream";

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
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server did not answer in time.
    #[error("the server at {address} did not answer within 5 s")]
    Timeout {
        /// Its address.
        address: SocketAddr,
    },
    /// HTTP/2 failed.
    #[error("the stream to {address} failed")]
    Http {
        /// Address of the server.
        address: SocketAddr,
        /// Why.
        source: hyper::Error,
    },
    /// The server said no.
    #[error("the server at {address} answered {status}")]
    Refused {
        /// Its address.
        address: SocketAddr,
        /// HTTP status.
        status: StatusCode,
    },
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

/// Opens the agent's stream to the server at `address`.
///
/// # Errors
/// Any [`Error`] but `Bind`; trying again later can help with all of them.
pub async fn connect(address: SocketAddr) -> Result<AgentLink, Error> {
    let opening = timeout(CONNECT_TIMEOUT, open(address)).await;
    opening.unwrap_or(Err(Error::Timeout { address }))
}

async fn open(address: SocketAddr) -> Result<AgentLink, Error> {
    let socket = TcpStream::connect(address)
        .await
        .map_err(|source| Error::Connect { address, source })?;
    socket
        .set_nodelay(true)
        .map_err(|source| Error::Connect { address, source })?;
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|source| Error::Http { address, source })?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "RPC connection ended");
        }
    });
    let (outgoing, body) = body_of::<ToServer>();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}{STREAM_PATH}"))
        .body(body)
        .expect("method and address form a valid request");
    let response = sender
        .send_request(request)
        .await
        .map_err(|source| Error::Http { address, source })?;
    if response.status() != StatusCode::OK {
        return Err(Error::Refused {
            address,
            status: response.status(),
        });
    }
    let incoming = read_frames(response.into_body(), frame::FROM_SERVER);
    Ok(Link { outgoing, incoming })
}

/// Accepts the streams of agents.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    accepted: mpsc::Receiver<ServerLink>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener {
    /// Listens on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`Error::Bind`] when the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        Self::bind_limited(address, CONNECTIONS_MAX).await
    }

    /// As [`Listener::bind`]; more than `connections_max` connections wait in the system's queue.
    ///
    /// # Errors
    /// [`Error::Bind`] when the address is taken or not ours.
    pub async fn bind_limited(address: SocketAddr, connections_max: usize) -> Result<Self, Error> {
        let bound = async {
            let socket = TcpListener::bind(address).await?;
            Ok((socket.local_addr()?, socket))
        };
        let (local, socket) = bound
            .await
            .map_err(|source| Error::Bind { address, source })?;
        let (accept, accepted) = mpsc::channel(ACCEPT_STREAMS_MAX);
        let accepting = tokio::spawn(accept_connections(socket, connections_max, accept));
        Ok(Self {
            address: local,
            accepted,
            accepting,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next stream; none once the listener has failed for good.
    pub async fn accept(&mut self) -> Option<ServerLink> {
        self.accepted.recv().await
    }
}

async fn accept_connections(
    socket: TcpListener,
    connections_max: usize,
    accept: mpsc::Sender<ServerLink>,
) {
    static WARNINGS: Seldom = Seldom::new();
    let places = Arc::new(Semaphore::new(connections_max.max(1)));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match socket.accept().await {
            Ok((connection, peer)) => {
                let accept = accept.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(connection, accept).await {
                        tracing::debug!(%peer, %error, "RPC connection ended");
                    }
                    drop(place);
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

async fn serve(connection: TcpStream, accept: mpsc::Sender<ServerLink>) -> anyhow::Result<()> {
    connection.set_nodelay(true)?;
    let asked = Arc::new(Notify::new());
    let service = hyper::service::service_fn({
        let asked = Arc::clone(&asked);
        move |request: Request<Incoming>| {
            asked.notify_one();
            let accept = accept.clone();
            async move { Ok::<_, Infallible>(answer(request, &accept)) }
        }
    });
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .serve_connection(TokioIo::new(connection), service);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        opened = timeout(OPEN_TIMEOUT, asked.notified()) => opened?,
    }
    Ok(serving.await?)
}

type FrameBody = UnsyncBoxBody<Bytes, Infallible>;

fn answer(request: Request<Incoming>, accept: &mpsc::Sender<ServerLink>) -> Response<FrameBody> {
    let status = |status: StatusCode| {
        let mut response = Response::new(FrameBody::default());
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != STREAM_PATH || request.method() != Method::POST {
        return status(StatusCode::NOT_FOUND);
    }
    let (outgoing, body) = body_of::<Frame>();
    let incoming = read_frames(request.into_body(), frame::FROM_AGENT);
    match accept.try_send(Link { outgoing, incoming }) {
        Ok(()) => Response::new(body),
        Err(_) => status(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// A body that carries what is sent to the channel; it ends with the first message that has no
/// form.
fn body_of<Out: Into<Frame> + Send + 'static>() -> (mpsc::Sender<Out>, FrameBody) {
    let (sender, receiver) = mpsc::channel::<Out>(STREAM_MESSAGES_MAX);
    let frames = ReceiverStream::new(receiver)
        .map(|message| message.into().into_bytes())
        .take_while(|bytes| std::future::ready(bytes.is_some()))
        .map(|bytes| Ok::<_, Infallible>(BodyFrame::data(bytes.unwrap_or_default())));
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

    #[tokio::test]
    async fn both_directions_carry_messages_until_one_side_leaves() {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let mut agent = connect(listener.local_addr()).await.unwrap();
        let mut server = listener.accept().await.unwrap();

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
        let mut agent = connect(address).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        cut.notify_one();
        let noticed = async { tokio::join!(agent.incoming.recv(), server.incoming.recv()) };
        // Twice the bound: machines that run tests are busy.
        let (at_agent, at_server) = timeout((PING_INTERVAL + PING_TIMEOUT) * 2, noticed)
            .await
            .expect("nobody noticed");
        assert!(at_agent.is_none() && at_server.is_none());
    }

    #[tokio::test]
    async fn a_connection_that_asks_for_nothing_is_closed() {
        use tokio::io::AsyncReadExt;
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let mut idle = TcpStream::connect(listener.local_addr()).await.unwrap();
        let mut bytes = Vec::new();
        timeout(OPEN_TIMEOUT * 2, idle.read_to_end(&mut bytes))
            .await
            .expect("it stays open")
            .ok();
    }
}

//! One long-lived stream per agent: HTTP/2 with MessagePack frames in both bodies.
//!
//! A frame is a 32-bit big-endian length and that many bytes of MessagePack with field names. Plain
//! TCP on the loopback interface only; streams between machines need certificates, which this version
//! does not have.

use crate::{
    rpc::message::{ToClient, ToServer},
    sys::seldom::Seldom,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Serialize, de::DeserializeOwned};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;

/// Messages that may wait in each direction of a stream.
pub const STREAM_MESSAGES_MAX: usize = 256;
/// Connections of one listener unless the caller says so.
const CONNECTIONS_MAX: usize = 8192;
/// Streams that may wait to be accepted.
const ACCEPT_STREAMS_MAX: usize = 64;
/// The largest frame in bytes: a catalog snapshot of a large cluster.
const FRAME_BYTES_MAX: usize = 256 << 20;
/// Flow-control window of a stream in bytes.
const WINDOW_BYTES: u32 = 4 << 20;
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
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

/// Opens the agent's stream to the server at `address`.
///
/// # Errors
/// Any [`Error`] but `Bind`; trying again later can help with all of them.
pub async fn connect(address: SocketAddr) -> Result<Link<ToServer, ToClient>, Error> {
    let opening = tokio::time::timeout(CONNECT_TIMEOUT, open(address)).await;
    opening.unwrap_or(Err(Error::Timeout { address }))
}

async fn open(address: SocketAddr) -> Result<Link<ToServer, ToClient>, Error> {
    let socket = TcpStream::connect(address)
        .await
        .map_err(|source| Error::Connect { address, source })?;
    socket
        .set_nodelay(true)
        .map_err(|source| Error::Connect { address, source })?;
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
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
    let incoming = read_frames(response.into_body());
    Ok(Link { outgoing, incoming })
}

/// Accepts the streams of agents.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    accepted: mpsc::Receiver<Link<ToClient, ToServer>>,
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
    pub async fn accept(&mut self) -> Option<Link<ToClient, ToServer>> {
        self.accepted.recv().await
    }
}

async fn accept_connections(
    socket: TcpListener,
    connections_max: usize,
    accept: mpsc::Sender<Link<ToClient, ToServer>>,
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

async fn serve(
    connection: TcpStream,
    accept: mpsc::Sender<Link<ToClient, ToServer>>,
) -> anyhow::Result<()> {
    connection.set_nodelay(true)?;
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let accept = accept.clone();
        async move { Ok::<_, Infallible>(answer(request, &accept)) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .serve_connection(TokioIo::new(connection), service)
        .await?;
    Ok(())
}

type FrameBody = UnsyncBoxBody<Bytes, Infallible>;

fn answer(
    request: Request<Incoming>,
    accept: &mpsc::Sender<Link<ToClient, ToServer>>,
) -> Response<FrameBody> {
    let status = |status: StatusCode| {
        let mut response = Response::new(FrameBody::default());
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != STREAM_PATH || request.method() != Method::POST {
        return status(StatusCode::NOT_FOUND);
    }
    let (outgoing, body) = body_of::<ToClient>();
    let incoming = read_frames(request.into_body());
    match accept.try_send(Link { outgoing, incoming }) {
        Ok(()) => Response::new(body),
        Err(_) => status(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// A body that carries what is sent to the channel.
fn body_of<Out: Serialize + Send + 'static>() -> (mpsc::Sender<Out>, FrameBody) {
    let (sender, receiver) = mpsc::channel::<Out>(STREAM_MESSAGES_MAX);
    let frames = ReceiverStream::new(receiver).filter_map(|message| async move {
        match encode(&message) {
            Ok(bytes) => Some(Ok::<_, Infallible>(Frame::data(bytes))),
            Err(error) => {
                tracing::error!(%error, "cannot encode an RPC message");
                None
            }
        }
    });
    (sender, BodyExt::boxed_unsync(StreamBody::new(frames)))
}

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
enum FrameError {
    #[error("cannot encode a message")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("cannot decode a message")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("a frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
}

fn encode<T: Serialize>(message: &T) -> Result<Bytes, FrameError> {
    let mut bytes = BytesMut::new();
    bytes.put_u32(0);
    let mut writer = bytes.writer();
    rmp_serde::encode::write_named(&mut writer, message)?;
    let mut bytes = writer.into_inner();
    let length = bytes.len() - 4;
    let too_long = FrameError::TooLong { bytes: length };
    let prefix = u32::try_from(length)
        .ok()
        .filter(|_| length <= FRAME_BYTES_MAX)
        .ok_or(too_long)?;
    bytes[..4].copy_from_slice(&prefix.to_be_bytes());
    Ok(bytes.freeze())
}

/// Takes one whole frame off the front of `buffer`; none when more bytes are needed.
fn decode<T: DeserializeOwned>(buffer: &mut BytesMut) -> Result<Option<T>, FrameError> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*prefix) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { bytes: length });
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    let frame = buffer.split_to(length);
    Ok(Some(rmp_serde::from_slice(&frame)?))
}

/// A channel of the messages in `body`; it ends with the body, or with the first broken frame.
fn read_frames<In: DeserializeOwned + Send + 'static>(body: Incoming) -> mpsc::Receiver<In> {
    let (sender, receiver) = mpsc::channel(STREAM_MESSAGES_MAX);
    tokio::spawn(async move {
        if let Err(error) = pump(body, &sender).await {
            tracing::debug!(%error, "RPC stream ended");
        }
    });
    receiver
}

async fn pump<In: DeserializeOwned>(
    mut body: Incoming,
    sender: &mpsc::Sender<In>,
) -> Result<(), FrameError> {
    let mut buffer = BytesMut::new();
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
        while let Some(message) = decode(&mut buffer)? {
            if sender.send(message).await.is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::message::{Confirmation, Hello};

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
            .send(ToClient::Welcome { lease_ms: 7 })
            .await
            .unwrap();
        assert!(matches!(
            agent.incoming.recv().await,
            Some(ToClient::Welcome { lease_ms: 7 })
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

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let bytes = encode(&ToServer::Confirmed(Confirmation {
            index: 42,
            busy: Vec::new(),
        }))
        .unwrap();
        for cut in 0..bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..cut]);
            assert!(decode::<ToServer>(&mut buffer).unwrap().is_none());
        }
        let mut buffer = BytesMut::from(&bytes[..]);
        let message = decode::<ToServer>(&mut buffer).unwrap();
        assert!(matches!(
            message,
            Some(ToServer::Confirmed(Confirmation { index: 42, .. }))
        ));
        assert!(buffer.is_empty());
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_read() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0][..]);
        assert!(matches!(
            decode::<ToServer>(&mut buffer),
            Err(FrameError::TooLong { .. })
        ));
    }
}

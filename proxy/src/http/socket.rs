//! A client's connection, as the proxy library wants it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::StatusCode;
use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_http::ResponseHeader;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;

use crate::headers::Hop;

/// Room for the head and a small body of an answer, so that both leave in one system call. Larger writes go through.
const WRITE_BUFFER_BYTES: usize = 1460;

/// A TCP connection with buffered writes; reads go straight into the parser's own buffer.
#[derive(Debug)]
pub(super) struct Socket {
    stream: BufWriter<TcpStream>,
    digest: Arc<SocketDigest>,
    /// Carries the [`Hop`], in the place that the library passes on from the connection to its requests.
    hop: Arc<ProxyDigest>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        let hop = Hop::new(peer.ip(), stream.local_addr()?);
        let unused =
            ResponseHeader::build_no_case(StatusCode::OK, Some(0)).map_err(io::Error::other)?;
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // It is fresh, so this cannot be refused; the system would be asked again otherwise.
        let _ = digest.peer_addr.set(Some(peer.into()));
        Ok(Socket {
            stream: BufWriter::with_capacity(WRITE_BUFFER_BYTES, stream),
            digest: Arc::new(digest),
            hop: Arc::new(ProxyDigest::new(Box::new(unused), Some(Box::new(hop)))),
        })
    }
}

/// What the socket of a request says about its client.
pub(super) fn hop(digest: &Digest) -> Option<&Hop> {
    digest
        .proxy_digest
        .as_ref()?
        .user_data
        .as_ref()?
        .downcast_ref()
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
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
        }
    }
}

impl UniqueID for Socket {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().as_raw_fd()
    }
}

impl Ssl for Socket {}

#[async_trait]
impl Peek for Socket {}

impl GetTimingDigest for Socket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Socket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(self.hop.clone())
    }
}

impl GetSocketDigest for Socket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}

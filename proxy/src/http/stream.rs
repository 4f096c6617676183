//! A client's connection, plain or inside of TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::frames::Frames;

/// How long the end of TLS may take to be told.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(1);

/// A client's connection.
#[derive(Debug)]
pub(super) enum Stream {
    /// As it is.
    Plain(Plain),
    /// Inside of TLS.
    Tls(Box<TlsStream<Prefixed>>),
    /// One request among others, and the frames of its answer.
    Http2(Box<Frames>),
}

impl Stream {
    /// The socket below; none if the system has no room for it.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Stream::Plain(tcp) => tcp.socket(),
            Stream::Tls(tls) => Some(tls.get_ref().0.tcp.as_fd()),
            Stream::Http2(_) => None,
        }
    }

    /// Ready when there is something to read, or the end. A connection that is unknown to the
    /// runtime gets known if `wanted` by now; else nothing is said of it.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>, wanted: bool) -> Poll<()> {
        let tcp = match self {
            Stream::Plain(tcp) => match tcp.known(wanted) {
                Some(tcp) => tcp,
                None => return Poll::Pending,
            },
            Stream::Tls(tls) => &mut tls.get_mut().0.tcp,
            // Nothing is read of it, but it may be left.
            Stream::Http2(frames) => return frames.poll_left(cx),
        };
        // An error is found by the one who reads.
        tcp.poll_read_ready(cx).map(drop)
    }

    /// Whether the runtime knows of it.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self, Stream::Plain(Plain(Tcp::Unknown(_))))
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Whether HTTP/2 was agreed on.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
            Stream::Http2(_) => true,
        }
    }

    /// The version that requests on it have, as they are carried here.
    pub(super) fn proto(&self) -> &'static str {
        match self {
            Stream::Plain(_) | Stream::Tls(_) => "HTTP/1.1",
            Stream::Http2(_) => "HTTP/2.0",
        }
    }

    /// Version and cipher of TLS.
    pub(super) fn tls(&self) -> Option<(&'static str, &'static str)> {
        let Stream::Tls(tls) = self else {
            return None;
        };
        let session = tls.get_ref().1;
        let version = session.protocol_version()?.as_str()?;
        let cipher = session.negotiated_cipher_suite()?.suite().as_str()?;
        Some((version, cipher))
    }

    /// Sends what waits inside of TLS, and says that nothing follows; a plain connection says it by
    /// being dropped.
    pub(super) async fn close(&mut self) {
        if let Stream::Tls(tls) = self {
            drop(timeout(CLOSE_WAIT_MAX, tls.shutdown()).await);
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        // No socket has this number.
        self.socket().map_or(-1, |socket| socket.as_raw_fd())
    }
}

/// A connection without TLS. The runtime gets to know of it when something has to be waited for: of
/// one that brings a request and ends with the answer it never does, which saves two calls of the
/// system and the news of them.
#[derive(Debug)]
pub(super) struct Plain(Tcp);

#[derive(Debug)]
enum Tcp {
    Unknown(std::net::TcpStream),
    Known(TcpStream),
    /// It could not be made known.
    Lost,
}

impl Plain {
    /// A connection that never blocks and that the runtime does not know.
    pub(super) fn new(tcp: std::net::TcpStream) -> Plain {
        Plain(Tcp::Unknown(tcp))
    }

    /// The connection, known to the runtime.
    pub(super) fn into_known(self) -> io::Result<TcpStream> {
        match self.0 {
            Tcp::Unknown(tcp) => TcpStream::from_std(tcp),
            Tcp::Known(tcp) => Ok(tcp),
            Tcp::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The address that the client connected to.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Tcp::Unknown(tcp) => tcp.local_addr(),
            Tcp::Known(tcp) => tcp.local_addr(),
            Tcp::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Tcp::Unknown(tcp) => Some(tcp.as_fd()),
            Tcp::Known(tcp) => Some(tcp.as_fd()),
            Tcp::Lost => None,
        }
    }

    /// The connection if the runtime knows it, or if it is `wanted` that it does.
    fn known(&mut self, wanted: bool) -> Option<&mut TcpStream> {
        if wanted && matches!(self.0, Tcp::Unknown(_)) {
            self.make_known().ok();
        }
        match &mut self.0 {
            Tcp::Known(tcp) => Some(tcp),
            Tcp::Unknown(_) | Tcp::Lost => None,
        }
    }

    fn make_known(&mut self) -> io::Result<()> {
        if let Tcp::Unknown(tcp) = std::mem::replace(&mut self.0, Tcp::Lost) {
            self.0 = Tcp::Known(TcpStream::from_std(tcp)?);
        }
        Ok(())
    }

    /// Does something that goes at once, or waits until it does.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        at_once: impl FnOnce(&mut &std::net::TcpStream) -> io::Result<T>,
        later: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Tcp::Unknown(tcp) = &self.0 {
            match at_once(&mut &*tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.make_known()?,
                result => return Poll::Ready(result),
            }
        }
        match &mut self.0 {
            Tcp::Known(tcp) => later(Pin::new(tcp), cx),
            Tcp::Unknown(_) | Tcp::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Tcp::Unknown(tcp) = &this.0 {
            match (&*tcp).read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => this.make_known()?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        match &mut this.0 {
            Tcp::Known(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Tcp::Unknown(_) | Tcp::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let later = |tcp: Pin<&mut TcpStream>, cx: &mut Context<'_>| tcp.poll_write(cx, buf);
        self.get_mut().poll(cx, |tcp| tcp.write(buf), later)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let later =
            |tcp: Pin<&mut TcpStream>, cx: &mut Context<'_>| tcp.poll_write_vectored(cx, bufs);
        self.get_mut()
            .poll(cx, |tcp| tcp.write_vectored(bufs), later)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let later = |tcp: Pin<&mut TcpStream>, cx: &mut Context<'_>| tcp.poll_shutdown(cx);
        self.get_mut()
            .poll(cx, |tcp| tcp.shutdown(Shutdown::Write), later)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Http2(_) => Poll::Pending,
            Stream::Tls(tls) => {
                // What was written and did not go out then is woken for here.
                if let Poll::Ready(Err(error)) = Pin::new(&mut *tls).poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                let read = Pin::new(tls).poll_read(cx, buf);
                // Many clients just close the connection.
                match read {
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        Poll::Ready(Ok(()))
                    }
                    other => other,
                }
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Http2(frames) => frames.poll_take(cx, buf),
            Stream::Tls(tls) => {
                ready!(Pin::new(&mut *tls).poll_flush(cx))?;
                let written = ready!(Pin::new(&mut *tls).poll_write(cx, buf))?;
                push(tls, cx, written)
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Stream::Http2(frames) => {
                let mut taken = 0;
                for buf in bufs {
                    match frames.poll_take(cx, buf) {
                        Poll::Ready(Ok(own)) if own == buf.len() => taken += own,
                        Poll::Ready(Ok(own)) => return Poll::Ready(Ok(taken + own)),
                        Poll::Pending if taken > 0 => break,
                        other => return other,
                    }
                }
                Poll::Ready(Ok(taken))
            }
            Stream::Tls(tls) => {
                ready!(Pin::new(&mut *tls).poll_flush(cx))?;
                let written = ready!(Pin::new(&mut *tls).poll_write_vectored(cx, bufs))?;
                push(tls, cx, written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Stream::Http2(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Stream::Http2(_) => Poll::Ready(Ok(())),
        }
    }
}

/// Lets out of TLS what was written into it, as far as that goes at once; the rest goes with the
/// next write, or while the next bytes are waited for.
fn push(
    tls: &mut TlsStream<Prefixed>,
    cx: &mut Context<'_>,
    written: usize,
) -> Poll<io::Result<usize>> {
    match Pin::new(tls).poll_flush(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(written)),
    }
}

/// A connection of which some bytes were read already.
#[derive(Debug)]
pub(super) struct Prefixed {
    tcp: TcpStream,
    first: Vec<u8>,
    at: usize,
}

impl Prefixed {
    pub(super) fn new(tcp: TcpStream, first: Vec<u8>) -> Prefixed {
        Prefixed { tcp, first, at: 0 }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = &this.first[this.at..];
        if rest.is_empty() {
            return Pin::new(&mut this.tcp).poll_read(cx, buf);
        }
        let part = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..part]);
        this.at += part;
        if this.at == this.first.len() {
            this.first = Vec::new();
            this.at = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

    use super::{Plain, Stream};

    fn pair() -> (TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (own, _) = listener.accept().unwrap();
        own.set_nonblocking(true).unwrap();
        (client, Stream::Plain(Plain::new(own)))
    }

    /// There is no runtime here that could get to know of it.
    #[test]
    fn what_goes_at_once_needs_no_runtime() {
        let (mut client, mut stream) = pair();
        client.write_all(b"question").unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        // What was written into one end of the machine's own network is at the other.
        let read = Pin::new(&mut stream).poll_read(&mut cx, &mut buffer);
        assert!(matches!(read, Poll::Ready(Ok(()))), "{read:?}");
        assert_eq!(buffer.filled(), b"question");
        assert!(stream.poll_readable(&mut cx, false).is_pending());
        let written = Pin::new(&mut stream).poll_write(&mut cx, b"answer");
        assert!(matches!(written, Poll::Ready(Ok(6))), "{written:?}");
        let ended = Pin::new(&mut stream).poll_shutdown(&mut cx);
        assert!(matches!(ended, Poll::Ready(Ok(()))) && !stream.is_known());
        drop(stream);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
    }

    #[tokio::test]
    async fn what_has_to_wait_is_woken() {
        let (client, mut stream) = pair();
        client.set_nonblocking(true).unwrap();
        let mut client = tokio::net::TcpStream::from_std(client).unwrap();
        assert!(!stream.is_known());
        let later = async {
            tokio::task::yield_now().await;
            client.write_all(b"x").await.unwrap();
        };
        let (read, ()) = tokio::join!(stream.read_u8(), later);
        assert!(read.unwrap() == b'x' && stream.is_known());
        // More than fits goes out as the other end reads it.
        let much = vec![b'y'; 8 << 20];
        let mut seen = vec![0; much.len()];
        let (written, read) = tokio::join!(stream.write_all(&much), client.read_exact(&mut seen));
        assert!(written.is_ok() && read.is_ok() && seen == much);
        drop(client);
        poll_fn(|cx| stream.poll_readable(cx, true)).await;
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_end_is_seen_when_it_is_looked_for() {
        let (client, mut stream) = pair();
        drop(client);
        poll_fn(|cx| stream.poll_readable(cx, true)).await;
        assert!(stream.is_known() && stream.socket().is_some());
    }
}

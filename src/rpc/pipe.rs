//! Bytes both ways on one stream of HTTP/2.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio_util::io::ReaderStream;

/// Bytes that may wait in each direction of a pipe.
const PIPE_BYTES: usize = 64 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a request or an answer carries.
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Bytes to and from the other side. Dropping it, or shutting it down, ends the direction to
/// there.
pub type Pipe = DuplexStream;

/// The end of a pipe that the other side's bytes are to be fed to.
pub(super) struct Far(WriteHalf<DuplexStream>);

/// A pipe: its near end, the body with what is written there, and where the other side's bytes go.
pub(super) fn pipe() -> (Pipe, Body, Far) {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let (written, read): (ReadHalf<DuplexStream>, _) = tokio::io::split(far);
    let parts = ReaderStream::with_capacity(written, PIPE_BYTES);
    let parts = parts.map(|part| part.map(Frame::data).map_err(Into::into));
    (near, StreamBody::new(parts).boxed_unsync(), Far(read))
}

impl Far {
    /// Carries what `body` has, until its end, or until nobody reads it any more.
    pub(super) fn feed(mut self, mut body: Incoming) {
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data()
                    && self.0.write_all(&data).await.is_err()
                {
                    return;
                }
            }
            // Its reader may be gone.
            self.0.shutdown().await.ok();
        });
    }
}

/// A body of these bytes.
pub(super) fn of_bytes(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

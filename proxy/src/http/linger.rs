//! Closing without taking the answer away.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How much of a refused request is read and dropped, so that the client gets to read the answer.
const BYTES_MAX: u64 = 1 << 20;

/// How long a refused client is listened to.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Ends our side of a connection, and reads and drops what a client still sends for a while:
/// closing with unread bytes would take the answer away.
pub(super) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    if stream.shutdown().await.is_ok() {
        let mut rest = stream.take(BYTES_MAX);
        let mut nowhere = tokio::io::sink();
        drop(timeout(WAIT_MAX, tokio::io::copy(&mut rest, &mut nowhere)).await);
    }
}

//! Bytes both ways.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Room for what comes in one read.
const READ_BYTES: usize = 16 << 10;

/// How long a client may take; nothing is forever.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// For its next bytes.
    pub(crate) read: Option<Duration>,
    /// For taking some.
    pub(crate) write: Option<Duration>,
}

/// Passes bytes on both ways until both have ended. The end of one way is passed on too, and the
/// other one goes on: a client may say all it has to say and still wait for the answer.
///
/// # Errors
/// What the system says of either connection, or that the client took too long.
pub(crate) async fn relay<C, T>(client: C, target: T, patience: Patience) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite,
    T: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_target, mut to_target) = tokio::io::split(target);
    let up = copy(&mut from_client, &mut to_target, patience.read, None);
    let down = copy(&mut from_target, &mut to_client, None, patience.write);
    tokio::try_join!(up, down).map(drop)
}

async fn copy<R, W>(
    from: &mut R,
    to: &mut W,
    read: Option<Duration>,
    write: Option<Duration>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = within(read, from.read(&mut buffer)).await?;
        if bytes == 0 {
            return to.shutdown().await;
        }
        let written = async {
            to.write_all(&buffer[..bytes]).await?;
            to.flush().await
        };
        within(write, written).await?;
    }
}

async fn within<T>(
    most: Option<Duration>,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match most {
        Some(most) => timeout(most, work)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?,
        None => work.await,
    }
}

//! Bytes both ways.

use std::cell::Cell;
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

/// Who is told how many bytes were passed on.
#[derive(Clone, Copy)]
pub(crate) struct Counts<'c> {
    /// To the target.
    pub(crate) sent: &'c dyn Fn(usize),
    /// From it.
    pub(crate) received: &'c dyn Fn(usize),
}

/// By whose end a connection broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The client's: it is gone, or took too long.
    #[error("by the client")]
    Client(#[source] io::Error),
    /// The target's.
    #[error("by the target")]
    Target(#[source] io::Error),
}

/// Passes bytes on both ways until both have ended. The end of one way is passed on too, and the
/// other one goes on: a client may say all it has to say and still wait for the answer.
///
/// # Errors
/// What the system says of either connection, or that the client took too long. That a target takes
/// no more once it has said all that it had to say is none.
pub(crate) async fn relay<C, T>(
    client: C,
    target: T,
    patience: Patience,
    counts: Counts<'_>,
) -> Result<(), Broken>
where
    C: AsyncRead + AsyncWrite,
    T: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_target, mut to_target) = tokio::io::split(target);
    let is_said = Cell::new(false);
    let up = async {
        let times = (patience.read, None);
        let copied = copy(&mut from_client, &mut to_target, times, counts.sent).await;
        match copied {
            Err(Side::From(error)) => Err(Broken::Client(error)),
            Err(Side::To(error)) if !is_said.get() => Err(Broken::Target(error)),
            Err(Side::To(_)) | Ok(()) => Ok(()),
        }
    };
    let down = async {
        let times = (None, patience.write);
        let copied = copy(&mut from_target, &mut to_client, times, counts.received).await;
        is_said.set(true);
        copied.map_err(|side| match side {
            Side::From(error) => Broken::Target(error),
            Side::To(error) => Broken::Client(error),
        })
    };
    tokio::try_join!(up, down).map(drop)
}

/// Which end of a way broke.
enum Side {
    From(io::Error),
    To(io::Error),
}

async fn copy<R, W>(
    from: &mut R,
    to: &mut W,
    (read, write): (Option<Duration>, Option<Duration>),
    count: &dyn Fn(usize),
) -> Result<(), Side>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = within(read, from.read(&mut buffer)).await;
        let bytes = bytes.map_err(Side::From)?;
        if bytes == 0 {
            return to.shutdown().await.map_err(Side::To);
        }
        let written = async {
            to.write_all(&buffer[..bytes]).await?;
            to.flush().await
        };
        within(write, written).await.map_err(Side::To)?;
        count(bytes);
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

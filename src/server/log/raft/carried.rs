//! The file of a snapshot while it is sent or received.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};
use sys::simulation;
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

/// The file of a snapshot that is sent or received.
#[derive(Debug)]
pub(super) enum Carried {
    /// Read and written in the pool of the runtime.
    InPool(tokio::fs::File),
    /// In a simulated process: at once.
    AtOnce(fs::File),
}

impl From<fs::File> for Carried {
    fn from(file: fs::File) -> Self {
        if simulation::is_on() {
            Self::AtOnce(file)
        } else {
            Self::InPool(tokio::fs::File::from_std(file))
        }
    }
}

impl Carried {
    /// An empty file to receive one in.
    pub(super) async fn create(path: PathBuf) -> io::Result<Self> {
        let created = sys::threads::blocking(move || {
            let mut options = fs::File::options();
            options.read(true).write(true).create(true).truncate(true);
            options.open(path)
        });
        created.await.map_err(io::Error::other)?.map(Self::from)
    }

    /// Returns once all of it is on the disk.
    pub(super) async fn sync_all(&self) -> io::Result<()> {
        match self {
            Self::InPool(file) => file.sync_all().await,
            Self::AtOnce(file) => file.sync_all(),
        }
    }
}

impl AsyncRead for Carried {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::InPool(file) => Pin::new(file).poll_read(cx, buffer),
            Self::AtOnce(file) => {
                let count = file.read(buffer.initialize_unfilled())?;
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Carried {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::InPool(file) => Pin::new(file).poll_write(cx, bytes),
            Self::AtOnce(file) => Poll::Ready(file.write(bytes)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::InPool(file) => Pin::new(file).poll_flush(cx),
            Self::AtOnce(file) => Poll::Ready(file.flush()),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::InPool(file) => Pin::new(file).poll_shutdown(cx),
            Self::AtOnce(file) => Poll::Ready(file.flush()),
        }
    }
}

impl AsyncSeek for Carried {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        match self.get_mut() {
            Self::InPool(file) => Pin::new(file).start_seek(to),
            Self::AtOnce(file) => file.seek(to).map(drop),
        }
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match self.get_mut() {
            Self::InPool(file) => Pin::new(file).poll_complete(cx),
            Self::AtOnce(file) => Poll::Ready(file.stream_position()),
        }
    }
}

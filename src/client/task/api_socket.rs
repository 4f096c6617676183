//! The socket among a task's secrets at which the agent answers its API to those who show one of
//! the task's tokens: `secrets/api.sock`. A task that is given no token has none.

use crate::{allocdir::Reader, opened::Opened, shared::Shared};
use std::{io, sync::Arc, time::Duration};
use sys::seldom::Seldom;
use tokio::{
    net::UnixListener,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::sleep,
};

/// Connections of one task at a time; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 64;
/// Pause after a failed accept, so that a full file table does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The socket of one task, which is there until this is dropped.
#[derive(Debug)]
pub(super) struct ApiSocket {
    accepting: JoinHandle<()>,
}

impl Drop for ApiSocket {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ApiSocket {
    /// Listens in the directory of `task`, which is built, for the one who reads its secrets.
    pub(super) async fn open(shared: &Shared, task: &str, reader: Reader) -> io::Result<Self> {
        let (dir, task) = (shared.dir.clone(), task.to_owned());
        let listen = move || {
            let listener = dir.listen(&task, reader)?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>(listener)
        };
        let listener = UnixListener::from_std(shared.cx.files.setup.run(listen).await?)?;
        let accepting = tokio::spawn(accept(listener, shared.cx.opened.clone()));
        Ok(Self { accepting })
    }
}

async fn accept(listener: UnixListener, opened: mpsc::Sender<Opened>) {
    static WARNINGS: Seldom = Seldom::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                if opened.send(Opened { stream, slot }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                if WARNINGS.is_due() {
                    tracing::warn!(%error, "cannot accept a connection of a task");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

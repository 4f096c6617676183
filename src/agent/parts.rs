//! The parts that run, and their end.

use std::{fmt::Display, future::Future, time::Duration};
use tokio::{runtime::Handle, task::JoinHandle, time::timeout};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};

/// How long the client may take to stop. Tasks of a dev agent have their own bounds
/// (`kill_timeout`), which lie below.
const CLIENT_STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long listeners may let requests finish.
const EDGE_STOP_TIMEOUT: Duration = Duration::from_secs(35);
/// How long the server may take to close the log.
const SERVER_STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Parts that run.
#[derive(Debug, Default)]
pub(super) struct Parts {
    client: Option<JoinHandle<()>>,
    stop_client: CancellationToken,
    edge: TaskTracker,
    stop_edge: CancellationToken,
    server: Option<JoinHandle<()>>,
    stop_server: CancellationToken,
    server_ended: CancellationToken,
}

impl Parts {
    /// Runs the client; it ends when the token is canceled.
    pub(super) fn client<F>(&mut self, on: &Handle, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.client = Some(on.spawn(run(self.stop_client.clone())));
    }

    /// Runs something at the edge: a listener, or what feeds one. It ends when the future resolves.
    pub(super) fn edge<F>(&self, on: &Handle, run: impl FnOnce(WaitForCancellationFutureOwned) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run = run(self.stop_edge.clone().cancelled_owned());
        self.edge.spawn_on(run, on);
    }

    /// Runs the server; it ends when the future resolves.
    pub(super) fn server<F>(
        &mut self,
        on: &Handle,
        run: impl FnOnce(WaitForCancellationFutureOwned) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = run(self.stop_server.clone().cancelled_owned());
        let ended = self.server_ended.clone().drop_guard();
        self.server = Some(on.spawn(async move {
            running.await;
            drop(ended);
        }));
    }

    /// Canceled when the agent begins to stop: the client is the first part that does.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.stop_client.clone()
    }

    /// Resolves when the server has ended.
    pub(super) async fn server_ended(&self) {
        self.server_ended.cancelled().await;
    }

    /// Stops the client first, which still needs the others, then the listeners, then the server.
    /// What does not stop in time is left behind.
    pub(super) async fn stop(self) {
        self.stop_client.cancel();
        if let Some(client) = self.client {
            finish("client", client, CLIENT_STOP_TIMEOUT).await;
        }
        self.stop_edge.cancel();
        self.edge.close();
        if timeout(EDGE_STOP_TIMEOUT, self.edge.wait()).await.is_err() {
            tracing::warn!("some listeners did not stop in time");
        }
        self.stop_server.cancel();
        if let Some(server) = self.server {
            finish("server", server, SERVER_STOP_TIMEOUT).await;
        }
    }
}

async fn finish(part: &'static str, running: JoinHandle<()>, limit: Duration) {
    match timeout(limit, running).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(part, %error, "a part ended badly"),
        Err(_) => tracing::warn!(part, "a part did not stop in time"),
    }
}

/// Logs the end of a part that failed.
pub(super) fn log_end<E: Display>(part: &'static str, ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::error!(part, %error, "a part ended");
    }
}

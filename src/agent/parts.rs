//! The parts that run, and their end.

use config::Shutdown;
use std::{fmt::Display, future::Future, time::Duration};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};

/// How long it may take until nobody is told any more that requests should come here.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the client may take to stop. Tasks of a dev agent have their own bounds
/// (`kill_timeout`), which lie below.
const CLIENT_STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long listeners may let requests finish, unless the ingress waits longer.
const EDGE_STOP_TIMEOUT: Duration = Duration::from_secs(35);
/// What they may take beside that.
const EDGE_STOP_MARGIN: Duration = Duration::from_secs(5);
/// How long the server may take to close the log.
const SERVER_STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Parts that run.
#[derive(Debug, Default)]
pub(super) struct Parts {
    shutdown: Shutdown,
    leaving: CancellationToken,
    leavers: TaskTracker,
    client: Option<JoinHandle<()>>,
    stop_client: CancellationToken,
    edge: TaskTracker,
    stop_edge: CancellationToken,
    server: Option<JoinHandle<()>>,
    stop_server: CancellationToken,
    server_ended: CancellationToken,
}

impl Parts {
    /// Parts of an agent whose ingress ends so.
    pub(super) fn new(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            ..Self::default()
        }
    }

    /// Runs what lets others know that requests may come here. When the future resolves, it is to
    /// take that back and end; everything else goes on meanwhile.
    pub(super) fn inviting<F>(
        &self,
        on: &Handle,
        run: impl FnOnce(WaitForCancellationFutureOwned) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let run = run(self.leaving.clone().cancelled_owned());
        self.leavers.spawn_on(run, on);
    }

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

    /// Canceled when the agent begins to stop, before the first part does.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.leaving.clone()
    }

    /// Resolves when the server has ended.
    pub(super) async fn server_ended(&self) {
        self.server_ended.cancelled().await;
    }

    /// Serves for the rest of the grace while nobody is sent here any more, unless `hurry` resolves
    /// before. Then it stops the client first, which still needs the others, then the listeners,
    /// then the server. What does not stop in time is left behind.
    pub(super) async fn stop(self, hurry: impl Future<Output = ()>) {
        self.leave(hurry).await;
        self.stop_client.cancel();
        if let Some(client) = self.client {
            finish("client", client, CLIENT_STOP_TIMEOUT).await;
        }
        self.stop_edge.cancel();
        self.edge.close();
        let edge_timeout = EDGE_STOP_TIMEOUT.max(self.shutdown.wait + EDGE_STOP_MARGIN);
        if timeout(edge_timeout, self.edge.wait()).await.is_err() {
            tracing::warn!("some listeners did not stop in time");
        }
        self.stop_server.cancel();
        if let Some(server) = self.server {
            finish("server", server, SERVER_STOP_TIMEOUT).await;
        }
    }

    async fn leave(&self, hurry: impl Future<Output = ()>) {
        let until = Instant::now() + self.shutdown.grace;
        self.leaving.cancel();
        self.leavers.close();
        let left = timeout(LEAVE_TIMEOUT, self.leavers.wait()).await;
        if left.is_err() {
            tracing::warn!("others may still think that requests can come here");
        }
        if Instant::now() >= until {
            return;
        }
        let grace = self.shutdown.grace.as_secs_f64();
        tracing::info!(
            grace,
            "the agent stops; requests are taken for some seconds more"
        );
        tokio::select! {
            () = sleep_until(until) => {}
            () = hurry => tracing::info!("the grace is cut short"),
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

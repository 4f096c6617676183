//! What an agent waits for before it says that it started.

use mesh::view::View;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, Interval, interval_at},
};

/// How often an agent that is not ready says what it waits for.
const REMINDER_INTERVAL: Duration = Duration::from_secs(10);

/// Watches the steps that lie between running parts and an agent that takes work.
#[derive(Clone, Debug)]
pub(super) struct Readiness {
    /// A server that knows its leader took this agent in; its node is written as ready by then.
    pub connected: watch::Receiver<bool>,
    /// The catalog that answers are made from.
    pub catalog: watch::Receiver<Arc<View>>,
    /// The client part knows what an earlier agent left; none without a client.
    pub restored: Option<watch::Receiver<bool>>,
}

impl Readiness {
    /// Resolves when a server has registered the node, DNS and ingress answer from the catalog, and
    /// allocations that were there before can be asked for. Says every few seconds what is missing.
    pub(super) async fn wait(mut self) {
        let mut reminder = interval_at(Instant::now() + REMINDER_INTERVAL, REMINDER_INTERVAL);
        // The senders live as long as the agent.
        let connected = async { drop(self.connected.wait_for(|connected| *connected).await) };
        patiently(
            connected,
            "no server has registered this agent",
            &mut reminder,
        )
        .await;
        let fed = async { drop(self.catalog.changed().await) };
        patiently(
            fed,
            "the catalog has not arrived from the server",
            &mut reminder,
        )
        .await;
        if let Some(mut restored) = self.restored {
            let restored = async { drop(restored.wait_for(|restored| *restored).await) };
            patiently(
                restored,
                "the allocations of an earlier agent are not looked through yet",
                &mut reminder,
            )
            .await;
        }
    }
}

async fn patiently(step: impl Future<Output = ()>, missing: &str, reminder: &mut Interval) {
    tokio::pin!(step);
    loop {
        tokio::select! {
            () = &mut step => return,
            _ = reminder.tick() => tracing::warn!(missing, "the agent is not ready yet"),
        }
    }
}

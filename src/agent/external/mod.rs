//! An external catalog instead of the built-in one: what runs here is registered there, and what is
//! registered there may feed the ingress ([`Feed`]).
//!
//! What the other agent has is compared with what it should have whenever something changes here,
//! and every few seconds, so that it is right again after either side was restarted. Checks are run
//! here; there they are checks with a time to live, which each round renews. What is there when
//! this agent ends stays, as the tasks do. Shares of canaries are written into its key-value store,
//! where a router that reads commands there finds them.
//!
//! Agents are services there too, by which others find them ([`Advertise`], [`Search`]).

mod advertise;
mod feed;
mod other;
mod servers;
mod shares;

pub(super) use advertise::{Advertise, Itself, Place};
pub(super) use feed::{Feed, Pauses, Wanted};
pub(super) use other::{Error, Listed, Other, escaped};
pub(super) use servers::{Search, Seeker, Wanted as WantedServers};

use config::External as Settings;
use mesh::{
    external::{KnownCheck, KnownService, calls, wanted},
    model::{CheckId, NodeId, NodeName, ServiceId},
    view::View,
};
use rpc::session::Handle;
use std::{collections::BTreeMap, future::Future, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};

/// Pause between two comparisons when nothing changes; a third of the time that checks live there.
const ROUND: Duration = Duration::from_secs(mesh::external::TTL_SECS / 3);
/// Pause after a change, so that a burst of them is told at once.
const SETTLE: Duration = Duration::from_millis(50);
/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Keeps an external catalog in step.
#[derive(Debug)]
pub(super) struct External {
    settings: Settings,
    session: Handle,
    node: NodeName,
    owner: NodeId,
}

impl External {
    /// For the node `node`, whose id is `owner`.
    pub(super) fn new(settings: Settings, session: Handle, node: NodeName, owner: NodeId) -> Self {
        Self {
            settings,
            session,
            node,
            owner,
        }
    }

    /// Goes on until `shutdown`.
    pub(super) async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let Some(other) = Other::new(&self.settings) else {
            return;
        };
        let mut catalog = self.session.catalog();
        let mut refresh_at = Instant::now();
        let mut pause = PAUSES.0;
        let mut said = String::new();
        let mut told = None;
        loop {
            let is_due = Instant::now() >= refresh_at;
            let replica = std::sync::Arc::clone(&catalog.borrow_and_update());
            // Before the first list nothing is known, and nothing may be removed.
            let round = async {
                match replica.at {
                    Some(_) => {
                        self.round(&other, &replica.catalog, (is_due, &mut told))
                            .await
                    }
                    None => Ok(()),
                }
            };
            let outcome = tokio::select! {
                outcome = round => outcome,
                () = &mut shutdown => return,
            };
            let wait = match outcome {
                Ok(()) => {
                    if !said.is_empty() {
                        tracing::info!(
                            address = self.settings.address,
                            "the external catalog is in step again"
                        );
                        said.clear();
                    }
                    if is_due && replica.at.is_some() {
                        refresh_at = Instant::now() + ROUND;
                    }
                    pause = PAUSES.0;
                    None
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != said {
                        tracing::warn!(
                            address = self.settings.address,
                            error,
                            "the external catalog is not in step"
                        );
                        said = error;
                    }
                    let wait = pause;
                    pause = (pause * 2).min(PAUSES.1);
                    Some(wait)
                }
            };
            let next = async {
                if let Some(wait) = wait {
                    sleep(wait).await;
                    return true;
                }
                tokio::select! {
                    changed = catalog.changed() => {
                        sleep(SETTLE).await;
                        changed.is_ok()
                    }
                    () = sleep_until(refresh_at) => true,
                }
            };
            tokio::select! {
                goes_on = next => if !goes_on { return },
                () = &mut shutdown => return,
            }
        }
    }

    /// Compares and calls. `told` are the commands for canaries that are known to be there.
    async fn round(
        &self,
        other: &Other,
        view: &View,
        (refresh, told): (bool, &mut Option<String>),
    ) -> Result<(), Error> {
        let services: BTreeMap<ServiceId, KnownService> = other.list("/v1/agent/services").await?;
        let checks: BTreeMap<CheckId, KnownCheck> = other.list("/v1/agent/checks").await?;
        let wanted = wanted(view, &self.node);
        for call in calls(&wanted, &services, &checks, &self.owner, refresh) {
            other.call(&self.owner, call).await?;
        }
        self.tell_shares(other, view, (refresh, told)).await
    }

    /// Writes the commands for canaries of this node where they are not there.
    async fn tell_shares(
        &self,
        other: &Other,
        view: &View,
        (refresh, told): (bool, &mut Option<String>),
    ) -> Result<(), Error> {
        let (commands, alike) = shares::commands(view, &self.node);
        for service in alike {
            tracing::debug!(
                %service,
                "its canaries have no tag of their own, so that no share can be told elsewhere"
            );
        }
        let path = format!("/v1/kv/{}{}", shares::PREFIX, self.owner);
        // Somebody else may have changed it; and what an earlier process wrote is taken back.
        let known = match told.take() {
            Some(known) if !refresh || known.is_empty() => known,
            _ => other.key(&path).await?,
        };
        if known != commands {
            other.set_key(&path, &commands).await?;
        }
        *told = Some(commands);
        Ok(())
    }
}

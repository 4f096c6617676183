//! Reads of the state of a server.

use std::sync::Arc;

use super::wait::Source;
use server::{
    self, Snapshot,
    log::watch::{Subscription, Topic},
};

/// Snapshots of the server, and the topics that wake a reader. The subscription is made when it is
/// needed; the look at the newest snapshot comes after it, so no change is missed.
pub(crate) struct OfServer<'a> {
    server: &'a server::Handle,
    topics: Vec<Topic>,
    subscription: Option<Subscription>,
}

impl<'a> OfServer<'a> {
    /// Wakes a reader when anything of `topics` changes.
    pub(crate) fn new(server: &'a server::Handle, topics: impl IntoIterator<Item = Topic>) -> Self {
        Self {
            server,
            topics: topics.into_iter().collect(),
            subscription: None,
        }
    }
}

impl Source for OfServer<'_> {
    type Snapshot = Snapshot;

    fn newest(&self) -> Arc<Snapshot> {
        self.server.snapshot()
    }

    async fn changed(&mut self) -> bool {
        match &self.subscription {
            Some(subscription) => {
                subscription.changed().await;
                true
            }
            None => {
                self.subscription = self.server.subscribe(std::mem::take(&mut self.topics));
                self.subscription.is_some()
            }
        }
    }
}

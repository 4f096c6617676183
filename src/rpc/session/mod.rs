//! An agent's end of its one long-lived stream to the servers.
//!
//! The session keeps the stream open, holds the agent's replica of the catalog, hands allocations
//! to the client part, and carries reports to the log. What was reported and not yet committed, and
//! what is waited for, is sent again when the stream breaks; what the agent holds already is not.
//!
//! `stream` is one stream, `received` what becomes of what the servers say on it.

mod delta;
mod received;
mod stream;
#[cfg(test)]
mod tests;
mod watches;

use crate::{
    message::{Confirmation, Hello, Position, Report, RulesVersion},
    security::Security,
    servers::Servers,
    traffic::{self, Traffic},
    watched::Subject,
};
use jobs::model::Index;
use mesh::view::View;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use stream::StreamError;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep},
};
use watches::Watches;

pub use delta::AllocDelta;
pub use watches::{SUBJECTS_MAX, Watched};

/// Reports that may wait for their commit; further ones wait in their callers.
const REPORTS_MAX: usize = 1024;
/// Messages about traffic that may wait to be sent; further ones are not told.
const TRAFFIC_MAX: usize = 32;
/// Questions for drained instances that may wait to be sent; further ones wait in their callers.
const AWAITS_MAX: usize = 64;
/// Allocation changes that wait for the client part, beside the one in which later ones are merged.
const ALLOC_DELTAS_MAX: usize = 4;
/// First pause before the stream is opened again, or a refused report is sent again; the true one
/// is between half of it and all of it.
const RECONNECT_MIN: Duration = Duration::from_millis(20);
/// Longest pause before the stream is opened again, or a refused report is sent again.
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The servers said no, and would again.
    #[error("the servers refused the report: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The agent is stopping.
    #[error("the session is closed")]
    Closed,
}

/// The agent's copy of the catalog.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// The last entry in it that changed the catalog; none before the first catalog.
    pub at: Option<Position>,
    /// The catalog.
    pub catalog: View,
}

struct Pending {
    report: Report,
    reply: oneshot::Sender<Result<Index, Error>>,
}

struct Await {
    index: Index,
    instances: Vec<String>,
    reply: oneshot::Sender<()>,
}

/// What the parts of an agent use of the session.
#[derive(Clone, Debug)]
pub struct Handle {
    reports: mpsc::Sender<Pending>,
    awaits: mpsc::Sender<Await>,
    catalog: watch::Receiver<Arc<Replica>>,
    confirmed: Arc<watch::Sender<Confirmation>>,
    traffic: mpsc::Sender<Traffic>,
    traffic_interval: watch::Receiver<Duration>,
    connected: watch::Receiver<bool>,
    rules: watch::Receiver<RulesVersion>,
    watches: Watches,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Await {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Await")
            .field("index", &self.index)
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Writes `report` to the log and answers with its index. Waits as long as no server can be
    /// reached.
    ///
    /// # Errors
    /// [`Error::Refused`] when the servers will not take it, [`Error::Closed`] when the agent
    /// stops.
    pub async fn report(&self, report: Report) -> Result<Index, Error> {
        let (reply, committed) = oneshot::channel();
        self.reports
            .send(Pending { report, reply })
            .await
            .map_err(|_| Error::Closed)?;
        committed.await.map_err(|_| Error::Closed)?
    }

    /// Waits until every data plane with a live lease shows `index` and has no request in flight to
    /// any of `instances` (service ids).
    ///
    /// # Errors
    /// [`Error::Closed`] when the agent stops.
    pub async fn drained(&self, index: Index, instances: &[String]) -> Result<(), Error> {
        let (reply, drained) = oneshot::channel();
        let asked = Await {
            index,
            instances: instances.to_vec(),
            reply,
        };
        self.awaits.send(asked).await.map_err(|_| Error::Closed)?;
        drained.await.map_err(|_| Error::Closed)
    }

    /// The agent's copy of the catalog, and every change of it.
    pub fn catalog(&self) -> watch::Receiver<Arc<Replica>> {
        self.catalog.clone()
    }

    /// Says how far this agent's DNS view and proxy table have come. The position only moves
    /// forward.
    pub fn confirm(&self, confirmation: Confirmation) {
        self.confirmed.send_if_modified(|confirmed| {
            let next = Confirmation {
                at: confirmation.at.max(confirmed.at),
                ..confirmation
            };
            let changed = next != *confirmed;
            *confirmed = next;
            changed
        });
    }

    /// Tells the servers what this agent's ingress counted in an interval. Without a server that
    /// takes it, or when it does not take it fast enough, that interval is missing there.
    pub fn count(&self, traffic: Traffic) {
        if self.traffic.try_send(traffic).is_err() {
            tracing::trace!("an interval of counts is not told");
        }
    }

    /// How long the servers want such intervals to be, and every change of it.
    pub fn traffic_interval(&self) -> watch::Receiver<Duration> {
        self.traffic_interval.clone()
    }

    /// Whether a server holds the stream's other end right now, and every change of it.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// The rules by which the servers derive instances, and every change of them; those that the
    /// agent knows before the first welcome.
    pub fn rules(&self) -> watch::Receiver<RulesVersion> {
        self.rules.clone()
    }

    /// Follows a key or variable as long as the answer is kept; none when this agent follows too
    /// many already. As long as no server can be reached there is no news.
    pub fn watch(&self, subject: &Subject) -> Option<Watched> {
        self.watches.follow(subject)
    }
}

/// Keeps the stream. See the module.
#[derive(Debug)]
pub struct Session {
    servers: Servers,
    security: Security,
    hello: Hello,
    reports: mpsc::Receiver<Pending>,
    awaits: mpsc::Receiver<Await>,
    allocs: mpsc::Sender<AllocDelta>,
    /// What the client part has no room for yet.
    waiting: Option<AllocDelta>,
    /// Up to where allocations were taken.
    allocs_at: Position,
    catalog: watch::Sender<Arc<Replica>>,
    view: View,
    catalog_at: Option<Position>,
    confirmed: watch::Receiver<Confirmation>,
    traffic: mpsc::Receiver<Traffic>,
    traffic_interval: watch::Sender<Duration>,
    /// The last catalog that the servers want to be confirmed.
    to_confirm: Position,
    /// What the servers were told last on this stream.
    told: Confirmation,
    connected: watch::Sender<bool>,
    rules: watch::Sender<RulesVersion>,
    watches: Watches,
    pending: BTreeMap<u64, Pending>,
    awaited: BTreeMap<u64, Await>,
    next_number: u64,
    /// Reports that were refused for now, and when they are sent again.
    refused: BTreeSet<u64>,
    retry_at: Option<Instant>,
    retry_pause: Duration,
    /// Why the last registration was rejected, until one is accepted.
    rejected: Option<String>,
}

impl Session {
    /// A session with the server at `server` over plain connections, which says `hello` on every
    /// new stream.
    pub fn new(server: SocketAddr, hello: Hello) -> (Self, Handle, mpsc::Receiver<AllocDelta>) {
        Self::with(Servers::new([server.to_string()]), Security::Plain, hello)
    }

    /// A session with any of `servers`, one at a time, over connections as `security` makes them.
    pub fn with(
        servers: Servers,
        security: Security,
        hello: Hello,
    ) -> (Self, Handle, mpsc::Receiver<AllocDelta>) {
        let (report_sender, reports) = mpsc::channel(REPORTS_MAX);
        let (await_sender, awaits) = mpsc::channel(AWAITS_MAX);
        let (allocs, alloc_deltas) = mpsc::channel(ALLOC_DELTAS_MAX);
        let (catalog, catalog_reader) = watch::channel(Arc::new(Replica::default()));
        let (confirm, confirmed) = watch::channel(Confirmation::default());
        let (count, traffic) = mpsc::channel(TRAFFIC_MAX);
        let (traffic_interval, interval_reader) = watch::channel(traffic::INTERVAL);
        let (connected, connected_reader) = watch::channel(false);
        let (rules, rules_reader) = watch::channel(hello.rules);
        let watches = Watches::default();
        let handle = Handle {
            watches: watches.clone(),
            reports: report_sender,
            awaits: await_sender,
            catalog: catalog_reader,
            confirmed: Arc::new(confirm),
            traffic: count,
            traffic_interval: interval_reader,
            connected: connected_reader,
            rules: rules_reader,
        };
        let session = Self {
            servers,
            security,
            hello,
            reports,
            awaits,
            allocs,
            waiting: None,
            allocs_at: Position::default(),
            catalog,
            view: View::default(),
            catalog_at: None,
            confirmed,
            traffic,
            traffic_interval,
            to_confirm: Position::default(),
            told: Confirmation::default(),
            connected,
            rules,
            watches,
            pending: BTreeMap::new(),
            awaited: BTreeMap::new(),
            next_number: 1,
            refused: BTreeSet::new(),
            retry_at: None,
            retry_pause: RECONNECT_MIN,
            rejected: None,
        };
        (session, handle, alloc_deltas)
    }

    /// Keeps the stream open until `shutdown`.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        tokio::pin!(shutdown);
        let mut pause = RECONNECT_MIN;
        // Servers that were tried since the last stream.
        let mut tried = 0;
        loop {
            let server = self.servers.current();
            let streamed = tokio::select! {
                streamed = self.stream(&server) => streamed,
                () = &mut shutdown => return,
            };
            let was_connected = self.connected.send_replace(false);
            if let Err(error) = streamed {
                self.tell(&server, &error);
            }
            self.servers.failed(&server);
            tried = if was_connected { 0 } else { tried + 1 };
            pause = if was_connected {
                RECONNECT_MIN
            } else if tried % self.servers.count().max(1) == 0 {
                (pause * 2).min(RECONNECT_MAX)
            } else {
                // The next one may well answer.
                continue;
            };
            tokio::select! {
                () = sleep(jittered(pause)) => {}
                () = &mut shutdown => return,
            }
        }
    }

    /// A registration that is rejected needs an operator's eye, once; servers come and go.
    fn tell(&mut self, server: &str, error: &StreamError) {
        let source = std::error::Error::source(error).map(ToString::to_string);
        let reason = match error {
            StreamError::Rejected { reason } => Some(reason.clone()),
            StreamError::Rules { .. } => Some(error.to_string()),
            _ => None,
        };
        match reason {
            Some(_) if self.rejected != reason => {
                tracing::warn!(server, "{error}");
                self.rejected = reason;
            }
            _ => tracing::debug!(server, source, "{error}"),
        }
    }

    fn next_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    fn accept_report(&mut self, pending: Pending) -> u64 {
        if let Report::Node(node) = &pending.report {
            self.hello.node = Some((**node).clone());
        }
        let number = self.next_number();
        self.pending.insert(number, pending);
        number
    }
}

/// Between half of `pause` and all of it, so that agents do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let part = f64::from(u16::try_from(sys::random::seed() >> 48).unwrap_or(u16::MAX));
    pause.mul_f64(0.5 + part / f64::from(u16::MAX) / 2.0)
}

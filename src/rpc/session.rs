//! An agent's end of its one long-lived stream to the servers.
//!
//! The session keeps the stream open, holds the agent's replica of the catalog, hands allocations to
//! the client part, and carries reports to the log. What was reported and not yet committed when the
//! stream breaks is sent again on the next one.

use crate::rpc::{
    message::{Assignment, Confirmation, Hello, Report, ToClient, ToServer},
    transport::{self, Link},
};
use jobs::model::{AllocId, Index};
use std::{collections::BTreeMap, future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

/// Reports that may wait for their commit; further ones wait in their callers.
const REPORTS_MAX: usize = 1024;
/// Allocation changes that may wait for the client part; past that the stream starts afresh.
const ALLOC_DELTAS_MAX: usize = 256;
/// How long a server may take to answer a registration.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// First pause before the stream is opened again.
const RECONNECT_MIN: Duration = Duration::from_millis(20);
/// Longest pause before the stream is opened again.
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

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Transport(#[from] transport::Error),
    #[error("agent registration rejected: {reason}")]
    Rejected { reason: String },
    #[error("the server answered the registration with another message")]
    Unexpected,
    #[error("the server ended the stream")]
    Ended,
    #[error("the server did not answer the registration within {} s", WELCOME_TIMEOUT.as_secs())]
    Silent,
}

impl<T> From<mpsc::error::SendError<T>> for StreamError {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self::Ended
    }
}

/// The agent's copy of the catalog.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// The index up to which it is complete; 0 before the first snapshot.
    pub index: Index,
    /// The catalog.
    pub catalog: mesh::state::Snapshot,
}

/// Changes of the allocations of this node.
#[derive(Debug)]
pub struct AllocDelta {
    /// Index.
    pub index: Index,
    /// True when `assignments` is everything that this node should know.
    pub complete: bool,
    /// New or changed; `alloc.job` is filled in.
    pub assignments: Vec<Assignment>,
    /// Forgotten by the servers.
    pub removed: Vec<AllocId>,
}

struct Pending {
    report: Report,
    reply: oneshot::Sender<Result<Index, Error>>,
}

/// What the parts of an agent use of the session.
#[derive(Clone, Debug)]
pub struct Handle {
    reports: mpsc::Sender<Pending>,
    catalog: watch::Receiver<Arc<Replica>>,
    drained: watch::Receiver<Confirmation>,
    confirmed: Arc<watch::Sender<Confirmation>>,
    connected: watch::Receiver<bool>,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Writes `report` to the log and answers with its index. Waits as long as no server can be reached.
    ///
    /// # Errors
    /// [`Error::Refused`] when the servers will not take it, [`Error::Closed`] when the agent stops.
    pub async fn report(&self, report: Report) -> Result<Index, Error> {
        let (reply, committed) = oneshot::channel();
        self.reports
            .send(Pending { report, reply })
            .await
            .map_err(|_| Error::Closed)?;
        committed.await.map_err(|_| Error::Closed)?
    }

    /// Waits until every data plane with a live lease shows `index` and has no request in flight to any of
    /// `instances` (service ids).
    ///
    /// # Errors
    /// [`Error::Closed`] when the agent stops.
    pub async fn drained(&self, index: Index, instances: &[String]) -> Result<(), Error> {
        let mut drained = self.drained.clone();
        let idle = |done: &Confirmation| instances.iter().all(|id| !done.busy.contains(id));
        drained
            .wait_for(|done| done.index >= index && idle(done))
            .await
            .map(drop)
            .map_err(|_| Error::Closed)
    }

    /// The agent's copy of the catalog, and every change of it.
    pub fn catalog(&self) -> watch::Receiver<Arc<Replica>> {
        self.catalog.clone()
    }

    /// Says how far this agent's DNS view and proxy table have come. The index only moves forward.
    pub fn confirm(&self, confirmation: Confirmation) {
        self.confirmed.send_if_modified(|confirmed| {
            let next = Confirmation {
                index: confirmation.index.max(confirmed.index),
                ..confirmation
            };
            let changed = next != *confirmed;
            *confirmed = next;
            changed
        });
    }

    /// Whether a server holds the stream's other end right now, and every change of it.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }
}

/// Keeps the stream. See the module.
#[derive(Debug)]
pub struct Session {
    server: SocketAddr,
    hello: Hello,
    reports: mpsc::Receiver<Pending>,
    allocs: mpsc::Sender<AllocDelta>,
    catalog: watch::Sender<Arc<Replica>>,
    state: mesh::state::State,
    drained: watch::Sender<Confirmation>,
    confirmed: watch::Receiver<Confirmation>,
    connected: watch::Sender<bool>,
    pending: BTreeMap<u64, Pending>,
    next_number: u64,
    /// Why the last registration was rejected, until one is accepted.
    rejected: Option<String>,
}

impl Session {
    /// A session with the server at `server`, which says `hello` on every new stream.
    pub fn new(server: SocketAddr, hello: Hello) -> (Self, Handle, mpsc::Receiver<AllocDelta>) {
        let (report_sender, reports) = mpsc::channel(REPORTS_MAX);
        let (allocs, alloc_deltas) = mpsc::channel(ALLOC_DELTAS_MAX);
        let (catalog, catalog_reader) = watch::channel(Arc::new(Replica::default()));
        let (drained, drained_reader) = watch::channel(Confirmation::default());
        let (confirm, confirmed) = watch::channel(Confirmation::default());
        let (connected, connected_reader) = watch::channel(false);
        let handle = Handle {
            reports: report_sender,
            catalog: catalog_reader,
            drained: drained_reader,
            confirmed: Arc::new(confirm),
            connected: connected_reader,
        };
        let session = Self {
            server,
            hello,
            reports,
            allocs,
            catalog,
            state: mesh::state::State::default(),
            drained,
            confirmed,
            connected,
            pending: BTreeMap::new(),
            next_number: 1,
            rejected: None,
        };
        (session, handle, alloc_deltas)
    }

    /// Keeps the stream open until `shutdown`.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        tokio::pin!(shutdown);
        let mut pause = RECONNECT_MIN;
        loop {
            let streamed = tokio::select! {
                streamed = self.stream() => streamed,
                () = &mut shutdown => return,
            };
            self.connected.send_replace(false);
            match streamed {
                Ok(()) => pause = RECONNECT_MIN,
                Err(error) => {
                    self.tell(&error);
                    pause = (pause * 2).min(RECONNECT_MAX);
                }
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = &mut shutdown => return,
            }
        }
    }

    /// One stream from its opening to its end; `Ok` when it carried something.
    async fn stream(&mut self) -> Result<(), StreamError> {
        let Link {
            outgoing,
            mut incoming,
        } = transport::connect(self.server).await?;
        let outgoing = &outgoing;
        outgoing
            .send(ToServer::Hello(Box::new(self.hello.clone())))
            .await?;
        let lease_ms = match timeout(WELCOME_TIMEOUT, incoming.recv()).await {
            Ok(Some(ToClient::Welcome { lease_ms })) => lease_ms,
            Ok(Some(ToClient::Rejected { reason })) => {
                return Err(StreamError::Rejected { reason });
            }
            Ok(Some(_)) => return Err(StreamError::Unexpected),
            Ok(None) => return Err(StreamError::Ended),
            Err(_) => return Err(StreamError::Silent),
        };
        self.rejected = None;
        self.connected.send_replace(true);
        for (&number, pending) in &self.pending {
            outgoing
                .send(ToServer::Report {
                    number,
                    report: pending.report.clone(),
                })
                .await?;
        }
        self.confirmed.mark_changed();
        let beat = Duration::from_millis((lease_ms / 3).max(10));
        let mut heartbeat = interval_at(Instant::now() + beat, beat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = incoming.recv() => match message {
                    Some(message) => if !self.on_message(message) { return Ok(()) },
                    None => return Ok(()),
                },
                pending = self.reports.recv(), if self.pending.len() < REPORTS_MAX => {
                    let Some(pending) = pending else { return Ok(()) };
                    let number = self.accept_report(pending);
                    let report = self.pending[&number].report.clone();
                    outgoing.send(ToServer::Report { number, report }).await?;
                }
                Ok(()) = self.confirmed.changed() => {
                    let confirmation = self.confirmed.borrow_and_update().clone();
                    if confirmation.index > 0 {
                        outgoing.send(ToServer::Confirmed(confirmation)).await?;
                    }
                }
                _ = heartbeat.tick() => outgoing.send(ToServer::Heartbeat).await?,
            }
        }
    }

    /// A registration that is rejected needs an operator's eye, once; servers come and go.
    fn tell(&mut self, error: &StreamError) {
        let source = std::error::Error::source(error).map(ToString::to_string);
        match error {
            StreamError::Rejected { reason } if self.rejected.as_ref() != Some(reason) => {
                tracing::warn!(server = %self.server, "{error}");
                self.rejected = Some(reason.clone());
            }
            _ => tracing::debug!(server = %self.server, source, "{error}"),
        }
    }

    fn accept_report(&mut self, pending: Pending) -> u64 {
        if let Report::Node(node) = &pending.report {
            self.hello.node = Some((**node).clone());
        }
        let number = self.next_number;
        self.next_number += 1;
        self.pending.insert(number, pending);
        number
    }

    /// Takes one message in; false when the stream must start afresh.
    fn on_message(&mut self, message: ToClient) -> bool {
        match message {
            ToClient::Welcome { .. } | ToClient::Rejected { .. } => {}
            ToClient::Catalog { index, state } => {
                self.state = mesh::state::State::restore(*state);
                self.publish(index);
            }
            ToClient::CatalogDelta { at, commands } => {
                for command in commands {
                    if let Err(rejected) = self.state.apply(at, command) {
                        tracing::error!(%rejected, index = at.index, "the catalog replica diverged");
                        return false;
                    }
                }
                self.publish(at.index);
            }
            ToClient::Allocs {
                index,
                complete,
                mut assignments,
                removed,
            } => {
                for assignment in &mut assignments {
                    assignment.alloc.job = Arc::clone(&assignment.job);
                }
                let delta = AllocDelta {
                    index,
                    complete,
                    assignments,
                    removed,
                };
                if self.allocs.try_send(delta).is_err() {
                    tracing::warn!(
                        "allocation changes are not taken in time; starting a new stream"
                    );
                    return false;
                }
            }
            ToClient::Committed { number, index } => self.settle(number, Ok(index)),
            ToClient::Refused {
                number,
                reason,
                retry,
            } => {
                if retry {
                    tracing::debug!(number, reason, "a report is sent again");
                    return false;
                }
                self.settle(number, Err(Error::Refused { reason }));
            }
            ToClient::Drained(confirmation) => {
                self.drained.send_replace(confirmation);
            }
        }
        true
    }

    fn settle(&mut self, number: u64, result: Result<Index, Error>) {
        if let Some(pending) = self.pending.remove(&number) {
            // A caller that stopped waiting does not need the answer.
            pending.reply.send(result).ok();
        }
    }

    fn publish(&mut self, index: Index) {
        self.catalog.send_replace(Arc::new(Replica {
            index,
            catalog: self.state.snapshot(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::transport::Listener;

    async fn hello(link: &mut Link<ToClient, ToServer>) {
        assert!(matches!(
            link.incoming.recv().await,
            Some(ToServer::Hello(_))
        ));
        link.outgoing
            .send(ToClient::Welcome { lease_ms: 60_000 })
            .await
            .unwrap();
    }

    async fn next_report(link: &mut Link<ToClient, ToServer>) -> u64 {
        loop {
            match link.incoming.recv().await.expect("the stream is open") {
                ToServer::Report { number, .. } => return number,
                ToServer::Heartbeat | ToServer::Confirmed { .. } => {}
                ToServer::Hello(_) => panic!("a second hello"),
            }
        }
    }

    #[tokio::test]
    async fn a_report_survives_a_broken_stream() {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let (session, handle, _allocs) = Session::new(listener.local_addr(), Hello::default());
        let running = tokio::spawn(session.run(std::future::pending()));
        let report = tokio::spawn(async move { handle.report(Report::Checks(Vec::new())).await });

        let mut first = listener.accept().await.unwrap();
        hello(&mut first).await;
        let number = next_report(&mut first).await;
        drop(first);

        let mut second = listener.accept().await.unwrap();
        hello(&mut second).await;
        assert_eq!(
            next_report(&mut second).await,
            number,
            "the same report comes again"
        );
        second
            .outgoing
            .send(ToClient::Committed { number, index: 9 })
            .await
            .unwrap();
        assert_eq!(report.await.unwrap().unwrap(), 9);
        running.abort();
    }

    fn confirmation(index: Index, busy: &[&str]) -> Confirmation {
        Confirmation {
            index,
            busy: busy.iter().map(|&id| id.to_owned()).collect(),
        }
    }

    #[tokio::test]
    async fn a_confirmed_index_only_moves_forward() {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let (session, handle, _allocs) = Session::new(listener.local_addr(), Hello::default());
        let running = tokio::spawn(session.run(std::future::pending()));
        let mut link = listener.accept().await.unwrap();
        hello(&mut link).await;
        handle.confirm(confirmation(7, &["a"]));
        handle.confirm(confirmation(5, &[]));
        loop {
            match link.incoming.recv().await.unwrap() {
                ToServer::Confirmed(confirmed) if confirmed.busy.is_empty() => {
                    assert_eq!(confirmed.index, 7);
                    break;
                }
                other => assert!(matches!(
                    other,
                    ToServer::Heartbeat | ToServer::Confirmed(_)
                )),
            }
        }
        running.abort();
    }

    #[tokio::test]
    async fn a_drain_waits_for_its_own_instances_only() {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let (session, handle, _allocs) = Session::new(listener.local_addr(), Hello::default());
        let running = tokio::spawn(session.run(std::future::pending()));
        let mut link = listener.accept().await.unwrap();
        hello(&mut link).await;
        link.outgoing
            .send(ToClient::Drained(confirmation(7, &["hung"])))
            .await
            .unwrap();
        handle.drained(6, &["idle".to_owned()]).await.unwrap();
        let waiting = handle.clone();
        let hung = tokio::spawn(async move { waiting.drained(6, &["hung".to_owned()]).await });
        tokio::task::yield_now().await;
        assert!(!hung.is_finished());
        link.outgoing
            .send(ToClient::Drained(confirmation(7, &[])))
            .await
            .unwrap();
        hung.await.unwrap().unwrap();
        running.abort();
    }
}

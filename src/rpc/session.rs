//! An agent's end of its one long-lived stream to the servers.
//!
//! The session keeps the stream open, holds the agent's replica of the catalog, hands allocations to
//! the client part, and carries reports to the log. What was reported and not yet committed, and what is
//! waited for, is sent again when the stream breaks; what the agent holds already is not.

use crate::{
    rpc::{
        message::{Assignment, Confirmation, Held, Hello, Position, Report, ToClient, ToServer},
        transport::{self, AgentLink},
    },
    sys,
};
use jobs::model::{AllocId, Index};
use mesh::view::View;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout},
};

/// Reports that may wait for their commit; further ones wait in their callers.
const REPORTS_MAX: usize = 1024;
/// Questions for drained instances that may wait to be sent; further ones wait in their callers.
const AWAITS_MAX: usize = 64;
/// Allocation changes that wait for the client part, beside the one in which later ones are merged.
const ALLOC_DELTAS_MAX: usize = 4;
/// How long a server may take to answer a registration.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream may take no message before it is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// First pause before the stream is opened again, or a refused report is sent again; the true one is
/// between half of it and all of it.
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
    #[error("the server took no message for {} s", SEND_TIMEOUT.as_secs())]
    Stuck,
}

/// The agent's copy of the catalog.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// The last entry in it that changed the catalog; none before the first catalog.
    pub at: Option<Position>,
    /// The catalog.
    pub catalog: View,
}

/// Changes of the allocations of this node.
#[derive(Debug, Default)]
pub struct AllocDelta {
    /// Ids of all allocations that the servers know of this node, when they said so.
    pub known: Option<BTreeSet<AllocId>>,
    /// New or changed, by id; `alloc.job` is filled in.
    pub assignments: BTreeMap<AllocId, Assignment>,
    /// Forgotten by the servers.
    pub removed: BTreeSet<AllocId>,
}

impl AllocDelta {
    /// Adds what came later; the result says what both said in order.
    fn merge(&mut self, later: Self) {
        if let Some(known) = &later.known {
            self.assignments.retain(|id, _| known.contains(id));
            self.removed.clear();
            self.known = later.known;
        }
        for id in later.removed {
            self.assignments.remove(&id);
            if let Some(known) = &mut self.known {
                known.remove(&id);
            }
            self.removed.insert(id);
        }
        for (id, assignment) in later.assignments {
            self.removed.remove(&id);
            if let Some(known) = &mut self.known {
                known.insert(id);
            }
            self.assignments.insert(id, assignment);
        }
    }
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
    connected: watch::Receiver<bool>,
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

    /// Says how far this agent's DNS view and proxy table have come. The position only moves forward.
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
    /// The last catalog that the servers want to be confirmed.
    to_confirm: Position,
    /// What the servers were told last on this stream.
    told: Confirmation,
    connected: watch::Sender<bool>,
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
    /// A session with the server at `server`, which says `hello` on every new stream.
    pub fn new(server: SocketAddr, hello: Hello) -> (Self, Handle, mpsc::Receiver<AllocDelta>) {
        let (report_sender, reports) = mpsc::channel(REPORTS_MAX);
        let (await_sender, awaits) = mpsc::channel(AWAITS_MAX);
        let (allocs, alloc_deltas) = mpsc::channel(ALLOC_DELTAS_MAX);
        let (catalog, catalog_reader) = watch::channel(Arc::new(Replica::default()));
        let (confirm, confirmed) = watch::channel(Confirmation::default());
        let (connected, connected_reader) = watch::channel(false);
        let handle = Handle {
            reports: report_sender,
            awaits: await_sender,
            catalog: catalog_reader,
            confirmed: Arc::new(confirm),
            connected: connected_reader,
        };
        let session = Self {
            server,
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
            to_confirm: Position::default(),
            told: Confirmation::default(),
            connected,
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
        loop {
            let streamed = tokio::select! {
                streamed = self.stream() => streamed,
                () = &mut shutdown => return,
            };
            let was_connected = self.connected.send_replace(false);
            if let Err(error) = streamed {
                self.tell(&error);
            }
            pause = if was_connected {
                RECONNECT_MIN
            } else {
                (pause * 2).min(RECONNECT_MAX)
            };
            tokio::select! {
                () = sleep(jittered(pause)) => {}
                () = &mut shutdown => return,
            }
        }
    }

    /// One stream from its opening to its end.
    async fn stream(&mut self) -> Result<(), StreamError> {
        let link = transport::connect(self.server).await?;
        let AgentLink {
            outgoing,
            mut incoming,
        } = link;
        let outgoing = Outgoing(outgoing);
        let allocs = self.allocs.clone();
        self.hello.confirmed = self.confirmed.borrow().at.index;
        outgoing
            .send(ToServer::Hello(Box::new(self.hello.clone())))
            .await?;
        self.hello.stream += 1;
        let (lease_ms, history) = match timeout(WELCOME_TIMEOUT, incoming.recv()).await {
            Ok(Some(ToClient::Welcome { lease_ms, history })) => (lease_ms, history),
            Ok(Some(ToClient::Rejected { reason })) => {
                return Err(StreamError::Rejected { reason });
            }
            Ok(Some(_)) => return Err(StreamError::Unexpected),
            Ok(None) => return Err(StreamError::Ended),
            Err(_) => return Err(StreamError::Silent),
        };
        if self.hello.held.history != history {
            self.hello.held = Held {
                history,
                ..Held::default()
            };
        }
        self.rejected = None;
        self.connected.send_replace(true);
        self.resume(&outgoing).await?;
        let beat = Duration::from_millis((lease_ms / 3).max(10));
        let mut heartbeat = interval_at(Instant::now() + beat, beat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let retry_at = self.retry_at.unwrap_or_else(Instant::now);
            tokio::select! {
                message = incoming.recv() => match message {
                    Some(message) => {
                        self.on_message(message);
                        self.confirm_if_asked(&outgoing).await?;
                    }
                    None => return Err(StreamError::Ended),
                },
                pending = self.reports.recv(), if self.pending.len() < REPORTS_MAX => {
                    let Some(pending) = pending else { return Ok(()) };
                    let number = self.accept_report(pending);
                    self.send_report(&outgoing, number).await?;
                }
                Some(asked) = self.awaits.recv(), if self.awaited.len() < REPORTS_MAX => {
                    let number = self.next_number();
                    outgoing.send(question(number, &asked)).await?;
                    self.awaited.insert(number, asked);
                }
                Ok(()) = self.confirmed.changed() => self.confirm_if_asked(&outgoing).await?,
                room = allocs.reserve(), if self.waiting.is_some() => {
                    // Without a client part there is nobody to tell.
                    let delta = self.waiting.take().unwrap_or_default();
                    if let Ok(room) = room {
                        room.send(delta);
                    }
                }
                () = sleep_until(retry_at), if self.retry_at.is_some() => {
                    self.retry_at = None;
                    for number in std::mem::take(&mut self.refused) {
                        self.send_report(&outgoing, number).await?;
                    }
                }
                _ = heartbeat.tick() => outgoing.send(ToServer::Heartbeat).await?,
            }
        }
    }

    /// Sends again what the stream before left open.
    async fn resume(&mut self, outgoing: &Outgoing) -> Result<(), StreamError> {
        self.refused.clear();
        self.retry_at = None;
        let numbers: Vec<u64> = self.pending.keys().copied().collect();
        for number in numbers {
            self.send_report(outgoing, number).await?;
        }
        // Their callers may have given up meanwhile.
        self.awaited.retain(|_, asked| !asked.reply.is_closed());
        for (&number, asked) in &self.awaited {
            outgoing.send(question(number, asked)).await?;
        }
        let confirmation = self.confirmed.borrow_and_update().clone();
        if confirmation.at.index > 0 {
            self.told = confirmation.clone();
            outgoing.send(ToServer::Confirmed(confirmation)).await?;
        }
        Ok(())
    }

    async fn send_report(&self, outgoing: &Outgoing, number: u64) -> Result<(), StreamError> {
        let Some(pending) = self.pending.get(&number) else {
            return Ok(());
        };
        let report = pending.report.clone();
        outgoing.send(ToServer::Report { number, report }).await
    }

    /// Confirms what the servers want to be confirmed as soon as it is shown, and says when other instances
    /// are busy than before.
    async fn confirm_if_asked(&mut self, outgoing: &Outgoing) -> Result<(), StreamError> {
        let confirmation = {
            let now = self.confirmed.borrow_and_update();
            let is_asked = now.at >= self.to_confirm && self.told.at < self.to_confirm;
            (is_asked || now.busy != self.told.busy).then(|| now.clone())
        };
        if let Some(confirmation) = confirmation {
            self.told = confirmation.clone();
            outgoing.send(ToServer::Confirmed(confirmation)).await?;
        }
        Ok(())
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

    fn on_message(&mut self, message: ToClient) {
        match message {
            ToClient::Welcome { .. } | ToClient::Rejected { .. } => {}
            ToClient::Catalog { at, view } => {
                if self.catalog_at.is_some_and(|known| known > at) {
                    tracing::debug!(?at, "a catalog is older than the one at hand");
                    return;
                }
                self.view = *view;
                self.to_confirm = at;
                self.publish(at);
            }
            ToClient::CatalogDelta {
                at,
                entries,
                confirm,
            } => {
                let known = self.catalog_at.unwrap_or_default();
                for entry in entries {
                    // What a whole catalog held already comes again in the first change after it.
                    if entry.index > known.index {
                        for change in entry.changes {
                            self.view.apply(entry.index, change);
                        }
                    }
                }
                if confirm {
                    self.to_confirm = self.to_confirm.max(at);
                }
                self.publish(at.max(known));
            }
            ToClient::Allocs {
                at,
                known,
                assignments,
                removed,
            } => self.on_allocs(at, known, assignments, removed),
            ToClient::Committed { number, index } => {
                self.retry_pause = RECONNECT_MIN;
                self.settle(number, Ok(index));
            }
            ToClient::Refused {
                number,
                reason,
                retry,
            } => {
                if retry {
                    tracing::debug!(number, reason, "a report is sent again later");
                    self.refused.insert(number);
                    self.retry_pause = (self.retry_pause * 2).min(RECONNECT_MAX);
                    let at = Instant::now() + jittered(self.retry_pause);
                    self.retry_at.get_or_insert(at);
                } else {
                    self.settle(number, Err(Error::Refused { reason }));
                }
            }
            ToClient::Drained { number } => {
                if let Some(asked) = self.awaited.remove(&number) {
                    // A caller that stopped waiting does not need the answer.
                    asked.reply.send(()).ok();
                }
            }
        }
    }

    fn on_allocs(
        &mut self,
        at: Position,
        known: Option<Vec<AllocId>>,
        assignments: Vec<Assignment>,
        removed: Vec<AllocId>,
    ) {
        if at < self.allocs_at {
            tracing::debug!(?at, "a list of allocations is older than the one at hand");
            return;
        }
        self.allocs_at = at;
        self.hello.held.allocs = at.index;
        let delta = AllocDelta {
            known: known.map(BTreeSet::from_iter),
            assignments: assignments
                .into_iter()
                .map(|mut assignment| {
                    assignment.alloc.job = Arc::clone(&assignment.job);
                    (assignment.alloc.id, assignment)
                })
                .collect(),
            removed: removed.into_iter().collect(),
        };
        match &mut self.waiting {
            Some(waiting) => waiting.merge(delta),
            None => self.waiting = Some(delta),
        }
    }

    fn settle(&mut self, number: u64, result: Result<Index, Error>) {
        if let Some(pending) = self.pending.remove(&number) {
            // A caller that stopped waiting does not need the answer.
            pending.reply.send(result).ok();
        }
    }

    fn publish(&mut self, at: Position) {
        self.catalog_at = Some(at);
        self.hello.held.catalog = at.index;
        self.catalog.send_replace(Arc::new(Replica {
            at: Some(at),
            catalog: self.view.clone(),
        }));
    }
}

/// The way to the server, with a bound on every wait.
struct Outgoing(mpsc::Sender<ToServer>);

impl Outgoing {
    async fn send(&self, message: ToServer) -> Result<(), StreamError> {
        match timeout(SEND_TIMEOUT, self.0.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(StreamError::Ended),
            Err(_) => Err(StreamError::Stuck),
        }
    }
}

fn question(number: u64, asked: &Await) -> ToServer {
    ToServer::Await {
        number,
        index: asked.index,
        instances: asked.instances.clone(),
    }
}

/// Between half of `pause` and all of it, so that agents do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let part = f64::from(u16::try_from(sys::random::seed() >> 48).unwrap_or(u16::MAX));
    pause.mul_f64(0.5 + part / f64::from(u16::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::transport::{Listener, ServerLink};
    use jobs::model::{Allocation, Job};
    use mesh::{model::Node, view::Change};

    /// Longer than anything here may take on a busy machine.
    const LONG: Duration = Duration::from_secs(30);

    struct Fixture {
        listener: Listener,
        handle: Handle,
        allocs: mpsc::Receiver<AllocDelta>,
        running: tokio::task::JoinHandle<()>,
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            self.running.abort();
        }
    }

    impl Fixture {
        async fn new() -> Self {
            let address = "127.0.0.1:0".parse().unwrap();
            let listener = Listener::bind(address).await.unwrap();
            let (session, handle, allocs) = Session::new(listener.local_addr(), Hello::default());
            let running = tokio::spawn(session.run(std::future::pending()));
            Self {
                listener,
                handle,
                allocs,
                running,
            }
        }

        /// The next stream after its welcome, with what the agent said of itself.
        async fn accept(&mut self) -> (Peer, Hello) {
            let link = timeout(LONG, self.listener.accept()).await.unwrap();
            let mut peer = Peer(link.unwrap());
            let ToServer::Hello(hello) = peer.next().await else {
                panic!("expected hello");
            };
            peer.say(ToClient::Welcome {
                lease_ms: 60_000,
                history: 1,
            })
            .await;
            (peer, *hello)
        }
    }

    struct Peer(ServerLink);

    impl Peer {
        async fn say(&self, message: ToClient) {
            self.0.outgoing.send(message.into()).await.unwrap();
        }

        async fn next(&mut self) -> ToServer {
            let message = timeout(LONG, self.0.incoming.recv()).await;
            message.expect("nothing came").expect("the stream is open")
        }

        async fn next_report(&mut self) -> u64 {
            match self.next().await {
                ToServer::Report { number, .. } => number,
                other => panic!("expected a report: {other:?}"),
            }
        }
    }

    fn at(term: u64, index: Index) -> Position {
        Position { term, index }
    }

    fn confirmation(index: Index, busy: &[&str]) -> Confirmation {
        Confirmation {
            at: at(1, index),
            busy: busy.iter().map(|&id| id.to_owned()).collect(),
        }
    }

    fn named(name: &str) -> Change {
        Change::PutNode(Arc::new(Node {
            id: name.into(),
            name: name.into(),
            ..Node::default()
        }))
    }

    fn delta(index: Index, changes: Vec<Change>, confirm: bool) -> ToClient {
        ToClient::CatalogDelta {
            at: at(1, index),
            entries: vec![crate::rpc::message::CatalogEntry { index, changes }],
            confirm,
        }
    }

    /// The id of the allocation of that number.
    fn id(number: u64) -> AllocId {
        AllocId::named(&number.to_string())
    }

    fn ids(numbers: &[u64]) -> Vec<AllocId> {
        numbers.iter().map(|&number| id(number)).collect()
    }

    fn assignment(number: u64, modify_index: Index) -> Assignment {
        Assignment {
            alloc: Allocation {
                id: id(number),
                modify_index,
                ..Allocation::default()
            },
            job: Arc::new(Job::default()),
        }
    }

    #[tokio::test]
    async fn a_report_survives_a_broken_stream() {
        let mut fixture = Fixture::new().await;
        let handle = fixture.handle.clone();
        let report = tokio::spawn(async move { handle.report(Report::Checks(Vec::new())).await });
        let (mut first, hello) = fixture.accept().await;
        assert_eq!(hello.stream, 0);
        let number = first.next_report().await;
        drop(first);
        let (mut second, hello) = fixture.accept().await;
        assert_eq!(hello.stream, 1, "streams of one process are counted");
        assert_eq!(second.next_report().await, number, "it comes again");
        second.say(ToClient::Committed { number, index: 9 }).await;
        assert_eq!(report.await.unwrap().unwrap(), 9);
    }

    #[tokio::test]
    async fn a_report_that_is_refused_for_now_comes_again_on_the_same_stream() {
        let mut fixture = Fixture::new().await;
        let handle = fixture.handle.clone();
        let report = tokio::spawn(async move { handle.report(Report::Checks(Vec::new())).await });
        let (mut peer, _) = fixture.accept().await;
        let number = peer.next_report().await;
        peer.say(ToClient::Refused {
            number,
            reason: "no cluster leader".into(),
            retry: true,
        })
        .await;
        assert_eq!(peer.next_report().await, number);
        peer.say(ToClient::Refused {
            number,
            reason: "never".into(),
            retry: false,
        })
        .await;
        let error = report.await.unwrap().unwrap_err();
        assert!(error.to_string().ends_with("never"), "{error}");
    }

    #[tokio::test]
    async fn a_rejected_registration_says_why() {
        let address = "127.0.0.1:0".parse().unwrap();
        let mut listener = Listener::bind(address).await.unwrap();
        let (mut session, _handle, _allocs) = Session::new(listener.local_addr(), Hello::default());
        let rejecting = tokio::spawn(async move {
            let mut link = listener.accept().await.unwrap();
            link.incoming.recv().await.unwrap();
            let reason = "the node's secret is another".to_owned();
            let rejected = ToClient::Rejected { reason };
            link.outgoing.send(rejected.into()).await.unwrap();
            listener
        });
        let error = session.stream().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "agent registration rejected: the node's secret is another"
        );
        rejecting.await.unwrap();
    }

    #[tokio::test]
    async fn only_what_somebody_waits_for_is_confirmed() {
        let mut fixture = Fixture::new().await;
        let (mut peer, _) = fixture.accept().await;
        let mut catalog = fixture.handle.catalog();
        let mut follow = async |index| {
            let reached = |replica: &Arc<Replica>| replica.at.is_some_and(|at| at.index >= index);
            timeout(LONG, catalog.wait_for(reached))
                .await
                .unwrap()
                .unwrap();
        };
        peer.say(delta(5, vec![named("one")], false)).await;
        follow(5).await;
        fixture.handle.confirm(confirmation(5, &[]));
        peer.say(delta(6, vec![named("two")], true)).await;
        follow(6).await;
        // Its table shows entry 6 now, and one that left is busy; then it is not.
        fixture.handle.confirm(confirmation(6, &["hung"]));
        let ToServer::Confirmed(first) = peer.next().await else {
            panic!("expected a confirmation");
        };
        assert_eq!(first, confirmation(6, &["hung"]));
        fixture.handle.confirm(confirmation(6, &[]));
        let ToServer::Confirmed(second) = peer.next().await else {
            panic!("expected a confirmation");
        };
        assert_eq!(second, confirmation(6, &[]));
        // An older one changes nothing.
        fixture.handle.confirm(confirmation(5, &["x"]));
        let ToServer::Confirmed(third) = peer.next().await else {
            panic!("expected a confirmation");
        };
        assert_eq!(third, confirmation(6, &["x"]));
    }

    #[tokio::test]
    async fn a_question_for_drained_instances_survives_a_broken_stream() {
        let mut fixture = Fixture::new().await;
        let handle = fixture.handle.clone();
        let waiting = tokio::spawn(async move { handle.drained(6, &["web".to_owned()]).await });
        let (mut first, _) = fixture.accept().await;
        let ToServer::Await { number, .. } = first.next().await else {
            panic!("expected a question");
        };
        drop(first);
        let (mut second, _) = fixture.accept().await;
        let ToServer::Await {
            number: again,
            index: 6,
            instances,
        } = second.next().await
        else {
            panic!("expected the question");
        };
        assert_eq!((again, instances), (number, vec!["web".to_owned()]));
        second.say(ToClient::Drained { number }).await;
        timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_the_agent_holds_is_not_replaced_by_what_is_older() {
        let mut fixture = Fixture::new().await;
        let (peer, hello) = fixture.accept().await;
        assert_eq!(hello.held, Held::default());
        let mut catalog = fixture.handle.catalog();
        peer.say(delta(5, vec![named("one")], false)).await;
        peer.say(ToClient::Catalog {
            at: at(1, 4),
            view: Box::default(),
        })
        .await;
        // Another server's first change overlaps with what is known.
        peer.say(delta(5, vec![Change::RemoveNode("one".into())], false))
            .await;
        peer.say(delta(7, vec![named("two")], false)).await;
        let reached = |replica: &Arc<Replica>| replica.at == Some(at(1, 7));
        let replica = timeout(LONG, catalog.wait_for(reached)).await.unwrap();
        let replica = Arc::clone(&replica.unwrap());
        assert_eq!(replica.catalog.nodes().count(), 2);

        let listed = |term, index, numbers: &[u64]| ToClient::Allocs {
            at: at(term, index),
            known: Some(ids(numbers)),
            assignments: numbers
                .iter()
                .map(|&number| assignment(number, index))
                .collect(),
            removed: Vec::new(),
        };
        peer.say(listed(2, 8, &[1, 2])).await;
        let first = timeout(LONG, fixture.allocs.recv()).await.unwrap().unwrap();
        assert_eq!(first.assignments.len(), 2);
        // A server that lags does not know of them yet.
        peer.say(listed(2, 7, &[])).await;
        peer.say(listed(1, 9, &[])).await;
        peer.say(listed(3, 8, &[2])).await;
        let second = timeout(LONG, fixture.allocs.recv()).await.unwrap().unwrap();
        assert_eq!(second.known, Some(BTreeSet::from([id(2)])));

        drop(peer);
        let (_peer, hello) = fixture.accept().await;
        let held = Held {
            history: 1,
            catalog: 7,
            allocs: 8,
        };
        assert_eq!(hello.held, held, "the next stream goes on from there");
    }

    #[tokio::test]
    async fn a_slow_client_part_gets_everything_in_few_pieces() {
        let mut fixture = Fixture::new().await;
        let (mut peer, _) = fixture.accept().await;
        let count: u64 = 2000;
        for index in 1..=count {
            peer.say(ToClient::Allocs {
                at: at(1, index),
                known: None,
                assignments: vec![assignment(index % 1000 + 1, index)],
                removed: Vec::new(),
            })
            .await;
        }
        // The stream is still the first one, and everything was read from it.
        let handle = fixture.handle.clone();
        let waiting = tokio::spawn(async move { handle.drained(1, &[]).await });
        let ToServer::Await { number, .. } = peer.next().await else {
            panic!("expected the question");
        };
        peer.say(ToClient::Drained { number }).await;
        timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
        let mut seen = BTreeMap::new();
        let mut pieces = 0;
        while seen.values().filter(|index| **index > 1000).count() < 1000 {
            let delta = timeout(LONG, fixture.allocs.recv()).await.unwrap().unwrap();
            pieces += 1;
            for (id, assignment) in delta.assignments {
                seen.insert(id, assignment.alloc.modify_index);
            }
        }
        assert!(pieces <= ALLOC_DELTAS_MAX + 2, "{pieces} pieces");
    }

    #[test]
    fn merged_changes_say_what_they_said_one_after_the_other() {
        let delta = |known: Option<&[u64]>, assigned: &[u64], removed: &[u64]| AllocDelta {
            known: known.map(|known| ids(known).into_iter().collect()),
            assignments: assigned
                .iter()
                .map(|&number| (id(number), assignment(number, 1)))
                .collect(),
            removed: ids(removed).into_iter().collect(),
        };
        let text = |delta: &AllocDelta| {
            let assigned: Vec<&AllocId> = delta.assignments.keys().collect();
            format!("{:?} {assigned:?} {:?}", delta.known, delta.removed)
        };
        for (first, second, merged) in [
            (
                delta(None, &[1], &[2]),
                delta(None, &[2], &[1]),
                delta(None, &[2], &[1]),
            ),
            (
                delta(None, &[1, 2], &[3]),
                delta(Some(&[2]), &[], &[]),
                delta(Some(&[2]), &[2], &[]),
            ),
            (
                delta(Some(&[1, 2]), &[2], &[]),
                delta(None, &[3], &[1]),
                delta(Some(&[2, 3]), &[2, 3], &[1]),
            ),
        ] {
            let mut both = first;
            both.merge(second);
            assert_eq!(text(&both), text(&merged));
        }
    }

    #[test]
    fn a_pause_is_at_least_half_of_what_it_says() {
        let pause = Duration::from_secs(2);
        let mut pauses = BTreeSet::new();
        for _ in 0..100 {
            let jittered = jittered(pause);
            assert!(jittered >= pause / 2 && jittered <= pause);
            pauses.insert(jittered);
        }
        assert!(pauses.len() > 50, "they are spread");
    }
}

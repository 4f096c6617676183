//! Access to the routing table of a running proxy.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::StatusCode;
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::Error;
use super::counters::{self, Counters, PublishedFigure};
use super::expiry;
use super::pages::ErrorPages;
use crate::certs::Store;
use crate::config::{Config, Listener, Strategy};
use crate::route::{
    Choice, Explanation, Facts, PublishedCalls, RequestPath, Table, Upstream, counter,
};

/// Access to the routing table of a running proxy; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: ArcSwap<Table>,
    /// Held while a table is put in place, so that swaps have one order.
    swap: Mutex<()>,
    /// Told when the last request leaves an upstream that no table has any more.
    drained: Notify,
    /// Told when there is another table, and when a request has ended while others wait.
    changed: Arc<Notify>,
    /// Requests that wait for that.
    waiting: AtomicUsize,
    /// Told when a target was found dead.
    lost: Arc<Notify>,
    drain_timeout: Duration,
    strategy: Strategy,
    random: AtomicU64,
    /// Where the clock of [`Handle::now_ms`] begins.
    started: Instant,
    /// Told when a table was put in place.
    swapped: Notify,
    /// The body of the answer to a request without a route; empty for none.
    no_route_page: ArcSwap<Bytes>,
    /// Pages of answers of the proxy's own.
    error_pages: ArcSwap<ErrorPages>,
    /// Definitions that were left out of the table.
    problems: ArcSwap<Vec<String>>,
    /// Sources of certificates by name.
    certificates: ArcSwap<Vec<expiry::Named>>,
    counters: Counters,
    /// The proxy stops soon: connections are to end with the answer that they carry.
    is_leaving: AtomicBool,
    changes: mpsc::Sender<Change>,
    /// Taken by the one who carries them out.
    receiver: Mutex<Option<mpsc::Receiver<Change>>>,
}

/// What is counted of those who have no route.
const UNROUTED: &str = "Requests and connections without a route.";
/// How many changes of listeners wait to be carried out.
const CHANGES_MAX: usize = 16;

/// Other listeners, and whom to tell what came of it.
pub(super) type Change = (Vec<Listener>, oneshot::Sender<Vec<Listening>>);

/// What became of a listener.
#[derive(Debug)]
pub struct Listening {
    /// The address as configured.
    pub address: SocketAddr,
    /// The address that is listened on, or why there is none.
    pub local: Result<SocketAddr, Error>,
}

/// What was left when a swap stopped waiting for requests to targets that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// The targets that still had requests in flight when the drain timeout ended the wait; empty
    /// if all finished.
    pub pending: Vec<Pending>,
}

/// A target that is gone and still has requests in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The instance's id; empty for a target that was written by hand.
    pub instance: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// How many requests.
    pub in_flight: u64,
}

impl Drained {
    /// Whether no request is in flight to any of the targets that were removed.
    pub fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }
}

/// An id of a request, in the form of a UUID.
pub(super) struct RequestId(u64, u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestId(high, low) = self;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

impl Handle {
    pub(super) fn new(config: &Config) -> Handle {
        let (changes, receiver) = mpsc::channel(CHANGES_MAX);
        let shared = Shared {
            table: ArcSwap::from_pointee(Table::default()),
            swap: Mutex::new(()),
            drained: Notify::new(),
            changed: Arc::default(),
            waiting: AtomicUsize::new(0),
            lost: Arc::default(),
            drain_timeout: config.drain_timeout,
            strategy: config.strategy,
            random: AtomicU64::new(RandomState::new().hash_one(0)),
            started: Instant::now(),
            swapped: Notify::new(),
            no_route_page: ArcSwap::default(),
            error_pages: ArcSwap::default(),
            problems: ArcSwap::default(),
            certificates: ArcSwap::default(),
            counters: Counters::default(),
            is_leaving: AtomicBool::new(false),
            changes,
            receiver: Mutex::new(Some(receiver)),
        };
        Handle {
            shared: Arc::new(shared),
        }
    }

    /// Listens on these addresses, and on no others, from now on. A listener that stays keeps its
    /// connections and its socket; new connections get its new settings. One that goes lets its
    /// connections end by themselves.
    ///
    /// Returns what became of each, in order; nothing if the proxy does not run.
    pub async fn listen(&self, listeners: Vec<Listener>) -> Vec<Listening> {
        let (done, result) = oneshot::channel();
        if self.shared.changes.send((listeners, done)).await.is_err() {
            return Vec::new();
        }
        result.await.unwrap_or_default()
    }

    /// Says that the proxy stops soon. It goes on serving, and each answer tells its client that
    /// the connection ends with it, so that none is cut when the proxy stops.
    pub fn leave(&self) {
        self.shared.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether it stops soon.
    pub(super) fn is_leaving(&self) -> bool {
        self.shared.is_leaving.load(Ordering::Relaxed)
    }

    /// The changes that are asked for; the first caller gets them.
    pub(super) fn changes(&self) -> Option<mpsc::Receiver<Change>> {
        let mut receiver = self.shared.receiver.lock();
        receiver
            .as_mut()
            .map_or_else(|poisoned| poisoned.get_mut().take(), |own| own.take())
    }

    /// Resolves after a table was put in place.
    pub(super) async fn swapped(&self) {
        self.shared.swapped.notified().await;
    }

    /// Sets the HTML page that requests without a route are answered with; empty for none.
    pub fn set_no_route_page(&self, page: &str) {
        let page = Bytes::copy_from_slice(page.as_bytes());
        if *self.shared.no_route_page.load_full() != page {
            self.shared.no_route_page.store(Arc::new(page));
        }
    }

    /// The page for requests without a route.
    pub(super) fn no_route_page(&self) -> Arc<Bytes> {
        self.shared.no_route_page.load_full()
    }

    /// Sets the HTML pages of answers of the proxy's own. That for requests without a route comes
    /// before them.
    pub fn set_error_pages(&self, pages: ErrorPages) {
        self.shared.error_pages.store(Arc::new(pages));
    }

    /// The page of an answer of the proxy's own.
    pub(super) fn error_page(&self, status: StatusCode) -> Option<Bytes> {
        self.shared.error_pages.load().get(status).cloned()
    }

    /// Says which definitions were left out of the table, each with the reason.
    pub fn set_problems(&self, problems: Vec<String>) {
        self.shared.problems.store(Arc::new(problems));
    }

    /// Definitions that were left out of the table.
    pub fn problems(&self) -> Arc<Vec<String>> {
        self.shared.problems.load_full()
    }

    /// Says which sources of certificates are in use, by name: their ends are told.
    pub fn set_certificates(&self, sources: Vec<(String, Arc<Store>)>) {
        self.shared.certificates.store(Arc::new(sources));
    }

    /// Certificates that end soon or have ended, a sentence each; the sentence stays the same until
    /// the end.
    pub fn certificate_problems(&self) -> Vec<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        expiry::warnings(&self.shared.certificates.load(), now)
    }

    /// The table that is in force.
    pub fn table(&self) -> Arc<Table> {
        self.shared.table.load_full()
    }

    /// Puts a table in force at once, before this function returns. It should be built from
    /// [`Handle::table`], so that turns and in-flight counts go on.
    ///
    /// The future resolves when no request is in flight any more to any target (by instance id and
    /// address) that the table before had and this one has not, or when the drain timeout is over.
    /// It need not be awaited.
    pub fn swap(&self, table: Table) -> impl Future<Output = Drained> + Send + use<> {
        let removed = self.put(Arc::new(table));
        let shared = self.shared.clone();
        async move {
            let waited =
                tokio::time::timeout(shared.drain_timeout, shared.wait_for(&removed)).await;
            let pending = if waited.is_ok() {
                Vec::new()
            } else {
                removed.iter().filter_map(pending).collect()
            };
            Drained { pending }
        }
    }

    /// Puts a table in place and returns the upstreams that are gone with the one before.
    fn put(&self, table: Arc<Table>) -> Vec<Arc<Upstream>> {
        // The lock guards no data that a panic could leave half-changed.
        let _order = self
            .shared
            .swap
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for upstream in table.upstreams() {
            upstream.open();
        }
        let old = self.shared.table.swap(table.clone());
        let removed: Vec<_> = old
            .upstreams()
            .filter(|upstream| !table.has_upstream(upstream))
            .cloned()
            .collect();
        // Only now, with the new table in place: see the comment on the state of an upstream.
        for upstream in &removed {
            upstream.close();
        }
        self.shared.swapped.notify_one();
        self.shared.changed.notify_waiters();
        removed
    }

    /// Says that instances are dead, as a check has found: a request that waits for one of them and
    /// may be repeated is given to another target at once. To be called after the swap that removed
    /// them.
    pub fn lost(&self, is_dead: impl Fn(&str) -> bool) {
        let table = self.shared.table.load();
        let mut any = false;
        for upstream in table.upstreams().chain(table.retired()) {
            if !upstream.instance().is_empty() && is_dead(upstream.instance()) {
                upstream.health().lost();
                any = true;
            }
        }
        if any {
            self.tell_losses();
        }
    }

    /// Tells everybody who waits for an answer to look whether it will come.
    pub(super) fn tell_losses(&self) {
        self.shared.lost.notify_waiters();
    }

    /// Told when a request that waits may have its turn.
    pub(super) fn changed(&self) -> &Arc<Notify> {
        &self.shared.changed
    }

    /// Counts a request that waits for that, or one that does no more.
    pub(super) fn count_waiting(&self, more: bool) {
        if more {
            self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        } else {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// A request has ended: another one may have its turn.
    pub(super) fn tell_turn(&self) {
        if self.shared.waiting.load(Ordering::Acquire) > 0 {
            self.shared.changed.notify_waiters();
        }
    }

    /// Microseconds of the clock that begins with the handle, at least 1.
    pub(super) fn now_us(&self) -> u64 {
        self.at_us(Instant::now())
    }

    /// A moment of that clock.
    pub(super) fn at_us(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.shared.started);
        u64::try_from(since.as_micros())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    /// What the targets of the table in force were asked and how they answered, in the text format
    /// of Prometheus.
    pub fn metrics(&self) -> String {
        let unrouted = self.shared.counters.unrouted.load(Ordering::Relaxed);
        let name = "trivet_ingress_unrouted_total";
        let calls = self.published_calls().metrics();
        let ends = expiry::metrics(&self.shared.certificates.load());
        self.table().metrics(self.now_ms()) + &counter(name, UNROUTED, unrouted) + &calls + &ends
    }

    /// The same under names that are published elsewhere, each after `prefix`, with answers sorted
    /// by these times.
    pub fn published_metrics(&self, prefix: &str, bounds: &[Duration]) -> String {
        let own = counters::text(prefix, &self.published_figures());
        let calls = self.published_calls().published_metrics(prefix, bounds);
        self.table().published_metrics(prefix, bounds) + &own + &calls
    }

    /// What is counted of the proxy as a whole, under such names.
    pub fn published_figures(&self) -> Vec<PublishedFigure> {
        self.shared.counters.published()
    }

    /// Calls of gRPC since the start.
    pub fn published_calls(&self) -> PublishedCalls {
        self.shared.counters.calls.read()
    }

    /// Where that is counted.
    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Counts a request or a connection that has no route.
    pub(super) fn on_unrouted(&self) {
        self.shared
            .counters
            .unrouted
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a WebSocket until what is returned is dropped.
    pub(super) fn open_socket(&self) -> OpenSocket {
        self.shared.counters.sockets.fetch_add(1, Ordering::Relaxed);
        OpenSocket(self.clone())
    }

    /// Where a request would go by the table in force.
    pub fn explain(&self, host: &str, path: &RequestPath<'_>, facts: &Facts<'_>) -> Explanation {
        self.table().explain(host, path, facts, self.now_ms())
    }

    /// Where that is told.
    pub(super) fn losses(&self) -> &Arc<Notify> {
        &self.shared.lost
    }

    pub(super) fn load(&self) -> Guard<Arc<Table>> {
        self.shared.table.load()
    }

    /// Tells everybody who waits for upstreams to drain to look again.
    pub(super) fn wake_drains(&self) {
        self.shared.drained.notify_waiters();
    }

    /// Milliseconds of the clock by which the health of upstreams is kept, at least 1.
    pub(super) fn now_ms(&self) -> u64 {
        self.at_ms(Instant::now())
    }

    /// A moment of that clock.
    pub(super) fn at_ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.shared.started);
        u64::try_from(since.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    /// How the next request chooses.
    pub(super) fn choice(&self) -> Choice {
        match self.shared.strategy {
            Strategy::RoundRobin => Choice::RoundRobin,
            Strategy::LeastConnections => Choice::LeastConnections,
            Strategy::Random => Choice::Random(self.random()),
        }
    }

    /// An id for a request.
    pub(super) fn request_id(&self) -> RequestId {
        RequestId(self.random(), self.random())
    }

    /// A number of the splitmix64 sequence, started at a random place. It spreads load; nothing
    /// secret rests on it.
    pub(super) fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.shared.random.fetch_add(STEP, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A WebSocket that is open.
#[derive(Debug)]
pub(super) struct OpenSocket(Handle);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        let counters = &self.0.shared.counters;
        counters.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    async fn wait_for(&self, removed: &[Arc<Upstream>]) {
        loop {
            let mut changed = std::pin::pin!(self.drained.notified());
            // Listen before looking, so that a request that leaves in between is not missed.
            changed.as_mut().enable();
            if removed.iter().all(|upstream| upstream.in_flight() == 0) {
                return;
            }
            changed.await;
        }
    }
}

fn pending(upstream: &Arc<Upstream>) -> Option<Pending> {
    let in_flight = upstream.in_flight();
    (in_flight > 0).then(|| Pending {
        instance: upstream.instance().to_owned(),
        address: upstream.address(),
        in_flight,
    })
}

//! One server that requests are sent to, and how many are on their way.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::health::Health;

/// Set in the state of an upstream that the current table does not have.
const CLOSED: u64 = 1 << 63;

/// Tells upstreams apart for the life of the process.
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// An instance at an address. It is shared by all targets and all tables in a row that name the
/// same instance id and address, and so counts all requests that are in flight to it.
#[derive(Debug)]
pub struct Upstream {
    serial: u64,
    instance: String,
    address: SocketAddr,
    /// The number of requests in flight, and [`CLOSED`].
    ///
    /// Both are in one word, because together they decide whether an instance may be stopped. A
    /// request first adds itself and then looks at the flag that the *same* operation returned; a
    /// table swap first puts the new table in place and then sets the flag, looking at the count
    /// that the same operation returned. Operations on one word have one order. If the request came
    /// first, the swap sees it in the count and waits for it. If the swap came first, the request
    /// sees the flag, takes itself back, and (acquire after release) sees the new table when it
    /// picks again. There is no third case, so none is in flight unseen.
    state: AtomicU64,
    health: Health,
}

/// The answer of an upstream to a new request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// The request is counted and may be sent; [`Upstream::leave`] must follow.
    Open,
    /// A newer table does not have the upstream: pick again from that table. The request is not
    /// counted, but it was for a moment, so whoever waits for the count to reach zero has to be
    /// told to look again.
    Closed,
}

impl Upstream {
    pub(super) fn new(instance: &str, address: SocketAddr) -> Upstream {
        Upstream {
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
            instance: instance.to_owned(),
            address,
            state: AtomicU64::new(0),
            health: Health::default(),
        }
    }

    /// Unique in the process; an instance that was removed and has come back may have another one.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The instance's id; empty for a target that was written by hand.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it has answered lately.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Requests that are in flight now.
    pub fn in_flight(&self) -> u64 {
        self.state.load(Ordering::Acquire) & !CLOSED
    }

    /// Whether the table in force does not have it.
    pub fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Counts a request in, before anything of it is sent.
    pub fn enter(&self) -> Entered {
        if self.state.fetch_add(1, Ordering::AcqRel) & CLOSED == 0 {
            return Entered::Open;
        }
        self.leave();
        Entered::Closed
    }

    /// Counts a request out; `true` if it was the last one of an upstream that was closed.
    pub fn leave(&self) -> bool {
        self.state.fetch_sub(1, Ordering::AcqRel) == CLOSED | 1
    }

    /// Lets requests in (again): the upstream is in the table that is about to be put in place.
    /// What it did before it was gone counts no more.
    pub fn open(&self) {
        if self.state.fetch_and(!CLOSED, Ordering::AcqRel) & CLOSED != 0 {
            self.health.forgive();
        }
    }

    /// Lets no request in any more, and returns how many are still in flight. To be called *after*
    /// a table without this upstream was put in place.
    pub fn close(&self) -> u64 {
        self.state.fetch_or(CLOSED, Ordering::AcqRel) & !CLOSED
    }
}

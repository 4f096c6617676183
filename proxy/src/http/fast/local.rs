//! What the connections of one thread share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

use super::own::Own;
use super::pool::Pool;
use super::request::{self, Plain};
use crate::certs::Challenges;
use crate::config::Config;
use crate::http::handle::Handle;
use crate::http::rescue::Budget;
use crate::route::Upstream;

/// Room for what comes in one read.
const READ_BYTES: usize = 128 << 10;

/// How many buffers wait for their next use, and how large they may be.
const BUFFERS_MAX: usize = 1024;
const BUFFER_BYTES_MAX: usize = 16 << 10;

/// Idle connections to targets are looked through so often.
const SWEEP_INTERVAL: Duration = Budget::SLOT;

/// How many targets a thread listens to that did not answer in time, and how long.
const OVERHEARD_MAX: usize = 64;
const OVERHEAR_TIMEOUT: Duration = Duration::from_secs(60);

/// Of four idle connections to targets, three are kept here, and one by the library.
pub(in crate::http) fn idle_max(config: &Config) -> (usize, usize) {
    let own = config.upstream_idle_max.div_ceil(config.threads.max(1));
    let others = own.div_ceil(4);
    (own - others, others)
}

/// What the connections of one thread share.
pub(in crate::http) struct Local {
    /// Which of the threads it is.
    pub(super) number: usize,
    pub(super) config: Arc<Config>,
    pub(super) handle: Handle,
    pub(super) scratch: RefCell<Scratch>,
    pub(super) pool: RefCell<Pool>,
    pub(super) own: Own,
    /// Plain requests go by the short way.
    carries_plain: bool,
    pub(super) budget: Arc<Budget>,
    buffers: RefCell<Vec<Vec<u8>>>,
    is_stopping: Cell<bool>,
    open: RefCell<Open>,
    /// Targets that are listened to.
    overheard: RefCell<BTreeSet<u64>>,
}

/// The connections of clients by number.
#[derive(Default)]
struct Open {
    connections: Vec<Option<Place>>,
    free: Vec<usize>,
}

/// A connection of a client.
struct Place {
    waker: Waker,
    /// It waits for the first of an answer.
    asks: bool,
}

/// Memory that is used within one poll, never across two.
pub(super) struct Scratch {
    /// What was read.
    pub(super) read: Box<[u8]>,
    /// What is to be written.
    pub(super) write: Vec<u8>,
    pub(super) date: Date,
}

/// The date in the form of HTTP, made once a second.
#[derive(Default)]
pub(super) struct Date {
    second: u64,
    text: String,
}

impl Date {
    /// The date now.
    pub(super) fn now(&mut self) -> &[u8] {
        let now = SystemTime::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let second = since.unwrap_or_default().as_secs();
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text.clear();
            write!(self.text, "{}", HttpDate::from(now)).expect("a text takes any date");
        }
        self.text.as_bytes()
    }
}

impl Local {
    pub(in crate::http) fn new(number: usize, config: Arc<Config>, handle: Handle) -> Local {
        let (idle_max, _) = idle_max(&config);
        let target_idle_max = config.target_idle_max.div_ceil(config.threads.max(1));
        let own = Own::new(&config.own_headers, request::is_free);
        Local {
            number,
            // Only the silence of a target bounds how long an answer is waited for there, so it
            // must have a bound.
            carries_plain: own.is_some() && config.is_plain() && config.response_timeout.is_some(),
            own: own.unwrap_or_default(),
            pool: RefCell::new(Pool::new(
                (idle_max, target_idle_max),
                config.upstream_idle_timeout,
            )),
            budget: Arc::new(Budget::new(&config)),
            config,
            handle,
            scratch: RefCell::new(Scratch {
                read: vec![0; READ_BYTES].into(),
                write: Vec::with_capacity(READ_BYTES),
                date: Date::default(),
            }),
            buffers: RefCell::default(),
            is_stopping: Cell::new(false),
            open: RefCell::default(),
            overheard: RefCell::default(),
        }
    }

    /// Which of the threads it is.
    pub(in crate::http) fn number(&self) -> usize {
        self.number
    }

    /// Access to the table.
    pub(in crate::http) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether plain requests go by the short way.
    pub(super) fn carries_plain(&self) -> bool {
        self.carries_plain
    }

    /// Whether a plain request goes by it: the library answers authorities, and those who send too
    /// much.
    pub(super) fn takes(&self, plain: &Plain, bytes: &[u8]) -> bool {
        let most = self.config.request_body_max;
        !Challenges::are_at(plain.path(bytes))
            && most.is_none_or(|most| plain.body_bytes() as u64 <= most)
    }

    /// Closes idle connections to targets that are of no use any more, for ever.
    pub(in crate::http) async fn sweep(&self) {
        let mut ticks = interval(SWEEP_INTERVAL);
        loop {
            ticks.tick().await;
            poll_fn(|cx| {
                self.pool.borrow_mut().sweep(Instant::now(), cx);
                self.budget.on_slot();
                Poll::Ready(())
            })
            .await;
        }
    }

    /// What the library may use of the thread's repetitions: there is one budget.
    pub(in crate::http) fn budget(&self) -> Arc<Budget> {
        self.budget.clone()
    }

    /// Lets connections end as soon as they serve no request.
    pub(in crate::http) fn stop(&self) {
        self.is_stopping.set(true);
        for place in self.open.borrow().connections.iter().flatten() {
            place.waker.wake_by_ref();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// Whether a connection may wait for another request after its answer.
    pub(super) fn keeps(&self) -> bool {
        !self.is_stopping() && !self.handle.is_leaving()
    }

    /// Wakes those who wait for an answer whenever a target was found dead, for ever.
    pub(in crate::http) async fn rescue(&self) {
        loop {
            let mut told = std::pin::pin!(self.handle.losses().notified());
            // Listen before waking, so that what is told meanwhile is not missed.
            told.as_mut().enable();
            for place in self.open.borrow().connections.iter().flatten() {
                if place.asks {
                    place.waker.wake_by_ref();
                }
            }
            told.await;
        }
    }

    /// Wakes a connection when the thread stops, or when a target was found dead for which it
    /// waits; the number is for [`Local::left`].
    pub(super) fn entered(&self, waker: Waker) -> usize {
        let mut open = self.open.borrow_mut();
        let place = Some(Place { waker, asks: false });
        match open.free.pop() {
            Some(number) => {
                open.connections[number] = place;
                number
            }
            None => {
                open.connections.push(place);
                open.connections.len() - 1
            }
        }
    }

    /// Notes whether a connection waits for the first of an answer.
    pub(super) fn asks(&self, number: usize, asks: bool) {
        if let Some(place) = &mut self.open.borrow_mut().connections[number] {
            place.asks = asks;
        }
    }

    /// Forgets a connection.
    pub(super) fn left(&self, number: usize) {
        let mut open = self.open.borrow_mut();
        open.connections[number] = None;
        open.free.push(number);
    }

    /// Listens whether a target that did not answer in time answers after all.
    pub(super) fn overhear(self: &Rc<Local>, upstream: &Arc<Upstream>, stream: TcpStream) {
        let mut overheard = self.overheard.borrow_mut();
        let serial = upstream.serial();
        if overheard.len() >= OVERHEARD_MAX || !overheard.insert(serial) {
            return;
        }
        let (local, upstream) = (self.clone(), upstream.clone());
        tokio::task::spawn_local(async move {
            let heard = tokio::time::timeout(OVERHEAR_TIMEOUT, stream.peek(&mut [0])).await;
            if let Ok(Ok(1)) = heard {
                upstream.health().heard(local.handle.now_us());
            }
            local.overheard.borrow_mut().remove(&serial);
        });
    }

    /// An empty buffer.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer for its next use.
    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        let is_worth_it = (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity());
        if is_worth_it && buffers.len() < BUFFERS_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}

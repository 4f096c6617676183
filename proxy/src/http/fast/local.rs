//! What the connections of one thread share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;
use tokio::time::{Instant, interval};

use super::pool::Pool;
use crate::config::{Config, Library};
use crate::http::handle::Handle;

/// Room for what comes in one read.
const READ_BYTES: usize = 128 << 10;

/// How many buffers wait for their next use, and how large they may be.
const BUFFERS_MAX: usize = 1024;
const BUFFER_BYTES_MAX: usize = 16 << 10;

/// Idle connections to targets are looked through so often.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// Of four idle connections to targets, three are kept here, and one by the library.
pub(in crate::http) fn idle_max(config: &Config) -> (usize, usize) {
    let own = config.upstream_idle_max.div_ceil(config.threads.max(1));
    let others = own.div_ceil(4);
    (own - others, others)
}

/// What the connections of one thread share.
pub(in crate::http) struct Local {
    pub(super) config: Arc<Config>,
    pub(super) handle: Handle,
    pub(super) scratch: RefCell<Scratch>,
    pub(super) pool: RefCell<Pool>,
    buffers: RefCell<Vec<Vec<u8>>>,
    is_stopping: Cell<bool>,
    /// Connections to wake when the thread stops.
    open: RefCell<BTreeMap<u64, Waker>>,
    next_open: Cell<u64>,
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
    pub(in crate::http) fn new(config: Arc<Config>, handle: Handle) -> Local {
        let (idle_max, _) = idle_max(&config);
        Local {
            pool: RefCell::new(Pool::new(idle_max, config.upstream_idle_timeout)),
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
            next_open: Cell::new(0),
        }
    }

    /// Whether plain requests go by the short way. Only the silence of a target bounds how long an
    /// answer is waited for there, so it must have a bound.
    pub(super) fn carries_plain(&self) -> bool {
        self.config.library == Library::Doubtful && self.config.response_timeout.is_some()
    }

    /// Closes idle connections to targets that are of no use any more, for ever.
    pub(in crate::http) async fn sweep(&self) {
        let mut ticks = interval(SWEEP_INTERVAL);
        loop {
            ticks.tick().await;
            poll_fn(|cx| {
                self.pool.borrow_mut().sweep(Instant::now(), cx);
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Lets connections end as soon as they serve no request.
    pub(in crate::http) fn stop(&self) {
        self.is_stopping.set(true);
        for (_, waker) in std::mem::take(&mut *self.open.borrow_mut()) {
            waker.wake();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// Wakes a connection when the thread stops; the number is for [`Local::left`].
    pub(super) fn entered(&self, waker: Waker) -> u64 {
        let number = self.next_open.get();
        self.next_open.set(number + 1);
        self.open.borrow_mut().insert(number, waker);
        number
    }

    /// Forgets a connection.
    pub(super) fn left(&self, number: u64) {
        self.open.borrow_mut().remove(&number);
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

//! What this machine tells the servers: always the newest, never twice the same, in few messages.
//!
//! While one message is under way, further changes gather and go out together with the next one.

use jobs::{model::Node, state::AllocUpdate};
use parking_lot::Mutex;
use rpc::{
    message::{CheckReport, Report},
    session,
};
use std::{collections::BTreeMap, time::Duration};
use sys::clock;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// Changes in one message.
const BATCH_MAX: usize = 512;
/// How long a change that is no news for long waits for a newer one.
const SOON: Duration = Duration::from_millis(20);

/// When a change is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// At once.
    Now,
    /// A moment later, or with the next one that is told at once.
    Soon,
}

/// Changes that wait to be told, by allocation and by check: bounded by what runs here.
#[derive(Debug)]
pub(super) struct Reports {
    allocs: Queue<AllocUpdate>,
    checks: Queue<CheckReport>,
    node: Queue<Node>,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Notify,
    /// Every change up to this number is in the log, or was refused.
    settled: watch::Sender<u64>,
}

#[derive(Debug)]
struct Waiting<T> {
    changes: BTreeMap<String, (u64, T)>,
    last: u64,
    /// When they are told at the latest; none when nothing waits.
    due: Option<Instant>,
}

impl<T> Queue<T> {
    fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                changes: BTreeMap::new(),
                last: 0,
                due: None,
            }),
            arrived: Notify::new(),
            settled: watch::Sender::new(0),
        }
    }

    /// Puts a change in place of an older one for the same thing.
    fn push(&self, key: String, change: T, urgency: Urgency) -> u64 {
        let due = match urgency {
            Urgency::Now => Instant::now(),
            Urgency::Soon => Instant::now() + SOON,
        };
        let number = {
            let mut waiting = self.waiting.lock();
            waiting.last += 1;
            let number = waiting.last;
            waiting.changes.insert(key, (number, change));
            waiting.due = Some(waiting.due.map_or(due, |sooner| sooner.min(due)));
            number
        };
        self.arrived.notify_one();
        number
    }

    /// The next batch and the number up to which everything is settled once it is told.
    async fn take(&self) -> (u64, Vec<T>) {
        loop {
            let due = {
                let mut waiting = self.waiting.lock();
                match waiting.due {
                    Some(due) if due <= Instant::now() => return waiting.take(),
                    due => due,
                }
            };
            tokio::select! {
                () = self.arrived.notified() => {}
                () = clock::until(due) => {}
            }
        }
    }
}

impl<T> Waiting<T> {
    fn take(&mut self) -> (u64, Vec<T>) {
        let rest = match self.changes.keys().nth(BATCH_MAX).cloned() {
            Some(key) => self.changes.split_off(&key),
            None => BTreeMap::new(),
        };
        let taken = std::mem::replace(&mut self.changes, rest);
        if self.changes.is_empty() {
            self.due = None;
        }
        let oldest_left = self.changes.values().map(|(number, _)| *number).min();
        let settled = oldest_left.map_or(self.last, |number| number - 1);
        (
            settled,
            taken.into_values().map(|(_, change)| change).collect(),
        )
    }
}

impl Reports {
    pub(super) fn new() -> Self {
        Self {
            allocs: Queue::new(),
            checks: Queue::new(),
            node: Queue::new(),
        }
    }

    /// Tells what became of an allocation; returns the number to wait for with
    /// [`Reports::settled`].
    pub(super) fn alloc(&self, update: AllocUpdate, urgency: Urgency) -> u64 {
        self.allocs
            .push(update.alloc_id.to_string(), update, urgency)
    }

    /// Tells a check's new status.
    pub(super) fn check(&self, report: CheckReport) {
        self.checks
            .push(report.check_id.to_string(), report, Urgency::Now);
    }

    /// Tells what is new about the node.
    pub(super) fn node(&self, node: Node) {
        self.node.push(String::new(), node, Urgency::Now);
    }

    /// Waits until the change of an allocation with that number is in the log.
    pub(super) async fn settled(&self, number: u64) {
        let mut settled = self.allocs.settled.subscribe();
        // The sender is a field of `self`, so it lives as long as this waits.
        settled.wait_for(|done| *done >= number).await.ok();
    }

    /// Sends until the session closes.
    pub(super) async fn run(&self, session: &session::Handle) {
        tokio::join!(
            send(&self.allocs, session, Report::Allocs),
            send(&self.checks, session, Report::Checks),
            send(&self.node, session, |mut nodes: Vec<Node>| Report::Node(
                Box::new(nodes.pop().unwrap_or_default())
            )),
        );
    }
}

async fn send<T>(queue: &Queue<T>, session: &session::Handle, wrap: impl Fn(Vec<T>) -> Report) {
    loop {
        let (number, batch) = queue.take().await;
        match session.report(wrap(batch)).await {
            Ok(_) => {}
            Err(error @ session::Error::Refused { .. }) => tracing::warn!(%error, "report refused"),
            Err(session::Error::Closed) => return,
        }
        queue.settled.send_replace(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn newer_changes_replace_older_ones_and_batches_are_bounded() {
        let queue = Queue::new();
        for number in 0..BATCH_MAX + 10 {
            queue.push(format!("{number:06}"), number, Urgency::Now);
        }
        queue.push("000000".into(), 999_999, Urgency::Now);
        let (settled, batch) = queue.take().await;
        assert_eq!(batch.len(), BATCH_MAX);
        assert_eq!(batch[0], 999_999);
        // Number 513 is the oldest one that still waits.
        assert_eq!(settled, BATCH_MAX as u64);
        let (settled, batch) = queue.take().await;
        assert_eq!(batch.len(), 10);
        assert_eq!(settled, BATCH_MAX as u64 + 11);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_news_for_long_waits_for_what_follows_it() {
        let queue = Queue::new();
        queue.push("a".into(), 1, Urgency::Soon);
        queue.push("b".into(), 1, Urgency::Soon);
        let began = Instant::now();
        queue.push("a".into(), 2, Urgency::Now);
        assert_eq!(queue.take().await, (3, vec![2, 1]));
        assert_eq!(began.elapsed(), Duration::ZERO);
        queue.push("a".into(), 3, Urgency::Soon);
        assert_eq!(queue.take().await, (4, vec![3]));
        assert!(began.elapsed() >= SOON && began.elapsed() < SOON * 2);
    }
}

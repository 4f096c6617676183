//! What a target was asked and how it answered, counted by each thread for itself.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::{self, BUCKETS, Histogram};

/// So many threads have counts of their own; more share them.
const THREADS: usize = 16;

/// So many statuses of a target are told apart by each thread; those that come later are counted by
/// their hundred only.
const STATUSES: usize = 12;

/// How a target ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It answered with this status.
    Status(u16),
    /// It could not be connected to: nothing was sent.
    Refused,
    /// It gave no answer, or none that is whole.
    Failed,
    /// The client left before the answer was whole.
    Left,
    /// A connection of bytes ended as both its ends wanted.
    Passed,
}

/// How many outcomes are told apart.
pub(super) const OUTCOMES: usize = 9;

impl Outcome {
    fn at(self) -> usize {
        match self {
            Outcome::Status(status) => usize::from(status / 100).clamp(1, 5) - 1,
            Outcome::Refused => 5,
            Outcome::Failed => 6,
            Outcome::Left => 7,
            Outcome::Passed => 8,
        }
    }
}

/// Names of the outcomes, in order.
pub const OUTCOME_NAMES: [&str; OUTCOMES] = [
    "1xx", "2xx", "3xx", "4xx", "5xx", "refused", "failed", "left", "passed",
];

/// The counts of a target. They outlive tables.
#[derive(Debug, Default)]
pub struct Meter {
    threads: [OnceLock<Box<Counts>>; THREADS],
}

#[derive(Debug, Default)]
struct Counts {
    outcomes: [AtomicU64; OUTCOMES],
    retries: AtomicU64,
    total_us: AtomicU64,
    times: Histogram,
    statuses: [Status; STATUSES],
    received: AtomicU64,
    sent: AtomicU64,
}

/// Answers of one status; of none as long as it is zero.
#[derive(Debug, Default)]
struct Status {
    status: AtomicU16,
    count: AtomicU64,
    total_us: AtomicU64,
}

impl Status {
    /// Whether it is for this status, from now on if it was for none.
    fn is_for(&self, status: u16) -> bool {
        let own = self.status.load(Ordering::Relaxed);
        if own != 0 {
            return own == status;
        }
        let order = Ordering::Relaxed;
        let taken = self.status.compare_exchange(0, status, order, order);
        taken.is_ok() || taken == Err(status)
    }
}

/// How many answers there were, and how long they took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Whole answers.
    pub count: u64,
    /// Microseconds.
    pub total_us: u64,
}

impl Spent {
    /// Adds another one.
    pub(super) fn add(&mut self, other: Spent) {
        self.count += other.count;
        self.total_us = self.total_us.saturating_add(other.total_us);
    }

    /// What was added since an earlier one.
    pub(super) fn since(self, earlier: Spent) -> Spent {
        Spent {
            count: self.count.saturating_sub(earlier.count),
            total_us: self.total_us.saturating_sub(earlier.total_us),
        }
    }
}

/// The counts of all threads together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Attempts by outcome, in the order of [`OUTCOME_NAMES`].
    pub outcomes: [u64; OUTCOMES],
    /// Attempts that were followed by one at another target.
    pub retries: u64,
    /// How long all whole answers took together, in microseconds.
    pub total_us: u64,
    /// Whole answers that took no longer than each of [`BOUNDS_MS`].
    pub within: [u64; BOUNDS_MS.len()],
    /// Whole answers.
    pub timed: u64,
}

/// The exact counts of all threads together at a moment, to take the difference of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) outcomes: [u64; OUTCOMES],
    pub(super) retries: u64,
    pub(super) total_us: u64,
    /// By status.
    pub(super) statuses: BTreeMap<u16, Spent>,
    /// Bytes of connections, from the target.
    pub(super) received: u64,
    /// And to it.
    pub(super) sent: u64,
    /// By bucket. They begin anew after four thousand million.
    times: Box<[u32; BUCKETS]>,
}

impl Default for Totals {
    fn default() -> Totals {
        Totals {
            outcomes: [0; OUTCOMES],
            retries: 0,
            total_us: 0,
            statuses: BTreeMap::new(),
            received: 0,
            sent: 0,
            times: Box::new([0; BUCKETS]),
        }
    }
}

impl Totals {
    /// How many answers took how long: counts by the longest time of a bucket, in rising order.
    pub(super) fn times(&self) -> impl Iterator<Item = (Duration, u64)> {
        let buckets = self.times.iter().enumerate();
        let used = buckets.filter(|(_, count)| **count > 0);
        used.map(|(bucket, count)| (histogram::longest(bucket), u64::from(*count)))
    }

    /// How many answers took how long since `earlier`: counts by the longest time of a bucket.
    pub(super) fn times_since(&self, earlier: &Totals, times: &mut BTreeMap<Duration, u64>) {
        let pairs = self.times.iter().zip(earlier.times.iter()).enumerate();
        for (bucket, (now, then)) in pairs.filter(|(_, (now, then))| now != then) {
            let count = u64::from(now.wrapping_sub(*then));
            *times.entry(histogram::longest(bucket)).or_default() += count;
        }
    }
}

/// Times that answers are sorted by, in milliseconds.
pub const BOUNDS_MS: [u64; 14] = [
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000,
];

impl Meter {
    fn of(&self, thread: usize) -> &Counts {
        self.threads[thread % THREADS].get_or_init(Box::default)
    }

    /// Counts an attempt that has ended; of whole answers the time counts too.
    pub fn ended(&self, thread: usize, outcome: Outcome, took: Duration) {
        let counts = self.of(thread);
        counts.outcomes[outcome.at()].fetch_add(1, Ordering::Relaxed);
        if matches!(outcome, Outcome::Status(_)) {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            counts.total_us.fetch_add(us, Ordering::Relaxed);
            counts.times.count(took);
        }
        if let Outcome::Status(status) = outcome
            && status > 0
        {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let mut places = counts.statuses.iter();
            if let Some(own) = places.find(|own| own.is_for(status)) {
                own.count.fetch_add(1, Ordering::Relaxed);
                own.total_us.fetch_add(us, Ordering::Relaxed);
            }
        }
    }

    /// Counts bytes of a connection that came from the target.
    pub fn received(&self, thread: usize, bytes: usize) {
        let counts = self.of(thread);
        counts.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of a connection that went to the target.
    pub fn sent(&self, thread: usize, bytes: usize) {
        let counts = self.of(thread);
        counts.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts an attempt that is followed by one at another target.
    pub fn retried(&self, thread: usize) {
        self.of(thread).retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether an attempt has ended or was repeated, or bytes were passed on, since then.
    pub(super) fn moved(&self, since: &Totals) -> bool {
        let mut outcomes = [0; OUTCOMES];
        let mut retries = 0;
        let mut bytes = (0, 0);
        for counts in self.threads.iter().filter_map(OnceLock::get) {
            for (sum, count) in outcomes.iter_mut().zip(&counts.outcomes) {
                *sum += count.load(Ordering::Relaxed);
            }
            retries += counts.retries.load(Ordering::Relaxed);
            bytes.0 += counts.received.load(Ordering::Relaxed);
            bytes.1 += counts.sent.load(Ordering::Relaxed);
        }
        outcomes != since.outcomes
            || retries != since.retries
            || bytes != (since.received, since.sent)
    }

    /// Whether anything was ever counted.
    pub(super) fn is_used(&self) -> bool {
        self.threads.iter().any(|counts| counts.get().is_some())
    }

    /// What was counted so far, with every bucket of times.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for counts in self.threads.iter().filter_map(OnceLock::get) {
            for (sum, count) in totals.outcomes.iter_mut().zip(&counts.outcomes) {
                *sum += count.load(Ordering::Relaxed);
            }
            totals.retries += counts.retries.load(Ordering::Relaxed);
            totals.total_us += counts.total_us.load(Ordering::Relaxed);
            totals.received += counts.received.load(Ordering::Relaxed);
            totals.sent += counts.sent.load(Ordering::Relaxed);
            for own in &counts.statuses {
                let spent = Spent {
                    count: own.count.load(Ordering::Relaxed),
                    total_us: own.total_us.load(Ordering::Relaxed),
                };
                let status = own.status.load(Ordering::Relaxed);
                if spent.count > 0 {
                    totals.statuses.entry(status).or_default().add(spent);
                }
            }
            for (sum, count) in totals.times.iter_mut().zip(counts.times.all()) {
                *sum = sum.wrapping_add(count);
            }
        }
        totals
    }

    /// What was counted so far.
    pub fn read(&self) -> Reading {
        let mut reading = Reading::default();
        for counts in self.threads.iter().filter_map(OnceLock::get) {
            for (sum, count) in reading.outcomes.iter_mut().zip(&counts.outcomes) {
                *sum += count.load(Ordering::Relaxed);
            }
            reading.retries += counts.retries.load(Ordering::Relaxed);
            reading.total_us += counts.total_us.load(Ordering::Relaxed);
            for (longest, count) in counts.times.counts() {
                reading.timed += u64::from(count);
                for (sum, bound) in reading.within.iter_mut().zip(BOUNDS_MS) {
                    if longest <= Duration::from_millis(bound) {
                        *sum += u64::from(count);
                    }
                }
            }
        }
        reading
    }
}

impl Reading {
    /// Adds another reading.
    pub fn add(&mut self, other: &Reading) {
        for (sum, count) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += count;
        }
        for (sum, count) in self.within.iter_mut().zip(other.within) {
            *sum += count;
        }
        self.retries += other.retries;
        self.total_us += other.total_us;
        self.timed += other.timed;
    }

    /// All attempts.
    pub fn attempts(&self) -> u64 {
        self.outcomes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BOUNDS_MS, Meter, Outcome, STATUSES};

    #[test]
    fn threads_are_added_up() {
        let meter = Meter::default();
        for thread in 0..20 {
            meter.ended(thread, Outcome::Status(204), Duration::from_millis(3));
        }
        meter.ended(0, Outcome::Status(999), Duration::from_secs(90));
        meter.ended(1, Outcome::Failed, Duration::from_secs(1));
        meter.ended(1, Outcome::Left, Duration::from_secs(1));
        meter.retried(1);
        meter.ended(1, Outcome::Refused, Duration::ZERO);
        meter.ended(1, Outcome::Passed, Duration::from_secs(60));
        let mut reading = meter.read();
        assert_eq!(reading.outcomes, [0, 20, 0, 0, 1, 1, 1, 1, 1]);
        assert_eq!(
            (reading.retries, reading.timed, reading.attempts()),
            (1, 21, 25)
        );
        assert_eq!(reading.total_us, 20 * 3_000 + 90_000_000);
        let within = BOUNDS_MS.iter().zip(reading.within);
        let expected = |ms: u64| if ms < 5 { 0 } else { 20 };
        assert!(
            within.clone().all(|(ms, count)| count == expected(*ms)),
            "{reading:?}"
        );
        let other = reading.clone();
        reading.add(&other);
        assert_eq!(reading.timed, 42);
    }

    #[test]
    fn statuses_and_bytes_are_told_apart() {
        let meter = Meter::default();
        let before = meter.totals();
        for thread in 0..3 {
            for status in [200, 404, 200] {
                meter.ended(thread, Outcome::Status(status), Duration::from_millis(2));
            }
            meter.received(thread, 5);
            meter.sent(thread, 7);
        }
        meter.ended(0, Outcome::Status(0), Duration::from_millis(1));
        let totals = meter.totals();
        let seen: Vec<(u16, u64, u64)> = totals
            .statuses
            .iter()
            .map(|(status, spent)| (*status, spent.count, spent.total_us))
            .collect();
        assert_eq!(seen, [(200, 6, 12_000), (404, 3, 6_000)]);
        assert_eq!((totals.received, totals.sent), (15, 21));
        assert_eq!(totals.times().map(|(_, count)| count).sum::<u64>(), 10);
        assert!(meter.moved(&before) && !meter.moved(&totals));
        meter.sent(9, 1);
        assert!(meter.moved(&totals));

        // There is room for so many; the others are in their hundred still.
        for status in 400..500 {
            meter.ended(0, Outcome::Status(status), Duration::ZERO);
        }
        let totals = meter.totals();
        assert_eq!(totals.statuses.len(), STATUSES);
        assert_eq!(totals.outcomes[3], 103);
    }
}

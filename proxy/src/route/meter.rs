//! What a target was asked and how it answered, counted by each thread for itself.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::{self, BUCKETS, Histogram};

/// So many threads have counts of their own; more share them.
const THREADS: usize = 16;

/// How a target ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It answered with a status of this hundred, 1 to 5.
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
    /// By bucket. They begin anew after four thousand million.
    times: Box<[u32; BUCKETS]>,
}

impl Default for Totals {
    fn default() -> Totals {
        Totals {
            outcomes: [0; OUTCOMES],
            retries: 0,
            total_us: 0,
            times: Box::new([0; BUCKETS]),
        }
    }
}

impl Totals {
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
    }

    /// Counts an attempt that is followed by one at another target.
    pub fn retried(&self, thread: usize) {
        self.of(thread).retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether an attempt has ended or was repeated since then.
    pub(super) fn moved(&self, since: &Totals) -> bool {
        let mut outcomes = [0; OUTCOMES];
        let mut retries = 0;
        for counts in self.threads.iter().filter_map(OnceLock::get) {
            for (sum, count) in outcomes.iter_mut().zip(&counts.outcomes) {
                *sum += count.load(Ordering::Relaxed);
            }
            retries += counts.retries.load(Ordering::Relaxed);
        }
        outcomes != since.outcomes || retries != since.retries
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

    use super::{BOUNDS_MS, Meter, Outcome};

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
}

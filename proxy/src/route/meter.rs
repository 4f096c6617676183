//! What a target was asked and how it answered, counted by each thread for itself.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::Histogram;

/// So many threads have counts of their own; more share them.
const THREADS: usize = 16;

/// How a target ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It answered with a status of this hundred, 1 to 5.
    Status(u16),
    /// It gave no answer, or none that is whole.
    Failed,
    /// The client left before the answer was whole.
    Left,
}

/// How many outcomes are told apart.
const OUTCOMES: usize = 7;

impl Outcome {
    fn at(self) -> usize {
        match self {
            Outcome::Status(status) => usize::from(status / 100).clamp(1, 5) - 1,
            Outcome::Failed => 5,
            Outcome::Left => 6,
        }
    }
}

/// Names of the outcomes, in order.
pub const OUTCOME_NAMES: [&str; OUTCOMES] = ["1xx", "2xx", "3xx", "4xx", "5xx", "failed", "left"];

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
        let mut reading = meter.read();
        assert_eq!(reading.outcomes, [0, 20, 0, 0, 1, 1, 1]);
        assert_eq!(
            (reading.retries, reading.timed, reading.attempts()),
            (1, 21, 23)
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

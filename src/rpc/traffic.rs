//! What ingresses count, as agents tell it.
//!
//! An agent cuts time into intervals and tells of each what happened in it. Nothing is told twice
//! and nothing later: what a server did not hear is missing, and the numbers of the intervals say
//! so. That nothing happened is told, too.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long an interval is unless a server asks for shorter ones.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// The shortest interval that a server may ask for.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The most rows of one message.
pub const MESSAGE_ROWS_MAX: usize = 256;

/// What the ingress of an agent counted in one interval, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Which interval: one more than that before, in the life of an agent's process.
    pub number: u64,
    /// How long it was, in milliseconds.
    pub millis: u64,
    /// More rows of the same interval follow in the next message.
    pub more: bool,
    /// Ordered by their labels. Whoever has no row in the whole interval was asked nothing, and has
    /// nothing in flight. At most [`MESSAGE_ROWS_MAX`].
    pub rows: Vec<TrafficRow>,
}

/// Who is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Who {
    /// Host and path of the route.
    pub route: String,
    /// The service.
    pub service: String,
    /// The version that it runs; empty if nobody says.
    pub version: String,
    /// The id of the instance in the catalog, or its address without one; `other` for those beyond
    /// a bound.
    pub instance: String,
}

/// What happened to one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficRow {
    /// Whom.
    pub who: Who,
    /// What.
    pub counts: Counts,
}

/// What an instance was asked, and how it ended it. Each attempt at an instance counts for itself,
/// whatever the client got in the end: a request that failed here and was then answered by another
/// instance is a failed attempt here, and a good one there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Attempts that were answered, by the hundred of the status: 1xx to 5xx.
    pub answers: [u64; 5],
    /// Attempts for which no connection was made: nothing was sent. Also of TCP routes.
    pub refused: u64,
    /// Attempts without a whole answer: reset, cut off, not in time. Also of TCP routes.
    pub failed: u64,
    /// Attempts whose client left first: nobody's fault. Also of TCP routes.
    pub left: u64,
    /// Connections of TCP routes that both ends ended in good order.
    pub passed: u64,
    /// Attempts among the above that were followed by one at another instance.
    pub retries: u64,
    /// Requests and connections that it has at the end of the interval, on all routes: no count,
    /// but a level.
    pub in_flight: u64,
    /// How long all answered attempts took together, from sending to the last byte, in
    /// microseconds.
    pub total_us: u64,
    /// Answered attempts by how long they took: pairs of the longest time in a bucket, in
    /// microseconds, and a count; rising, without empty ones. No bucket is wider than a
    /// thirty-second of its time, and those of all agents are the same, so that they may be added.
    pub times: Vec<(u64, u64)>,
}

impl Counts {
    /// Attempts that have ended, TCP connections among them.
    pub fn attempts(&self) -> u64 {
        self.answers.iter().sum::<u64>() + self.refused + self.failed + self.left + self.passed
    }

    /// Adds other counts; times and levels are added like all else.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.answers.iter_mut().zip(other.answers) {
            *sum = sum.saturating_add(count);
        }
        for (sum, count) in [
            (&mut self.refused, other.refused),
            (&mut self.failed, other.failed),
            (&mut self.left, other.left),
            (&mut self.passed, other.passed),
            (&mut self.retries, other.retries),
            (&mut self.in_flight, other.in_flight),
            (&mut self.total_us, other.total_us),
        ] {
            *sum = sum.saturating_add(count);
        }
        let mut times = Vec::with_capacity(self.times.len().max(other.times.len()));
        let mut own = std::mem::take(&mut self.times).into_iter().peekable();
        for &(longest, count) in &other.times {
            while let Some(pair) = own.next_if(|pair| pair.0 < longest) {
                times.push(pair);
            }
            let same = own.next_if(|pair| pair.0 == longest);
            let before = same.map_or(0, |(_, before)| before);
            times.push((longest, before.saturating_add(count)));
        }
        times.extend(own);
        self.times = times;
    }

    /// The time in microseconds that so many of a thousand answered attempts did not exceed, to a
    /// thirty-second of it; none without answers.
    pub fn quantile_us(&self, per_mille: u64) -> Option<u64> {
        let all: u64 = self.times.iter().map(|(_, count)| count).sum();
        let rank = all.saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let mut times = self.times.iter();
        let found = times.find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        found.map(|(longest, _)| *longest)
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    fn timed(times: &[(u64, u64)]) -> Counts {
        Counts {
            times: times.to_vec(),
            ..Counts::default()
        }
    }

    #[test]
    fn counts_are_added_bucket_by_bucket() {
        let mut sum = timed(&[(1, 1), (3, 2), (9, 1)]);
        sum.add(&Counts {
            answers: [0, 5, 0, 0, 1],
            refused: 2,
            retries: 1,
            in_flight: 4,
            times: vec![(2, 1), (3, 5), (10, 1)],
            ..Counts::default()
        });
        assert_eq!(sum.times, [(1, 1), (2, 1), (3, 7), (9, 1), (10, 1)]);
        assert_eq!((sum.attempts(), sum.retries, sum.in_flight), (8, 1, 4));
        sum.add(&Counts::default());
        assert_eq!(sum.times.len(), 5);
    }

    #[test]
    fn quantiles_are_of_what_was_counted() {
        assert_eq!(timed(&[]).quantile_us(500), None);
        let times = timed(&[(100, 98), (200, 1), (5000, 1)]);
        for (per_mille, expected) in [(0, 100), (500, 100), (980, 100), (990, 200), (1000, 5000)] {
            assert_eq!(times.quantile_us(per_mille), Some(expected), "{per_mille}");
        }
    }
}

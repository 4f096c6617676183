//! How long things took: counts in buckets that are nowhere wider than a thirty-second of a time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Times up to so many microseconds have a bucket each.
const EXACT_US: u64 = 64;

/// Buckets of each doubling above that.
const PARTS: usize = 32;

/// The longest time that is told apart from longer ones: two minutes and a bit.
const MAX_US: u64 = (1 << 27) - 1;

/// How many buckets there are.
pub(super) const BUCKETS: usize = 21 * PARTS + 64;

/// Counts by time. Each has one writer at a time or takes it that a count is lost now and then.
#[derive(Debug)]
pub struct Histogram {
    counts: [AtomicU32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: [const { AtomicU32::new(0) }; BUCKETS],
        }
    }
}

impl Histogram {
    /// Counts a time.
    pub fn count(&self, took: Duration) {
        // A plain store: no other processor has to be asked.
        let count = &self.counts[bucket(took)];
        count.store(
            count.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    /// Makes all counts half of what they are, and returns how many are left.
    pub fn halve(&self) -> u32 {
        let mut left: u32 = 0;
        for count in &self.counts {
            let half = count.load(Ordering::Relaxed) / 2;
            count.store(half, Ordering::Relaxed);
            left = left.saturating_add(half);
        }
        left
    }

    /// The counts of all buckets.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// The counts that are not zero, each with the longest time of its bucket, in rising order.
    pub fn counts(&self) -> impl Iterator<Item = (Duration, u32)> {
        self.counts.iter().enumerate().filter_map(|(at, count)| {
            let count = count.load(Ordering::Relaxed);
            (count > 0).then(|| (longest(at), count))
        })
    }

    /// The time that so many of a thousand times do not exceed; nothing if none was counted.
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let all: u64 = self.counts().map(|(_, count)| u64::from(count)).sum();
        let rank = (all * per_mille).div_ceil(1000);
        let mut seen = 0;
        self.counts()
            .find(|(_, count)| {
                seen += u64::from(*count);
                seen >= rank
            })
            .map(|(longest, _)| longest)
    }
}

fn bucket(took: Duration) -> usize {
    let us = u64::try_from(took.as_micros()).map_or(MAX_US, |us| us.min(MAX_US));
    if us < EXACT_US {
        // Less than 64.
        return us as usize;
    }
    let shift = 58 - us.leading_zeros() as usize;
    // From 32 to 63.
    shift * PARTS + (us >> shift) as usize
}

/// The longest time of a bucket.
pub(super) fn longest(bucket: usize) -> Duration {
    let us = if bucket < EXACT_US as usize {
        bucket as u64
    } else {
        let shift = bucket / PARTS - 1;
        let part = (bucket - shift * PARTS) as u64;
        ((part + 1) << shift) - 1
    };
    Duration::from_micros(us)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{BUCKETS, Histogram, MAX_US, bucket, longest};

    proptest! {
        #[test]
        fn a_bucket_is_near_every_time_in_it(us in 0u64..2 * MAX_US) {
            let at = bucket(Duration::from_micros(us));
            prop_assert!(at < BUCKETS);
            let longest = longest(at).as_micros() as u64;
            let us = us.min(MAX_US);
            prop_assert!(longest >= us && longest - us <= us / 32, "{us} in the bucket to {longest}");
        }
    }

    #[test]
    fn quantiles_are_of_what_was_counted() {
        let times = Histogram::default();
        assert_eq!(times.quantile(990), None);
        for ms in 1..=1000 {
            times.count(Duration::from_millis(ms));
        }
        for (per_mille, expected) in [(500, 500), (990, 990), (1000, 1000)] {
            let found = times.quantile(per_mille).unwrap().as_millis() as u64;
            assert!(
                (expected..=expected + expected / 32).contains(&found),
                "{found}"
            );
        }
        let left = times.halve();
        assert!((400..=500).contains(&left), "{left}");
        let times = Histogram::default();
        times.count(Duration::from_secs(3600));
        times.count(Duration::from_secs(3600));
        assert_eq!((times.halve(), times.counts().count()), (1, 1));
    }
}

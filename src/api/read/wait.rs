//! The one way in which reads wait for a change.

use jobs::model::Index;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

use crate::listener::Stopping;

/// Part of the wait that is added at most, so that readers do not return all at once.
const JITTER_PART: u32 = 16;

/// What a reader waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Wait until the index passes this; 0 answers at once.
    pub(crate) index: Index,
    /// Longest wait, before jitter.
    pub(crate) wait: Duration,
}

/// Where a reader gets snapshots from, and how it learns of newer ones.
pub(crate) trait Source {
    /// What is read.
    type Snapshot;

    /// The newest snapshot.
    fn newest(&self) -> Arc<Self::Snapshot>;

    /// Resolves when there may be a newer snapshot than at the last call, the first time perhaps at
    /// once; false when waiting is of no use.
    fn changed(&mut self) -> impl Future<Output = bool> + Send;
}

/// Spreads the ends of waits.
#[derive(Debug, Default)]
pub(crate) struct Spread(AtomicU64);

impl Spread {
    /// How many reads waited so far.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Between 0 and a part of `wait`, evenly spread over the calls.
    pub(crate) fn jitter(&self, wait: Duration) -> Duration {
        /// Steps of a golden-ratio sequence fill the range evenly, whatever the count.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        let [share, ..] = count.wrapping_mul(GOLDEN).to_be_bytes();
        wait / JITTER_PART * u32::from(share) / 256
    }
}

/// Waits until `index_of` a snapshot passes what is asked, the time is over or the listener stops,
/// and answers with the newest snapshot.
///
/// Returns at once when the index falls, which means that the state was restored from an older one.
pub(crate) async fn wait<S: Source>(
    mut source: S,
    asked: Asked,
    spread: &Spread,
    stopping: &Stopping,
    index_of: impl Fn(&S::Snapshot) -> Index,
) -> Arc<S::Snapshot> {
    // A client that gets 0 would ask again without waiting, so an index is at least 1.
    let index_of = |snapshot: &S::Snapshot| index_of(snapshot).max(1);
    let snapshot = source.newest();
    let first = index_of(&snapshot);
    if asked.index == 0 || first > asked.index {
        return snapshot;
    }
    let end = Instant::now() + asked.wait + spread.jitter(asked.wait);
    loop {
        let goes_on = tokio::select! {
            goes_on = source.changed() => goes_on,
            () = sleep_until(end) => false,
            () = stopping.0.cancelled() => false,
        };
        let snapshot = source.newest();
        let now = index_of(&snapshot);
        if !goes_on || now > asked.index || now < first {
            return snapshot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_return_a_little_late_and_not_all_at_once() {
        let spread = Spread::default();
        let wait = Duration::from_secs(160);
        let late: Vec<Duration> = (0..64).map(|_| spread.jitter(wait)).collect();
        let longest = wait / JITTER_PART;
        assert!(late.iter().all(|late| *late < longest), "{late:?}");
        // As many in each quarter of the range.
        for quarter in 0..4 {
            let range = longest / 4 * quarter..longest / 4 * (quarter + 1);
            let count = late.iter().filter(|late| range.contains(*late)).count();
            assert!((14..=18).contains(&count), "{quarter}: {count}");
        }
        assert_eq!(spread.jitter(Duration::ZERO), Duration::ZERO);
    }
}

//! What bounds the requests of a route: how many a second, and how many at once.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::policy::Rate;

/// Addresses share so many places for their own limit: two that meet in one share a limit.
const PLACES: usize = 4096;

/// The requests of a route that were counted lately. It outlives the tables.
#[derive(Debug)]
pub(crate) struct Limits {
    /// When the next request would come if all came evenly, in microseconds of the caller's clock;
    /// one for the route, or one for each place.
    due_us: Box<[AtomicU64]>,
    in_flight: AtomicU32,
    pending: AtomicU32,
}

impl Limits {
    /// Nothing was counted yet.
    pub(super) fn new(rate: Option<Rate>) -> Limits {
        let places = if rate.is_some_and(|rate| rate.is_by_address) {
            PLACES
        } else {
            1
        };
        Limits {
            due_us: (0..places).map(|_| AtomicU64::new(0)).collect(),
            in_flight: AtomicU32::new(0),
            pending: AtomicU32::new(0),
        }
    }

    /// Whether it has the places that a rate needs.
    pub(super) fn suits(&self, rate: Option<Rate>) -> bool {
        (self.due_us.len() > 1) == rate.is_some_and(|rate| rate.is_by_address)
    }

    /// Whether a request is within the rate; it is counted then.
    pub(crate) fn admits(&self, rate: Rate, client: IpAddr, now_us: u64) -> bool {
        let step = 1_000_000 / u64::from(rate.per_second.max(1));
        // As many as a second brings may come at once.
        let latest = now_us + 1_000_000 - step.min(1_000_000);
        let place = if rate.is_by_address {
            (hash(client) % self.due_us.len() as u64) as usize
        } else {
            0
        };
        let next = |due: u64| (due <= latest).then(|| due.max(now_us) + step);
        self.due_us[place]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }

    /// Counts a request in, if there is room.
    pub(crate) fn enter(&self, most: u32) -> bool {
        enter(&self.in_flight, most)
    }

    /// Counts a request out.
    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Lets a request wait, if not too many do.
    pub(crate) fn wait(&self, most: u32) -> bool {
        enter(&self.pending, most)
    }

    /// A request waits no more.
    pub(crate) fn waited(&self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

fn enter(count: &AtomicU32, most: u32) -> bool {
    let next = |count: u32| (count < most).then_some(count + 1);
    count
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
        .is_ok()
}

/// A number that spreads well.
fn hash(client: IpAddr) -> u64 {
    let bytes = match client.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        // Networks of that size belong to one client.
        IpAddr::V6(address) => u128::from(address) >> 64,
    };
    super::group::mixed(bytes as u64)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Limits;
    use crate::route::policy::Rate;

    #[test]
    fn a_rate_allows_a_second_at_once_and_then_one_after_the_other() {
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for is_by_address in [false, true] {
            let rate = Rate {
                per_second: 10,
                is_by_address,
            };
            let limits = Limits::new(Some(rate));
            assert!(limits.suits(Some(rate)));
            let now = 5_000_000;
            let taken = |client, now| {
                (0..100)
                    .filter(|_| limits.admits(rate, client, now))
                    .count()
            };
            assert_eq!(taken(a, now), 10);
            assert_eq!(taken(b, now), if is_by_address { 10 } else { 0 });
            assert_eq!(taken(a, now + 99_999), 0);
            assert_eq!(taken(a, now + 100_000), 1);
            assert_eq!(taken(a, now + 60_000_000), 10);
        }
    }

    #[test]
    fn places_are_taken_and_given_back() {
        let limits = Limits::new(None);
        assert!(limits.enter(2) && limits.enter(2) && !limits.enter(2));
        limits.leave();
        assert!(limits.enter(2));
        assert!(!limits.wait(0) && limits.wait(1) && !limits.wait(1));
        limits.waited();
        assert!(limits.wait(1));
    }
}

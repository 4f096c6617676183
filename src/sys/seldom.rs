//! Warnings about something that happens again and again.

use super::clock;
use std::sync::atomic::{AtomicI64, Ordering};

/// Between two warnings, nanoseconds.
const INTERVAL_NS: i64 = 1_000_000_000;

/// Lets one warning through in a second.
#[derive(Debug)]
pub struct Seldom {
    next_ns: AtomicI64,
}

impl Seldom {
    /// The first one goes through.
    pub const fn new() -> Self {
        Self {
            next_ns: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether it is time for a warning.
    pub fn is_due(&self) -> bool {
        self.is_due_at(clock::monotonic_ns())
    }

    fn is_due_at(&self, now_ns: i64) -> bool {
        let next = self.next_ns.load(Ordering::Relaxed);
        let after = now_ns.saturating_add(INTERVAL_NS);
        // Of several at once, one wins.
        now_ns >= next
            && self
                .next_ns
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_through_in_a_second() {
        let seldom = Seldom::new();
        let through: Vec<i64> = (0..30)
            .map(|tenth| tenth * INTERVAL_NS / 10)
            .filter(|now| seldom.is_due_at(*now))
            .collect();
        assert_eq!(through, [0, INTERVAL_NS, 2 * INTERVAL_NS]);
    }
}

//! Warnings about something that happens again and again.

use super::clock::{self, Monotonic};
use parking_lot::Mutex;
use std::time::Duration;

/// Between two warnings.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one warning through in a second.
#[derive(Debug)]
pub struct Seldom {
    next: Mutex<Monotonic>,
}

impl Seldom {
    /// The first one goes through.
    pub const fn new() -> Self {
        Self {
            next: Mutex::new(Monotonic::START),
        }
    }

    /// Whether it is time for a warning.
    pub fn is_due(&self) -> bool {
        self.is_due_at(clock::monotonic())
    }

    fn is_due_at(&self, now: Monotonic) -> bool {
        let mut next = self.next.lock();
        let is_due = now >= *next;
        if is_due {
            *next = now + INTERVAL;
        }
        is_due
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
        let through: Vec<u32> = (0..30)
            .filter(|tenth| seldom.is_due_at(Monotonic::START + *tenth * INTERVAL / 10))
            .collect();
        assert_eq!(through, [0, 10, 20]);
    }
}

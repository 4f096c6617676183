//! Whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::weight;

/// How to choose among the targets of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// In turn, by the route's own counter.
    RoundRobin,
    /// The one with the fewest requests in flight for its share; in turn among equals.
    LeastConnections,
    /// By a random number, evenly distributed over all of `u64`.
    Random(u64),
    /// By the hash of a key: the same target for the same key, as long as it can be.
    Hash(u64),
}

/// The turns of a route's targets, and the counter that walks them.
#[derive(Debug)]
pub(super) struct Picker {
    ring: Box<[u32]>,
    turns: Arc<AtomicU64>,
}

impl Picker {
    /// One period of turns in which target `i` has `slots[i]`; the counter goes on where `turns`
    /// stands.
    pub(super) fn new(slots: &[u64], turns: Arc<AtomicU64>) -> Picker {
        Picker {
            ring: weight::ring(slots),
            turns,
        }
    }

    /// The counter, to hand on to the next table.
    pub(super) fn turns(&self) -> &Arc<AtomicU64> {
        &self.turns
    }

    /// The target whose turn it is; `None` if no target has any.
    pub(super) fn pick(&self, choice: Choice) -> Option<usize> {
        self.pick_where(choice, |_| true)
    }

    /// The one that a random number falls on, and a random number of what is left of it.
    pub(super) fn draw(&self, number: u64) -> Option<(usize, u64)> {
        let product = u128::from(number) * self.ring.len() as u128;
        let turn = *self.ring.get((product >> 64) as usize)?;
        // The lower half.
        Some((turn as usize, product as u64))
    }

    /// The target whose turn it is, or the next one behind it that is acceptable.
    pub(super) fn pick_where(
        &self,
        choice: Choice,
        acceptable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let length = self.ring.len();
        let start = match (length, choice) {
            (0, _) => return None,
            (1, _) => 0,
            // The remainder is less than the length, which is a usize.
            (_, Choice::RoundRobin | Choice::LeastConnections) => {
                (self.turns.fetch_add(1, Ordering::Relaxed) % length as u64) as usize
            }
            (_, Choice::Random(number) | Choice::Hash(number)) => {
                ((u128::from(number) * length as u128) >> 64) as usize
            }
        };
        self.ring[start..]
            .iter()
            .chain(&self.ring[..start])
            .map(|target| *target as usize)
            .find(|at| acceptable(*at))
    }
}

//! Shares of targets, in exact integers.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The most slots that a ring has; shares that need more are rounded down to this many, each at
/// least one slot.
pub(super) const RING_SLOTS_MAX: u128 = 10_000;

/// One, in the unit of weights.
const ONE: u128 = 1_000_000;

/// The largest common denominator of shares that were split over targets; beyond it they are
/// rounded.
const DENOMINATOR_MAX: u128 = 1_000_000_000;

/// A fixed weight: millionths, divided evenly among a number of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) millionths: u64,
    pub(super) parts: u64,
}

/// Slots of each target: those with a fixed share get it (scaled to one if they exceed it, or if
/// there are no others), the others (`None`) get even parts of what is left.
pub(super) fn slots(shares: &[Option<Share>]) -> Vec<u64> {
    let weights = integers(shares);
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let reduced: Vec<u128> = weights.iter().map(|weight| weight / divisor).collect();
    let total: u128 = reduced.iter().sum();
    if total <= RING_SLOTS_MAX {
        return reduced.into_iter().map(narrow).collect();
    }
    let scaled = |weight: u128| {
        if weight == 0 {
            0
        } else {
            (weight * RING_SLOTS_MAX / total).max(1)
        }
    };
    let rounded: Vec<u128> = reduced.into_iter().map(scaled).collect();
    let divisor = rounded.iter().copied().fold(0, gcd).max(1);
    rounded
        .into_iter()
        .map(|slots| narrow(slots / divisor))
        .collect()
}

fn narrow(slots: u128) -> u64 {
    u64::try_from(slots).unwrap_or(u64::MAX)
}

/// Relative weights as whole numbers.
fn integers(shares: &[Option<Share>]) -> Vec<u128> {
    let mut parts = shares
        .iter()
        .flatten()
        .map(|share| u128::from(share.parts.max(1)));
    let common = parts.try_fold(1u128, |common, parts| {
        Some(common / gcd(common, parts) * parts).filter(|common| *common <= DENOMINATOR_MAX)
    });
    let unit = common.unwrap_or(1);
    let fixed = |share: &Share| {
        (u128::from(share.millionths) * unit / u128::from(share.parts.max(1))).max(1)
    };
    let sum: u128 = shares.iter().flatten().map(fixed).sum();
    let dynamic = shares.iter().filter(|share| share.is_none()).count() as u128;
    let left = (ONE * unit).saturating_sub(sum);
    // With `n` dynamic targets each gets left / n of the whole: multiply everything by n to stay
    // whole.
    let scale = if dynamic == 0 || left == 0 {
        1
    } else {
        dynamic
    };
    shares
        .iter()
        .map(|share| share.as_ref().map_or(left, |share| fixed(share) * scale))
        .collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One period of turns: target `i` has exactly `slots[i]` of them, spread as evenly as they go.
///
/// Each turn goes to the target with the largest `slots / (2 × turns so far + 1)`. When all turns
/// are given, that rule has given each target exactly its slots, because the quotas are whole (it
/// is the divisor method with rounding to the nearest).
pub(super) fn ring(slots: &[u64]) -> Box<[u32]> {
    let mut heap: BinaryHeap<Reverse<Turn>> = (0..)
        .zip(slots)
        .filter(|(_, slots)| **slots > 0)
        .map(|(target, slots)| Reverse(Turn::first(target, *slots)))
        .collect();
    let total: u64 = slots.iter().sum();
    let mut ring = Vec::with_capacity(usize::try_from(total).unwrap_or_default());
    for _ in 0..total {
        let Some(Reverse(turn)) = heap.pop() else {
            break;
        };
        ring.push(turn.target);
        heap.push(Reverse(Turn {
            odd: turn.odd + 2,
            ..turn
        }));
    }
    ring.into_boxed_slice()
}

/// The next turn of a target; the one that is due first is the smallest.
#[derive(PartialEq, Eq)]
struct Turn {
    odd: u64,
    slots: u64,
    target: u32,
}

impl Turn {
    fn first(target: u32, slots: u64) -> Turn {
        Turn {
            odd: 1,
            slots,
            target,
        }
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Turn) -> Ordering {
        let due = |one: &Turn, two: &Turn| u128::from(one.odd) * u128::from(two.slots);
        due(self, other)
            .cmp(&due(other, self))
            .then(self.target.cmp(&other.target))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

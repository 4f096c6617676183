//! Candidates in order, so that the best is found without a look at all of them.

use std::{cmp::Ordering, collections::BTreeSet};

/// Parts that a score may have: fit, anti-affinity, affinity.
const PARTS_MAX: usize = 3;

/// The candidates with room, in sets whose scores differ by their sums alone: the same spread
/// values and the same number of parts. The best of all is the best of the firsts.
#[derive(Debug)]
pub(super) struct Ranking {
    sets: Vec<BTreeSet<Rank>>,
    /// The first of each set: every choice looks at all of them, and changes one or two.
    firsts: Vec<Option<usize>>,
}

/// Order within a set: the greater sum first, then the earlier candidate.
#[derive(Clone, Copy, Debug)]
struct Rank {
    sum: f64,
    at: usize,
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_sum = other.sum.total_cmp(&self.sum);
        by_sum.then_with(|| self.at.cmp(&other.at))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank {}

/// Where a candidate stands: its combination of spread values, the number of parts of its score,
/// their sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) combo: usize,
    pub(super) parts: f64,
    pub(super) sum: f64,
}

impl Standing {
    fn set(&self) -> usize {
        let parts = (self.parts as usize).clamp(1, PARTS_MAX);
        self.combo * PARTS_MAX + parts - 1
    }
}

impl Ranking {
    /// All candidates that have room.
    pub(super) fn new(combos: usize, standings: impl Iterator<Item = (usize, Standing)>) -> Self {
        let mut sets: Vec<Vec<Rank>> = vec![Vec::new(); combos.max(1) * PARTS_MAX];
        for (at, standing) in standings {
            if let Some(set) = sets.get_mut(standing.set()) {
                let sum = standing.sum;
                set.push(Rank { sum, at });
            }
        }
        let sets: Vec<BTreeSet<Rank>> = sets.into_iter().map(BTreeSet::from_iter).collect();
        let firsts = sets.iter().map(first).collect();
        Self { sets, firsts }
    }

    pub(super) fn remove(&mut self, at: usize, standing: Standing) {
        self.change(standing, |set, sum| set.remove(&Rank { sum, at }));
    }

    pub(super) fn insert(&mut self, at: usize, standing: Standing) {
        self.change(standing, |set, sum| set.insert(Rank { sum, at }));
    }

    fn change(
        &mut self,
        standing: Standing,
        change: impl FnOnce(&mut BTreeSet<Rank>, f64) -> bool,
    ) {
        let of_set = (self.sets.get_mut(standing.set())).zip(self.firsts.get_mut(standing.set()));
        if let Some((set, known)) = of_set
            && change(set, standing.sum)
        {
            *known = first(set);
        }
    }

    /// The first of each set.
    pub(super) fn firsts(&self) -> impl Iterator<Item = usize> + '_ {
        self.firsts.iter().flatten().copied()
    }
}

fn first(set: &BTreeSet<Rank>) -> Option<usize> {
    Some(set.first()?.at)
}

//! A list without duplicates that versions share: to change one item, a block is copied.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use super::shards::{PARTS_MAX, place};

/// Items of a block on average before there are more blocks.
const BLOCK_ITEMS: usize = 32;
/// How many times as many blocks there are then; a power of two, as is their number.
const GROWTH: usize = 4;

/// Different items, found by position; each counts how often it was added, and stays until it was
/// removed as often. The order follows from the items alone, except in [`Bag::in_order`].
///
/// Invariants:
/// 1. An item is in the block that its hash says, and once.
/// 2. `starts` has the position of each block's first item.
#[derive(Clone, Debug)]
pub(crate) struct Bag<T> {
    blocks: Vec<Arc<Vec<(T, usize)>>>,
    starts: Vec<usize>,
    len: usize,
}

impl<T> Default for Bag<T> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            starts: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Bag<T> {
    /// How many different items there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The item at a position below [`Bag::len`].
    ///
    /// # Panics
    /// At other positions.
    pub(crate) fn at(&self, position: usize) -> &T {
        let block = match self.blocks.len() {
            1 => 0,
            _ => self.starts.partition_point(|start| *start <= position) - 1,
        };
        &self.blocks[block][position - self.starts[block]].0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks
            .iter()
            .flat_map(|block| block.iter())
            .map(|(item, _)| item)
    }
}

impl<T: Clone + Eq + Hash> Bag<T> {
    /// The items in this order, each where it comes first. Nothing may be added or removed later.
    pub(super) fn in_order(items: impl Iterator<Item = T>) -> Self {
        let mut seen = HashSet::new();
        let items = items.filter(|item| seen.insert(item.clone()));
        let block: Vec<(T, usize)> = items.map(|item| (item, 1)).collect();
        Self {
            len: block.len(),
            blocks: vec![Arc::new(block)],
            starts: vec![0],
        }
    }

    pub(super) fn add(&mut self, item: T) {
        if self.blocks.is_empty() {
            self.blocks.push(Arc::default());
            self.starts.push(0);
        }
        let at = place(&item, self.blocks.len());
        let block = Arc::make_mut(&mut self.blocks[at]);
        if let Some((_, count)) = block.iter_mut().find(|(known, _)| *known == item) {
            *count += 1;
            return;
        }
        block.push((item, 1));
        self.len += 1;
        for start in &mut self.starts[at + 1..] {
            *start += 1;
        }
        if self.len > self.blocks.len() * BLOCK_ITEMS && self.blocks.len() < PARTS_MAX {
            self.grow();
        }
    }

    /// Takes an item away once. If equal ones remain, `another` of them stands for them from now
    /// on.
    pub(super) fn remove(&mut self, item: &T, another: impl FnOnce() -> Option<T>) {
        if self.blocks.is_empty() {
            return;
        }
        let at = place(item, self.blocks.len());
        let Some(found) = self.blocks[at].iter().position(|(known, _)| known == item) else {
            return;
        };
        let block = Arc::make_mut(&mut self.blocks[at]);
        let (known, count) = &mut block[found];
        *count -= 1;
        if *count > 0 {
            if let Some(another) = another() {
                *known = another;
            }
            return;
        }
        block.swap_remove(found);
        self.len -= 1;
        for start in &mut self.starts[at + 1..] {
            *start -= 1;
        }
        if self.is_empty() {
            *self = Self::default();
        }
    }

    fn grow(&mut self) {
        let count = self.blocks.len() * GROWTH;
        let mut blocks = vec![Vec::new(); count];
        for block in std::mem::take(&mut self.blocks) {
            for item in Arc::unwrap_or_clone(block) {
                blocks[place(&item.0, count)].push(item);
            }
        }
        self.starts.clear();
        let mut start = 0;
        for block in &blocks {
            self.starts.push(start);
            start += block.len();
        }
        self.blocks = blocks.into_iter().map(Arc::new).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Each item is at one position as long as it was added more often than removed, also in an
        /// older clone.
        #[test]
        fn every_item_that_is_there_has_one_position(
            before in prop::collection::vec((0..500_u16, 0..3_u8), 0..900),
            after in prop::collection::vec((0..500_u16, 0..3_u8), 0..60),
        ) {
            let (mut bag, mut counts) = (Bag::default(), BTreeMap::<u16, usize>::new());
            let mut older = None;
            let steps = before.len();
            for (step, (item, what)) in before.into_iter().chain(after).enumerate() {
                if step == steps {
                    older = Some((bag.clone(), counts.clone()));
                }
                let count = counts.entry(item).or_default();
                if what == 0 {
                    bag.remove(&item, || None);
                    *count = count.saturating_sub(1);
                } else {
                    bag.add(item);
                    *count += 1;
                }
            }
            for (bag, counts) in older.into_iter().chain([(bag, counts)]) {
                let there = counts.into_iter().filter(|(_, count)| *count > 0);
                let there: BTreeSet<u16> = there.map(|(item, _)| item).collect();
                let found: Vec<u16> = (0..bag.len()).map(|at| *bag.at(at)).collect();
                let listed: Vec<u16> = bag.iter().copied().collect();
                prop_assert_eq!(&found, &listed);
                prop_assert_eq!(found.len(), there.len());
                prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), there);
                prop_assert_eq!(bag.is_empty(), listed.is_empty());
            }
        }
    }

    #[test]
    fn order_is_kept_where_it_is_asked_for() {
        let bag = Bag::in_order([3, 1, 3, 2, 1].into_iter());
        assert_eq!(bag.iter().copied().collect::<Vec<_>>(), [3, 1, 2]);
        assert_eq!((bag.len(), *bag.at(2)), (3, 2));
        assert!(Bag::<u8>::in_order(std::iter::empty()).is_empty());
    }
}

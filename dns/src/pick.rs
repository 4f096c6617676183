//! Random choice without repetition, from a seed.

/// Up to how many picks a list of earlier picks is searched instead of shuffling all positions.
const SPARSE_PICKS_MAX: usize = 16;

/// A small generator (SplitMix64) that turns one seed into a stream of numbers; two seeds that
/// differ by one give unrelated streams, so a counter is a good source of seeds.
#[derive(Clone, Debug)]
pub(crate) struct Stream(u64);

impl Stream {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`; 0 when the bound is 0.
    fn below(&mut self, bound: usize) -> usize {
        let scaled = u128::from(self.next()) * (bound as u128);
        (scaled >> 64) as usize
    }

    /// `count` different positions out of `0..len` in random order, all of them if there are fewer.
    ///
    /// The cost follows `count`, not `len`, as long as few are picked.
    pub(crate) fn positions(&mut self, len: usize, count: usize) -> Vec<usize> {
        let count = count.min(len);
        if count < len && count <= SPARSE_PICKS_MAX {
            return self.sparse(len, count);
        }
        let mut all: Vec<usize> = (0..len).collect();
        for at in 0..count {
            all.swap(at, at + self.below(len - at));
        }
        all.truncate(count);
        all
    }

    /// Floyd's sample, then a shuffle, because the sample alone favors late positions at the end.
    fn sparse(&mut self, len: usize, count: usize) -> Vec<usize> {
        let mut picked = Vec::with_capacity(count);
        for last in len - count..len {
            let candidate = self.below(last + 1);
            picked.push(if picked.contains(&candidate) {
                last
            } else {
                candidate
            });
        }
        for at in 0..count {
            picked.swap(at, at + self.below(count - at));
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn positions_are_different_and_in_range(seed: u64, len in 0usize..300, count in 0usize..300) {
            let mut picked = Stream::new(seed).positions(len, count);
            prop_assert_eq!(picked.len(), count.min(len));
            picked.sort_unstable();
            picked.dedup();
            prop_assert_eq!(picked.len(), count.min(len));
            prop_assert!(picked.iter().all(|at| *at < len));
        }
    }

    #[test]
    fn every_position_comes_first_about_equally_often() {
        for (len, count) in [(10, 3), (10, 10), (40, 20)] {
            let mut first = vec![0_u32; len];
            for seed in 0..10_000 {
                first[Stream::new(seed).positions(len, count)[0]] += 1;
            }
            let expected = 10_000 / u32::try_from(len).unwrap();
            assert!(
                first.iter().all(|n| n.abs_diff(expected) < expected / 4),
                "{first:?}"
            );
        }
    }
}

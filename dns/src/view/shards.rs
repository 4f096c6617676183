//! A map in parts that versions share: to change one entry, one part is copied.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Entries of a part on average before there are more parts.
const PART_ENTRIES: usize = 64;
/// How many times as many parts there are then; a power of two, as is their number.
const GROWTH: usize = 4;

/// A map whose clones share what neither of them changes. An empty one holds no memory.
#[derive(Debug)]
pub(super) struct Shards<K, V> {
    parts: Vec<Arc<HashMap<K, V>>>,
    len: usize,
}

impl<K, V> Clone for Shards<K, V> {
    fn clone(&self) -> Self {
        Self {
            parts: self.parts.clone(),
            len: self.len,
        }
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            len: 0,
        }
    }
}

/// The part of so many, a power of two, that a key is in.
pub(super) fn place<Q: Hash + ?Sized>(key: &Q, parts: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let [.., high, low] = hasher.finish().to_be_bytes();
    usize::from(u16::from_be_bytes([high, low])) & (parts - 1)
}

/// Most parts of anything: as many as [`place`] tells apart.
pub(super) const PARTS_MAX: usize = 1 << 16;

impl<K: Eq + Hash + Clone, V: Clone> Shards<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.values())
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if self.is_empty() {
            return None;
        }
        self.parts[place(key, self.parts.len())].get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.parts.is_empty() {
            self.parts.push(Arc::default());
        }
        let at = place(&key, self.parts.len());
        let old = Arc::make_mut(&mut self.parts[at]).insert(key, value);
        self.len += usize::from(old.is_none());
        if self.len > self.parts.len() * PART_ENTRIES && self.parts.len() < PARTS_MAX {
            self.grow();
        }
        old
    }

    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(key)?;
        let at = place(key, self.parts.len());
        self.len -= 1;
        Arc::make_mut(&mut self.parts[at]).remove(key)
    }

    fn grow(&mut self) {
        let count = self.parts.len() * GROWTH;
        let mut parts = vec![HashMap::new(); count];
        let old = std::mem::take(&mut self.parts).into_iter();
        for (key, value) in old.flat_map(Arc::unwrap_or_clone) {
            parts[place(&key, count)].insert(key, value);
        }
        self.parts = parts.into_iter().map(Arc::new).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A map that is changed, and an older clone of it, hold what plain maps hold.
        #[test]
        fn clones_do_not_see_each_other_s_changes(
            before in prop::collection::vec((0..900_u16, any::<bool>()), 0..900),
            after in prop::collection::vec((0..900_u16, any::<bool>()), 0..60),
        ) {
            let (mut shards, mut plain) = (Shards::default(), HashMap::new());
            let mut older = None;
            let steps = before.len();
            for (step, (key, is_there)) in before.into_iter().chain(after).enumerate() {
                if step == steps {
                    older = Some((shards.clone(), plain.clone()));
                }
                if is_there {
                    prop_assert_eq!(shards.insert(key, step), plain.insert(key, step));
                } else {
                    prop_assert_eq!(shards.remove(&key), plain.remove(&key));
                }
            }
            for (shards, plain) in older.into_iter().chain([(shards, plain)]) {
                prop_assert_eq!(shards.is_empty(), plain.is_empty());
                prop_assert_eq!(shards.values().count(), plain.len());
                for key in 0..900 {
                    prop_assert_eq!(shards.get(&key), plain.get(&key));
                }
            }
        }
    }
}

//! Keys that nobody may lock for a while, because the session that held them was ended by others.

use imbl::{OrdMap, OrdSet};

use crate::model::Timestamp;

/// Delays that are over and that one command forgets at most.
const FORGOTTEN_PER_COMMAND_MAX: usize = 64;

/// Key to the end of its delay. Bounded by the keys that sessions held, and by time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::state) struct LockDelays {
    by_key: OrdMap<String, Timestamp>,
    by_end: OrdSet<(Timestamp, String)>,
}

impl LockDelays {
    pub(in crate::state) fn is_delayed(&self, key: &str, now: Timestamp) -> bool {
        self.by_key.get(key).is_some_and(|end| now < *end)
    }

    pub(in crate::state) fn iter(&self) -> impl Iterator<Item = (&String, &Timestamp)> {
        self.by_key.iter()
    }

    /// Delays `key` until `end`.
    pub(in crate::state) fn put(&mut self, key: String, end: Timestamp) {
        self.remove(&key);
        self.by_end.insert((end, key.clone()));
        self.by_key.insert(key, end);
    }

    fn remove(&mut self, key: &str) {
        if let Some(end) = self.by_key.remove(key) {
            self.by_end.remove(&(end, key.to_owned()));
        }
    }

    /// Forgets delays that are over.
    pub(in crate::state) fn forget(&mut self, now: Timestamp) {
        for _ in 0..FORGOTTEN_PER_COMMAND_MAX {
            let Some((end, key)) = self.by_end.get_min().cloned() else {
                return;
            };
            if end > now {
                return;
            }
            self.remove(&key);
        }
    }
}

//! What deleted keys leave behind, so that no reader is told a lower index than before.
//!
//! A mark is kept for [`KEPT`], and at most [`TOMBSTONES_MAX`] are. The newest index among the
//! forgotten ones stays as a floor under every answer about keys that are not there: it is at least
//! as high as what any reader was told of them.

use std::time::Duration;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::model::{Index, Timestamp};

use super::below;

/// How long a mark is kept.
const KEPT: Duration = Duration::from_mins(15);
/// Largest number of marks.
const TOMBSTONES_MAX: usize = 100_000;
/// Marks that one command forgets at most, beyond those that it makes.
const FORGOTTEN_PER_COMMAND_MAX: usize = 64;

/// When a key was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tombstone {
    /// Log index of the deletion.
    pub index: Index,
    /// Its time.
    pub removed_at: Timestamp,
}

/// The marks of deleted keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::state) struct Tombstones {
    by_key: OrdMap<String, Tombstone>,
    by_age: OrdSet<(Index, String)>,
    forgotten: Index,
}

impl Tombstones {
    /// When `key` was deleted; 0 when it has no mark.
    pub(super) fn of(&self, key: &str) -> Index {
        self.by_key.get(key).map_or(0, |mark| mark.index)
    }

    pub(super) fn below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a Tombstone)> {
        below(&self.by_key, prefix)
    }

    /// The newest deletion whose mark is not kept any more.
    pub(in crate::state) fn forgotten(&self) -> Index {
        self.forgotten
    }

    pub(in crate::state) fn iter(&self) -> impl Iterator<Item = (&String, &Tombstone)> {
        self.by_key.iter()
    }

    pub(in crate::state) fn put(&mut self, key: String, mark: Tombstone) {
        self.remove(&key);
        self.by_age.insert((mark.index, key.clone()));
        self.by_key.insert(key, mark);
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(mark) = self.by_key.remove(key) {
            self.by_age.remove(&(mark.index, key.to_owned()));
        }
    }

    /// Sets the floor, when a file is loaded.
    pub(in crate::state) fn set_forgotten(&mut self, index: Index) {
        self.forgotten = index;
    }

    /// Forgets marks that are too old or too many.
    pub(in crate::state) fn forget(&mut self, now: Timestamp) {
        let mut left = FORGOTTEN_PER_COMMAND_MAX;
        loop {
            let Some((index, key)) = self.by_age.get_min().cloned() else {
                return;
            };
            let mark = self.by_key.get(&key).copied().unwrap_or_default();
            let is_old = now.since(mark.removed_at) >= KEPT;
            let is_surplus = self.by_key.len() > TOMBSTONES_MAX;
            if !is_surplus && (!is_old || left == 0) {
                return;
            }
            left = left.saturating_sub(1);
            self.remove(&key);
            self.forgotten = self.forgotten.max(index);
        }
    }
}

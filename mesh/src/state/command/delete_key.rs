//! Deletes a key, or all keys with a prefix.

use serde::{Deserialize, Serialize};

use crate::model::Index;
use crate::state::Rejected;
use crate::state::transaction::Transaction;

/// Deletes a key, or all keys with a prefix, whoever holds them; what is not there is no error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteKey {
    /// The key, or the start of the keys.
    pub key: String,
    /// Whether every key that starts with `key` is meant.
    pub is_prefix: bool,
    /// If set, the key is deleted only when its last change is this index. Not for a prefix.
    pub expected_index: Option<Index>,
}

impl DeleteKey {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        if self.is_prefix {
            let below = transaction.keys.below(&self.key);
            let keys: Vec<String> = below.map(|row| row.key.clone()).collect();
            for key in &keys {
                transaction.remove_key(key);
            }
            return Ok(());
        }
        let Some(row) = transaction.keys.row(&self.key) else {
            return Ok(());
        };
        let actual = row.modify_index;
        if let Some(expected) = self.expected_index.filter(|expected| *expected != actual) {
            return Err(Rejected::IndexMismatch { expected, actual });
        }
        transaction.remove_key(&self.key);
        Ok(())
    }
}

//! Writes a configuration entry.

use serde::{Deserialize, Serialize};

use crate::model::{ConfigEntry, ConfigKey, Index};
use crate::state::transaction::Transaction;
use crate::state::{CONFIG_ENTRIES_MAX, CONFIG_ENTRY_BYTES_MAX, Noun, Rejected};

use super::{require_count, require_length, require_name};

/// Writes a configuration entry. What it says was checked by the proposer.
///
/// Repeating the command changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PutConfigEntry {
    /// Which.
    pub key: ConfigKey,
    /// What it says.
    pub body: String,
    /// The version that it must have; 0 for none yet.
    pub expected_index: Option<Index>,
}

impl PutConfigEntry {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        require_name(Noun::ConfigKind, &self.key.kind)?;
        require_name(Noun::ConfigName, &self.key.name)?;
        require_length(Noun::ConfigEntry, self.body.len(), CONFIG_ENTRY_BYTES_MAX)?;
        let stored = transaction.tables.config_entries.row(&self.key);
        require_version(stored.map(|row| row.modify_index), self.expected_index)?;
        let count = transaction.tables.config_entries.len() + usize::from(stored.is_none());
        require_count(Noun::ConfigEntry, count, CONFIG_ENTRIES_MAX)?;
        transaction.put_config_entry(ConfigEntry {
            key: self.key,
            body: self.body,
            ..ConfigEntry::default()
        });
        Ok(())
    }
}

/// Refuses a row of another version than the writer expected.
pub(super) fn require_version(
    stored: Option<Index>,
    expected: Option<Index>,
) -> Result<(), Rejected> {
    let actual = stored.unwrap_or(0);
    match expected {
        Some(expected) if expected != actual => Err(Rejected::IndexMismatch { expected, actual }),
        _ => Ok(()),
    }
}

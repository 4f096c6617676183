//! Removes a configuration entry.

use serde::{Deserialize, Serialize};

use crate::model::{ConfigKey, Index};
use crate::state::Rejected;
use crate::state::transaction::Transaction;

use super::put_config_entry::require_version;

/// Removes a configuration entry; what is not there is no error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteConfigEntry {
    /// Which.
    pub key: ConfigKey,
    /// The version that it must have.
    pub expected_index: Option<Index>,
}

impl DeleteConfigEntry {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        let stored = transaction.tables.config_entries.row(&self.key);
        require_version(stored.map(|row| row.modify_index), self.expected_index)?;
        transaction.remove_config_entry(&self.key);
        Ok(())
    }
}

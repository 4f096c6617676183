//! Configures the certificate authority, and gives it a root.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Authority, Index, Root, Timestamp};
use crate::state::transaction::Transaction;
use crate::state::{CONFIG_ENTRY_BYTES_MAX, Noun, Rejected};

use super::put_config_entry::require_version;
use super::{require_length, require_name};

/// How long a retired root stays, so that those who were signed by it can be renewed.
const RETIRED_FOR: Duration = Duration::from_hours(14 * 24);
/// Most roots.
const ROOTS_MAX: usize = 16;

/// Configures the certificate authority, and makes another root the active one.
///
/// Repeating the command without a root changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetAuthority {
    /// Id of the cluster; ignored when it has one.
    pub cluster_id: String,
    /// The configuration.
    pub config: String,
    /// The root that signs from now on; its indexes are ignored.
    pub root: Option<Root>,
    /// The version of the roots that this was made from, 0 for none: with another one nothing is
    /// written.
    pub expected_index: Option<Index>,
}

impl SetAuthority {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        require_length(Noun::Authority, self.config.len(), CONFIG_ENTRY_BYTES_MAX)?;
        let stored = transaction.authority.as_deref();
        require_version(stored.map(|row| row.modify_index), self.expected_index)?;
        let index = transaction.at.index;
        let mut row = stored.cloned().unwrap_or_else(|| Authority {
            cluster_id: self.cluster_id,
            config_create_index: index,
            ..Authority::default()
        });
        require_name(Noun::Authority, &row.cluster_id)?;
        if row.config != self.config {
            row.config = self.config;
            row.config_modify_index = index;
        }
        if let Some(root) = self.root {
            rotate(&mut row, root, index, transaction.at.now);
            row.config_modify_index = index;
        }
        transaction.put_authority(row);
        Ok(())
    }
}

fn rotate(row: &mut Authority, root: Root, index: Index, now: Timestamp) {
    for old in row.roots.iter_mut().filter(|root| root.is_active) {
        old.is_active = false;
        old.wrapped_key = Vec::new();
        old.retired_at = now;
        old.modify_index = index;
    }
    row.roots
        .retain(|old| now.since(old.retired_at) < RETIRED_FOR && old.not_after > now);
    row.roots.insert(
        0,
        Root {
            is_active: true,
            retired_at: Timestamp::default(),
            create_index: index,
            modify_index: index,
            ..root
        },
    );
    row.roots.truncate(ROOTS_MAX);
    row.modify_index = index;
}

//! Replaces the operator's route text.

use serde::{Deserialize, Serialize};

use crate::model::Index;
use crate::state::transaction::Transaction;
use crate::state::{Noun, ROUTE_OVERRIDES_BYTES_MAX, Rejected};

use super::require_length;

/// Replaces the operator's route text; equal text changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetRouteOverrides {
    /// The new text; empty removes all overrides.
    pub text: String,
    /// If set, the write happens only when the stored version has this index (0: never set).
    pub expected_index: Option<Index>,
}

impl SetRouteOverrides {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        require_length(
            Noun::RouteOverrides,
            self.text.len(),
            ROUTE_OVERRIDES_BYTES_MAX,
        )?;
        let actual = transaction.tables.route_overrides.modify_index;
        if let Some(expected) = self.expected_index.filter(|expected| *expected != actual) {
            return Err(Rejected::IndexMismatch { expected, actual });
        }
        transaction.put_route_overrides(self.text);
        Ok(())
    }
}

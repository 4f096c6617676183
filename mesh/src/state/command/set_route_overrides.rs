//! Replaces all that operators lay over the routes.

use serde::{Deserialize, Serialize};

use crate::model::Index;
use crate::state::transaction::Transaction;
use crate::state::{Noun, ROUTE_OVERRIDES_BYTES_MAX, Rejected};

use super::require_length;

/// Replaces the operator's route text, and removes every split: whoever writes the text has seen
/// the splits as lines of it. Equal text without splits changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetRouteOverrides {
    /// The new text; empty removes all overrides.
    pub text: String,
    /// If set, the write happens only when [`crate::view::View::route_overrides_version`] is this
    /// index (0: never set).
    pub expected_index: Option<Index>,
}

impl SetRouteOverrides {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        require_length(
            Noun::RouteOverrides,
            self.text.len(),
            ROUTE_OVERRIDES_BYTES_MAX,
        )?;
        let actual = transaction.tables.route_overrides_version();
        if let Some(expected) = self.expected_index.filter(|expected| *expected != actual) {
            return Err(Rejected::IndexMismatch { expected, actual });
        }
        let splits: Vec<_> = transaction
            .tables
            .splits()
            .map(|row| row.key.clone())
            .collect();
        for key in &splits {
            transaction.remove_split(key);
        }
        transaction.put_route_overrides(self.text);
        Ok(())
    }
}

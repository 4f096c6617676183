//! Removes a prepared query.

use serde::{Deserialize, Serialize};

use crate::model::QueryId;
use crate::state::Rejected;
use crate::state::transaction::Transaction;

/// Removes a prepared query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletePreparedQuery {
    /// Its id.
    pub id: QueryId,
}

impl DeletePreparedQuery {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        if transaction.tables.prepared_queries.row(&self.id).is_none() {
            return Err(Rejected::UnknownPreparedQuery { id: self.id });
        }
        transaction.remove_prepared_query(&self.id);
        Ok(())
    }
}

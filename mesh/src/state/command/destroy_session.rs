//! Ends a session.

use serde::{Deserialize, Serialize};

use crate::model::SessionId;
use crate::state::transaction::Transaction;

/// Ends a session, with what its behavior says for the keys that it holds; an unknown one is no
/// error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DestroySession {
    /// Id of the session.
    pub id: SessionId,
}

impl DestroySession {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) {
        transaction.end_session(&self.id);
    }
}

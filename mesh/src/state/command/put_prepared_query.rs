//! Writes a prepared query.

use serde::{Deserialize, Serialize};

use crate::model::{PreparedQuery, SessionId};
use crate::state::transaction::Transaction;
use crate::state::{NAME_BYTES_MAX, Noun, PREPARED_QUERIES_MAX, Rejected};

use super::{require_count, require_length, require_name};

/// Writes a prepared query. What it asks was checked by the proposer.
///
/// Repeating the command changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PutPreparedQuery {
    /// The query; its indexes are ignored.
    pub query: PreparedQuery,
    /// Id of the session that it lives with.
    #[serde(with = "crate::model::or_none")]
    pub session: Option<SessionId>,
    /// Whether it must be there already, or must not.
    pub is_update: bool,
}

impl PutPreparedQuery {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        let Self {
            query,
            session,
            is_update,
        } = self;
        require_name(Noun::PreparedQuery, &query.id)?;
        require_length(Noun::PreparedQuery, query.name.len(), NAME_BYTES_MAX)?;
        let queries = &transaction.tables.prepared_queries;
        let is_known = queries.row(&query.id).is_some();
        if is_update && !is_known {
            return Err(Rejected::UnknownPreparedQuery { id: query.id });
        }
        let count = queries.len() + usize::from(!is_known);
        require_count(Noun::PreparedQuery, count, PREPARED_QUERIES_MAX)?;
        if !query.name.is_empty() || query.is_template() {
            let named = queries.named(&query.name);
            let is_taken = named.is_some_and(|other| other.id != query.id);
            if is_taken || queries.row(&query.name).is_some() {
                return Err(Rejected::QueryNameTaken { name: query.name });
            }
        }
        if let Some(id) = &session
            && transaction.sessions.row(id).is_none()
        {
            return Err(Rejected::UnknownSession { id: id.clone() });
        }
        transaction.put_prepared_query(query, session);
        Ok(())
    }
}

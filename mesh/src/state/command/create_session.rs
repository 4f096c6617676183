//! Begins a session.

use serde::{Deserialize, Serialize};

use crate::model::{Session, Status};
use crate::state::transaction::Transaction;
use crate::state::{CHECKS_PER_REGISTRATION_MAX, Noun, Rejected, SESSIONS_MAX};

use super::{require_count, require_length, require_name};

/// Begins a session on a node that is registered, with checks that are not critical.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateSession {
    /// The session; its indexes are ignored.
    pub session: Session,
}

impl CreateSession {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        let Self { session } = self;
        require_name(Noun::Session, &session.id)?;
        require_length(
            Noun::Session,
            session.name.len(),
            crate::state::NAME_BYTES_MAX,
        )?;
        require_count(Noun::Session, transaction.sessions.len() + 1, SESSIONS_MAX)?;
        let checks_count = session.node_checks.len() + session.service_checks.len();
        require_count(Noun::Check, checks_count, CHECKS_PER_REGISTRATION_MAX)?;
        if transaction.sessions.row(&session.id).is_some() {
            return Err(Rejected::SessionIdTaken { id: session.id });
        }
        if transaction.tables.nodes.row(&session.node).is_none() {
            return Err(Rejected::UnknownNode { node: session.node });
        }
        for key in session.checks() {
            let (node, id) = (key.node.clone(), key.id.clone());
            match transaction.tables.checks.row(&key) {
                None => return Err(Rejected::UnknownCheck { node, id }),
                Some(check) if check.status == Status::Critical => {
                    return Err(Rejected::CheckCritical { node, id });
                }
                Some(_) => {}
            }
        }
        transaction.put_session(session);
        Ok(())
    }
}

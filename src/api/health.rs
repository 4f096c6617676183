//! How the servers are, in the words of both APIs.

use jobs::model::{Index, Span};
use server::{Metrics, ServerHealth, Status};
use std::time::Duration;

/// A status under its usual name.
pub(super) fn name(status: Status) -> &'static str {
    match status {
        Status::Alive => "alive",
        Status::Failed => "failed",
        Status::Left => "left",
    }
}

/// Term and index of the last entry that a server is known to have.
pub(super) fn last_entry(server: &ServerHealth, of_leader: &Metrics) -> (u64, Index) {
    let own = &server.server;
    match own.is_leader {
        true => (of_leader.term, of_leader.last_log_index),
        false => (own.matched_term, own.matched.unwrap_or(0)),
    }
}

/// How long ago a server answered, to the millisecond.
pub(super) fn last_contact(server: &ServerHealth) -> String {
    let millis = u64::try_from(server.last_contact.as_millis()).unwrap_or(u64::MAX);
    Span::from(Duration::from_millis(millis)).to_string()
}

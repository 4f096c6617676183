//! How the servers are, in the words of both APIs.

use jobs::model::Span;
use server::{ServerHealth, Status};
use std::time::Duration;

/// A status under its usual name.
pub(super) fn name(status: Status) -> &'static str {
    match status {
        Status::Alive => "alive",
        Status::Failed => "failed",
        Status::Left => "left",
    }
}

/// How long ago a server answered, to the millisecond.
pub(super) fn last_contact(server: &ServerHealth) -> String {
    let millis = u64::try_from(server.last_contact.as_millis()).unwrap_or(u64::MAX);
    Span::from(Duration::from_millis(millis)).to_string()
}

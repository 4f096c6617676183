//! Refusals in the words that clients of the dialect know.

use axum::http::StatusCode;
use mesh::state::{KV_VALUE_BYTES_MAX, Rejected};

use crate::error::Error;

/// Where the documentation of the limit of values stands, which clients are told.
const VALUE_PAGE: &str =
    "https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size";
/// As [`VALUE_PAGE`], of transactions.
const TXN_PAGE: &str =
    "https://developer.hashicorp.com/docs/agent/config/config-files#txn_max_req_len";
/// Longest body of a transaction, bytes.
pub(super) const TXN_BYTES_MAX: usize = 512 * 1024;
/// Characters of an id.
pub(super) const ID_CHARACTERS: usize = 36;

/// A limit of bodies that clients know.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// Of the value of a key.
    Value,
    /// Of a transaction.
    Txn,
}

/// A body that is too long.
pub(super) fn too_large(bytes: u64, limit: Limit) -> Error {
    let (bytes_max, page) = match limit {
        Limit::Value => (KV_VALUE_BYTES_MAX, VALUE_PAGE),
        Limit::Txn => (TXN_BYTES_MAX, TXN_PAGE),
    };
    let message =
        format!("Request body({bytes} bytes) too large, max size: {bytes_max} bytes. See {page}.");
    Error::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// What the state refused.
pub(super) fn of(rejected: server::Rejected) -> Error {
    let server::Rejected::Mesh(rejected) = rejected else {
        return rejected.into();
    };
    match rejected {
        Rejected::UnknownSession { id } => unknown_session(&id),
        Rejected::UnknownNode { .. } => Error::internal("apply failed: Missing node registration"),
        Rejected::UnknownCheck { id, .. } => {
            Error::internal(format!("apply failed: Missing check '{id}' registration"))
        }
        Rejected::CheckCritical { id, .. } => {
            Error::internal(format!("apply failed: Check '{id}' is in critical state"))
        }
        other => server::Rejected::Mesh(other).into(),
    }
}

/// The id of a session that may hold a key.
///
/// # Errors
/// For what cannot be one.
pub(super) fn session_id(text: &str) -> Result<String, Error> {
    if text.len() != ID_CHARACTERS {
        return Err(unknown_session(text));
    }
    Ok(text.to_owned())
}

fn unknown_session(id: &str) -> Error {
    Error::internal(format!("raft apply failed: invalid session {id:?}"))
}

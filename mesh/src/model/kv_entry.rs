//! A key with its value.

use serde::{Deserialize, Serialize};

use super::{Index, SessionId};

/// One entry of the key-value store.
///
/// Invariants:
/// 1. `session` names a session that exists: when it ends, it loses its locks in the same entry of
///    the log.
/// 2. `lock_index` counts the acquisitions by other holders than before, so that key, `lock_index`
///    and `session` together fence an outdated holder off. A write that is no lock operation sets
///    it to 0.
///
/// Writer: users, through the key-value API. The indexes and `lock_index` are written by
/// [`crate::state::State::apply`] only.
///
/// Source: KV store API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvEntry {
    /// The key: any text, ordered by its bytes; never empty.
    pub key: String,
    /// Any bytes, at most [`crate::state::KV_VALUE_BYTES_MAX`].
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Opaque number that a user may store beside the value.
    pub flags: u64,
    /// How often the key was locked.
    pub lock_index: u64,
    /// Id of the session that holds the lock.
    pub session: Option<SessionId>,
    /// Log index at which the key was first written.
    pub create_index: Index,
    /// Log index of the last effective change.
    pub modify_index: Index,
}

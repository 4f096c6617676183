//! Writes, locks or unlocks a key.

use serde::{Deserialize, Serialize};

use crate::model::{Index, KvEntry, SessionId};
use crate::state::transaction::Transaction;
use crate::state::{KEY_BYTES_MAX, KV_VALUE_BYTES_MAX, Noun, Rejected};

use super::require_length;

/// Writes a key, when its condition holds. A write of the value, flags and lock that are stored
/// already changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PutKey {
    /// The key, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// The value, at most [`KV_VALUE_BYTES_MAX`].
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// The user's number.
    pub flags: u64,
    /// When to write, and what becomes of the lock.
    pub condition: KeyCondition,
}

/// When a key is written, and what becomes of its lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyCondition {
    /// Always; the lock stays with its holder.
    #[default]
    Always,
    /// Only a key whose last change is this index; 0 only a key that does not exist.
    Unchanged(Index),
    /// Only a key that nobody else holds; the session of this id holds it then.
    Acquire(SessionId),
    /// Only a key that the session of this id holds; nobody holds it then.
    Release(SessionId),
}

impl PutKey {
    pub(super) fn apply(self, transaction: &mut Transaction<'_>) -> Result<(), Rejected> {
        require_key(&self.key)?;
        require_length(Noun::Value, self.value.len(), KV_VALUE_BYTES_MAX)?;
        let Self {
            key,
            value,
            flags,
            condition,
        } = self;
        let (session, lock_index) = lock_after(transaction, &key, condition)?;
        transaction.put_key(KvEntry {
            key,
            value,
            flags,
            lock_index,
            session,
            ..KvEntry::default()
        });
        Ok(())
    }
}

/// Refuses an empty or overlong key.
pub(super) fn require_key(key: &str) -> Result<(), Rejected> {
    if key.is_empty() {
        return Err(Rejected::Empty { noun: Noun::Key });
    }
    require_length(Noun::Key, key.len(), KEY_BYTES_MAX)
}

/// The holder and the lock index that the key has after the write.
fn lock_after(
    transaction: &Transaction<'_>,
    key: &str,
    condition: KeyCondition,
) -> Result<(Option<SessionId>, u64), Rejected> {
    let stored = transaction.keys.row(key);
    let holder = stored.and_then(|row| row.session.clone());
    let lock_index = stored.map_or(0, |row| row.lock_index);
    match condition {
        KeyCondition::Always => Ok((holder, 0)),
        KeyCondition::Unchanged(expected) => {
            let actual = stored.map_or(0, |row| row.modify_index);
            if actual != expected {
                return Err(Rejected::IndexMismatch { expected, actual });
            }
            Ok((holder, 0))
        }
        KeyCondition::Acquire(session) => {
            if transaction.sessions.row(&session).is_none() {
                return Err(Rejected::UnknownSession { id: session });
            }
            let now = transaction.at.now;
            match holder {
                Some(holder) if holder == session => Ok((Some(session), lock_index)),
                Some(_) => Err(Rejected::KeyLocked { key: key.into() }),
                None if transaction.keys.delays.is_delayed(key, now) => {
                    Err(Rejected::LockDelayed { key: key.into() })
                }
                None => Ok((Some(session), lock_index + 1)),
            }
        }
        KeyCondition::Release(session) if holder.as_ref() == Some(&session) => {
            Ok((None, lock_index))
        }
        KeyCondition::Release(session) => {
            let key = key.to_owned();
            Err(Rejected::KeyNotHeld { key, session })
        }
    }
}

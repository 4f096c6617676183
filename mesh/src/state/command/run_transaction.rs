//! Several operations, carried out entirely or not at all.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Index, KvEntry, Timestamp};
use crate::state::transaction::Transaction;
use crate::state::{Applied, Noun, OPERATIONS_MAX, Rejected, Snapshot, Stamp};

use super::put_key::require_key;
use super::{DeleteKey, KeyCondition, PutKey, require_count};

/// Carries out its operations in their order; when one of them fails, none is carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunTransaction {
    /// The operations, at most [`OPERATIONS_MAX`].
    pub operations: Vec<Operation>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// On a key.
    Key(KeyOperation),
}

/// An operation on a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyOperation {
    /// What to do.
    pub verb: KeyVerb,
    /// The key, or the start of the keys.
    pub key: String,
    /// The value to write.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// The flags to write.
    pub flags: u64,
    /// The version to compare with.
    pub index: Index,
    /// Id of the session that locks, unlocks or is compared with.
    pub session: String,
}

/// What to do with a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyVerb {
    /// Write it.
    Set,
    /// Write it when it has that version.
    Cas,
    /// Write and lock it.
    Lock,
    /// Write and unlock it.
    Unlock,
    /// Read it; it must exist.
    #[default]
    Get,
    /// Read it; it need not exist.
    GetOrEmpty,
    /// Read every key that starts so.
    GetTree,
    /// It must have that version.
    CheckIndex,
    /// That session must hold it.
    CheckSession,
    /// It must not exist.
    CheckNotExists,
    /// Delete it.
    Delete,
    /// Delete it when it has that version.
    DeleteCas,
    /// Delete every key that starts so.
    DeleteTree,
}

impl KeyVerb {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_read(self) -> bool {
        match self {
            Self::Get
            | Self::GetOrEmpty
            | Self::GetTree
            | Self::CheckIndex
            | Self::CheckSession
            | Self::CheckNotExists => true,
            Self::Set
            | Self::Cas
            | Self::Lock
            | Self::Unlock
            | Self::Delete
            | Self::DeleteCas
            | Self::DeleteTree => false,
        }
    }
}

impl Operation {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            Self::Key(operation) => operation.verb.is_read(),
        }
    }
}

/// What an operation gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationResult {
    /// An entry as it is after the operation; without its value unless the operation reads.
    Key(Arc<KvEntry>),
}

/// An operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationFailure {
    /// Its place in the transaction, from 0.
    pub ordinal: usize,
    /// Why it failed.
    pub failure: Failure,
}

/// Why an operation failed. The texts are those of the transaction API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The key to be written has another version.
    #[error("failed to set key {key:?}, index is stale")]
    StaleSet {
        /// The key.
        key: String,
    },
    /// The key to be deleted has another version.
    #[error("failed to delete key {key:?}, index is stale")]
    StaleDelete {
        /// The key.
        key: String,
    },
    /// Another session holds the key.
    #[error("failed to lock key {key:?}, lock is already held")]
    Held {
        /// The key.
        key: String,
    },
    /// The session that held the key was ended a moment ago.
    #[error("failed to lock key {key:?} due to lock delay")]
    Delayed {
        /// The key.
        key: String,
    },
    /// The session does not hold the key.
    #[error("failed to unlock key {key:?}, lock isn't held, or is held by another session")]
    NotHeld {
        /// The key.
        key: String,
    },
    /// There is no such session.
    #[error("invalid session {id:?}")]
    UnknownSession {
        /// Id.
        id: String,
    },
    /// There is no such key.
    #[error("key {key:?} doesn't exist")]
    Missing {
        /// The key.
        key: String,
    },
    /// There is such a key.
    #[error("key {key:?} exists")]
    Exists {
        /// The key.
        key: String,
    },
    /// The key has another version.
    #[error("failed index check for key {key:?}, current modify index {actual} != {expected}")]
    Index {
        /// The key.
        key: String,
        /// Its version.
        actual: Index,
        /// The version asked for.
        expected: Index,
    },
    /// Another session, or none, holds the key.
    #[error("failed session check for key {key:?}, current session {actual:?} != {expected:?}")]
    Session {
        /// The key.
        key: String,
        /// Id of its holder; empty for none.
        actual: String,
        /// The id asked for.
        expected: String,
    },
    /// The operation is refused by itself.
    #[error("{0}")]
    Refused(Box<Rejected>),
}

impl RunTransaction {
    pub(super) fn apply(self, tables: &mut Snapshot, at: Stamp) -> Result<Applied, Rejected> {
        let mut trial = tables.clone();
        let applied = run(&mut trial, at, self.operations)?;
        *tables = trial;
        Ok(applied)
    }
}

impl Snapshot {
    /// Answers operations that change nothing; see [`Operation::is_read`].
    ///
    /// # Errors
    /// [`Rejected::Operations`].
    pub fn read_transaction(
        &self,
        operations: Vec<Operation>,
    ) -> Result<Vec<OperationResult>, Rejected> {
        let at = Stamp {
            index: self.view.index(),
            now: Timestamp::default(),
        };
        let applied = run(&mut self.clone(), at, operations)?;
        debug_assert!(applied.is_unchanged(), "a read changes nothing");
        Ok(applied.results)
    }
}

fn run(tables: &mut Snapshot, at: Stamp, operations: Vec<Operation>) -> Result<Applied, Rejected> {
    require_count(Noun::Operation, operations.len(), OPERATIONS_MAX)?;
    let mut transaction = Transaction::new(tables, at);
    let mut failures = Vec::new();
    for (ordinal, operation) in operations.into_iter().enumerate() {
        let outcome = match operation {
            Operation::Key(operation) => on_key(&mut transaction, operation),
        };
        if let Err(failure) = outcome {
            failures.push(OperationFailure { ordinal, failure });
        }
    }
    if failures.is_empty() {
        Ok(transaction.finish())
    } else {
        Err(Rejected::Operations { failures })
    }
}

fn on_key(transaction: &mut Transaction<'_>, operation: KeyOperation) -> Result<(), Failure> {
    let KeyOperation {
        verb,
        key,
        value,
        flags,
        index,
        session,
    } = operation;
    let condition = match verb {
        KeyVerb::Set => KeyCondition::Always,
        KeyVerb::Cas => KeyCondition::Unchanged(index),
        KeyVerb::Lock => KeyCondition::Acquire(session),
        KeyVerb::Unlock => KeyCondition::Release(session),
        KeyVerb::Delete => return delete(transaction, key, false, None),
        KeyVerb::DeleteCas => return delete(transaction, key, false, Some(index)),
        KeyVerb::DeleteTree => return delete(transaction, key, true, None),
        KeyVerb::Get
        | KeyVerb::GetOrEmpty
        | KeyVerb::GetTree
        | KeyVerb::CheckIndex
        | KeyVerb::CheckSession
        | KeyVerb::CheckNotExists => return read(transaction, verb, key, index, session),
    };
    let put = PutKey {
        key: key.clone(),
        value,
        flags,
        condition,
    };
    let refused = |rejected| put_failure(&key, rejected);
    put.apply(transaction).map_err(refused)?;
    if let Some(row) = transaction.keys.row(&key) {
        let bare = bare(row);
        transaction.applied.results.push(bare);
    }
    Ok(())
}

fn put_failure(key: &str, rejected: Rejected) -> Failure {
    match rejected {
        Rejected::IndexMismatch { .. } => Failure::StaleSet { key: key.into() },
        Rejected::KeyLocked { key } => Failure::Held { key },
        Rejected::LockDelayed { key } => Failure::Delayed { key },
        Rejected::KeyNotHeld { key, .. } => Failure::NotHeld { key },
        Rejected::UnknownSession { id } => Failure::UnknownSession { id },
        other => Failure::Refused(Box::new(other)),
    }
}

fn delete(
    transaction: &mut Transaction<'_>,
    key: String,
    is_prefix: bool,
    expected_index: Option<Index>,
) -> Result<(), Failure> {
    let command = DeleteKey {
        key: key.clone(),
        is_prefix,
        expected_index,
    };
    command
        .apply(transaction)
        .map_err(|rejected| match rejected {
            Rejected::IndexMismatch { .. } => Failure::StaleDelete { key },
            other => Failure::Refused(Box::new(other)),
        })
}

fn read(
    transaction: &mut Transaction<'_>,
    verb: KeyVerb,
    key: String,
    index: Index,
    session: String,
) -> Result<(), Failure> {
    if verb == KeyVerb::GetTree {
        let rows = transaction.keys.below(&key).map(Arc::clone);
        let rows = rows.map(OperationResult::Key);
        transaction.applied.results.extend(rows);
        return Ok(());
    }
    require_key(&key).map_err(|rejected| Failure::Refused(Box::new(rejected)))?;
    let row = transaction.keys.row(&key).map(Arc::clone);
    let found = match (verb, row) {
        (KeyVerb::CheckNotExists, None) => return Ok(()),
        (KeyVerb::CheckNotExists, Some(_)) => return Err(Failure::Exists { key }),
        (KeyVerb::GetOrEmpty, None) => OperationResult::Key(Arc::new(KvEntry {
            key,
            ..KvEntry::default()
        })),
        (_, None) => return Err(Failure::Missing { key }),
        (KeyVerb::CheckIndex, Some(row)) if row.modify_index != index => {
            return Err(Failure::Index {
                key,
                actual: row.modify_index,
                expected: index,
            });
        }
        (KeyVerb::CheckSession, Some(row)) if row.session.as_ref() != Some(&session) => {
            return Err(Failure::Session {
                key,
                actual: row.session.clone().unwrap_or_default(),
                expected: session,
            });
        }
        (KeyVerb::CheckIndex | KeyVerb::CheckSession, Some(row)) => bare(&row),
        (_, Some(row)) => OperationResult::Key(row),
    };
    transaction.applied.results.push(found);
    Ok(())
}

/// An entry without its value.
fn bare(row: &KvEntry) -> OperationResult {
    OperationResult::Key(Arc::new(KvEntry {
        key: row.key.clone(),
        value: Vec::new(),
        flags: row.flags,
        lock_index: row.lock_index,
        session: row.session.clone(),
        create_index: row.create_index,
        modify_index: row.modify_index,
    }))
}

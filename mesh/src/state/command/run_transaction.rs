//! Several operations, carried out entirely or not at all.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Index, KvEntry, SessionId, Timestamp};
use crate::state::transaction::Transaction;
use crate::state::{Applied, Noun, OPERATIONS_MAX, Rejected, Snapshot, Stamp};

use super::operation::{
    Failure, KeyOperation, KeyVerb, Operation, OperationFailure, OperationResult,
};
use super::put_key::require_key;
use super::{DeleteKey, KeyCondition, PutKey, on_row, require_count};

/// Carries out its operations in their order; when one of them fails, none is carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunTransaction {
    /// The operations, at most [`OPERATIONS_MAX`].
    pub operations: Vec<Operation>,
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
            Operation::Node(operation) => on_row::node(&mut transaction, *operation),
            Operation::Service(operation) => on_row::service(&mut transaction, *operation),
            Operation::Check(operation) => on_row::check(&mut transaction, *operation),
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
    let named = || session.clone().ok_or(Failure::MissingSession);
    let condition = match verb {
        KeyVerb::Set => KeyCondition::Always,
        KeyVerb::Cas => KeyCondition::Unchanged(index),
        KeyVerb::Lock => KeyCondition::Acquire(named()?),
        KeyVerb::Unlock => KeyCondition::Release(named()?),
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
    session: Option<SessionId>,
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
        (KeyVerb::CheckSession, Some(row)) if session.is_none() || row.session != session => {
            return Err(Failure::Session {
                key,
                actual: row.session.clone().unwrap_or_default(),
                expected: session.unwrap_or_default(),
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

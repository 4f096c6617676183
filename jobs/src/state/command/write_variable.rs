//! Writes, removes, locks and unlocks a variable.

use crate::{
    model::{Index, LockId, Sealed, Variable, VariableKey, VariableLock},
    state::{Rejected, Snapshot, change::Change},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Writes, removes, locks or unlocks a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteVariable {
    /// Which.
    pub key: VariableKey,
    /// What happens to it.
    pub verb: VariableVerb,
    /// The lock that the caller holds.
    pub held: Option<LockId>,
    /// Refuse unless the variable was changed last at this index; 0 is "must not exist".
    pub enforce_index: Option<Index>,
}

/// What happens to a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VariableVerb {
    /// It is made or gets other contents.
    Set {
        /// The contents.
        sealed: Sealed,
    },
    /// It is removed.
    Delete,
    /// It is locked.
    Acquire {
        /// The lock.
        lock: VariableLock,
        /// The contents.
        sealed: Sealed,
        /// A variable that is there keeps its contents.
        keeps: bool,
    },
    /// It is unlocked by the holder of its lock, or because nobody renewed it.
    Release,
}

impl Snapshot {
    pub(in crate::state) fn write_variable(
        &mut self,
        change: &mut Change,
        command: WriteVariable,
    ) -> Result<(), Rejected> {
        let WriteVariable {
            key,
            verb,
            held,
            enforce_index,
        } = command;
        let found = self.variables.get(&key).cloned();
        let found_index = found.as_ref().map_or(0, |row| row.modify_index);
        if enforce_index.is_some_and(|wanted| wanted != found_index) {
            let found = found.map(|row| Box::new(Arc::unwrap_or_clone(row)));
            return Err(Rejected::VariableChanged { found });
        }
        let lock = found.as_ref().and_then(|row| row.lock.clone());
        let holds = lock
            .as_ref()
            .is_none_or(|lock| Some(&lock.id) == held.as_ref());
        match verb {
            VariableVerb::Release => {
                let row = found.ok_or(Rejected::NoVariable)?;
                if lock.is_none() {
                    return Err(Rejected::NoLock);
                }
                if !holds {
                    return Err(Rejected::VariableLocked);
                }
                let row = Variable {
                    lock: None,
                    ..Arc::unwrap_or_clone(row)
                };
                self.put_variable(change, row);
            }
            _ if !holds => return Err(Rejected::VariableLocked),
            VariableVerb::Delete => self.remove_variable(change, &key),
            VariableVerb::Set { sealed } => {
                if held.is_some() && lock.is_none() {
                    return Err(Rejected::NoLock);
                }
                let row = found.map_or_else(|| new(change, key), Arc::unwrap_or_clone);
                self.put_variable(change, Variable { sealed, ..row });
            }
            VariableVerb::Acquire {
                lock,
                sealed,
                keeps,
            } => {
                let keeps = keeps && found.is_some();
                let mut row = found.map_or_else(|| new(change, key), Arc::unwrap_or_clone);
                if !keeps {
                    row.sealed = sealed;
                }
                row.lock = Some(lock);
                self.put_variable(change, row);
            }
        }
        Ok(())
    }

    /// The row does not count as changed: what is in it is the same.
    pub(in crate::state) fn reseal_variable(
        &mut self,
        key: &VariableKey,
        sealed: Sealed,
        seen: Index,
    ) {
        let found = self.variables.get(key);
        if let Some(row) = found.filter(|row| row.modify_index == seen) {
            let row = Variable {
                sealed,
                ..Variable::clone(row)
            };
            self.variables.insert(row.key.clone(), Arc::new(row));
        }
    }
}

fn new(change: &Change, key: VariableKey) -> Variable {
    Variable {
        key,
        create_index: change.at.index,
        create_time: change.at.now,
        ..Variable::default()
    }
}

//! Variables: reads that decrypt, writes that encrypt, and the keys for both.

use jobs::{
    control::RenewError,
    model::{Index, LockId, RootKey, RootKeyId, Sealed, Variable, VariableKey, VariableLock},
    state::{Command as JobsCommand, VariableVerb, WriteVariable},
};
use std::{collections::BTreeMap, sync::Arc};

use super::{
    Handle, Snapshot,
    handle::Error,
    keyring::{Keyring, KeyringError},
    log::propose::{ProposeError, now},
    state::Command,
};

/// Most variables that are encrypted anew in one go.
const RESEALED_MAX: usize = 64;

/// Names and values of a variable.
pub type Items = BTreeMap<String, String>;

impl Handle {
    /// What is in a variable of that snapshot.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn variable_items(
        &self,
        snapshot: &Snapshot,
        variable: &Variable,
    ) -> Result<Items, KeyringError> {
        let plain = self.unseal(snapshot, variable)?;
        serde_json::from_slice(&plain).map_err(|_| KeyringError::Unreadable {
            what: format!("the variable {:?}", variable.key.path.as_str()),
        })
    }

    /// Makes a variable or replaces its contents.
    ///
    /// # Errors
    /// [`Error`]; another index or a lock of somebody else is [`Error::Rejected`].
    pub async fn set_variable(
        &self,
        key: VariableKey,
        items: &Items,
        held: Option<LockId>,
        enforce_index: Option<Index>,
    ) -> Result<Index, Error> {
        let sealed = self.seal(&key, items).await?;
        let verb = VariableVerb::Set { sealed };
        self.write_variable(key, verb, held, enforce_index).await
    }

    /// Removes a variable; one that is not there is removed already.
    ///
    /// # Errors
    /// [`Error`]; another index or a lock of somebody else is [`Error::Rejected`].
    pub async fn delete_variable(
        &self,
        key: VariableKey,
        held: Option<LockId>,
        enforce_index: Option<Index>,
    ) -> Result<Index, Error> {
        let verb = VariableVerb::Delete;
        self.write_variable(key, verb, held, enforce_index).await
    }

    /// Locks a variable, which is made if there is none. One that is there keeps its contents when
    /// `items` is none.
    ///
    /// # Errors
    /// [`Error`]; a lock of somebody else is [`Error::Rejected`].
    pub async fn lock_variable(
        &self,
        key: VariableKey,
        items: Option<&Items>,
        lock: VariableLock,
    ) -> Result<Index, Error> {
        let keeps = items.is_none();
        let sealed = self.seal(&key, items.unwrap_or(&Items::new())).await?;
        let held = Some(lock.id.clone());
        let verb = VariableVerb::Acquire {
            lock,
            sealed,
            keeps,
        };
        self.write_variable(key, verb, held, None).await
    }

    /// Unlocks a variable.
    ///
    /// # Errors
    /// [`Error`]; an unknown variable or a lock of somebody else is [`Error::Rejected`].
    pub async fn unlock_variable(&self, key: VariableKey, held: LockId) -> Result<Index, Error> {
        let verb = VariableVerb::Release;
        self.write_variable(key, verb, Some(held), None).await
    }

    /// Gives the lock of a variable a whole time to live from now on.
    ///
    /// # Errors
    /// [`RenewError`].
    pub fn renew_variable_lock(
        &self,
        key: &VariableKey,
        held: &LockId,
    ) -> Result<Arc<Variable>, RenewError> {
        let snapshot = self.snapshot();
        let row = snapshot.jobs.variable(key).ok_or(RenewError::NoVariable)?;
        let mut locks = self.core.locks.lock();
        locks.renew(now(), key, held, &snapshot.jobs)?;
        drop(locks);
        self.core.locks_moved.notify_one();
        Ok(Arc::clone(row))
    }

    /// Adds a root key, with which everything is encrypted from now on. With `full`, what is there
    /// already is encrypted with it too before this returns.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn rotate_root_key(&self, full: bool) -> Result<Arc<RootKey>, Error> {
        let root_key = self.generate().await?;
        let id = root_key.id;
        self.write_jobs(JobsCommand::AddRootKey {
            root_key,
            only_first: false,
        })
        .await?;
        if full {
            self.reseal_all().await?;
        }
        let snapshot = self.snapshot();
        let added = snapshot.jobs.root_key(id).cloned();
        Ok(added.ok_or(KeyringError::NoRootKey(id))?)
    }

    /// Removes a root key that encrypts nothing any more; with `force`, any but the active one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove_root_key(&self, id: RootKeyId, force: bool) -> Result<Index, Error> {
        let written = self.write_jobs(JobsCommand::RemoveRootKey {
            id,
            even_if_used: force,
        });
        Ok(written.await?.index)
    }

    async fn write_variable(
        &self,
        key: VariableKey,
        verb: VariableVerb,
        held: Option<LockId>,
        enforce_index: Option<Index>,
    ) -> Result<Index, Error> {
        let written = self.write_jobs(JobsCommand::WriteVariable(Box::new(WriteVariable {
            key,
            verb,
            held,
            enforce_index,
        })));
        Ok(written.await?.index)
    }

    async fn seal(&self, key: &VariableKey, items: &Items) -> Result<Sealed, Error> {
        let root_key = self.active_root_key().await?;
        let plain = serde_json::to_vec(items).map_err(|_| ProposeError::Encoding)?;
        Ok(self.core.keyring.seal(&root_key, key, &plain)?)
    }

    fn unseal(&self, snapshot: &Snapshot, variable: &Variable) -> Result<Vec<u8>, KeyringError> {
        let id = variable.sealed.root_key_id;
        let root_key = snapshot.jobs.root_key(id);
        let root_key = root_key.ok_or(KeyringError::NoRootKey(id))?;
        let keyring = &self.core.keyring;
        keyring.unseal(root_key, &variable.key, &variable.sealed)
    }

    /// The key that encrypts what is written; the first one is made when it is needed first.
    pub(crate) async fn active_root_key(&self) -> Result<Arc<RootKey>, Error> {
        if let Some(active) = self.snapshot().jobs.active_root_key() {
            return Ok(Arc::clone(active));
        }
        let root_key = self.generate().await?;
        let id = root_key.id;
        self.write_jobs(JobsCommand::AddRootKey {
            root_key,
            only_first: true,
        })
        .await?;
        // Another request may have been first.
        let active = self.snapshot().jobs.active_root_key().cloned();
        Ok(active.ok_or(KeyringError::NoRootKey(id))?)
    }

    async fn generate(&self) -> Result<RootKey, Error> {
        let core = Arc::clone(&self.core);
        // The first key of a server waits for the disk.
        let made = sys::threads::blocking(move || Keyring::generate(&core.keyring));
        Ok(made.await.map_err(|_| ProposeError::Stopped)??)
    }

    async fn reseal_all(&self) -> Result<(), Error> {
        let active = self.active_root_key().await?;
        let snapshot = self.snapshot();
        let rows: Vec<&Arc<Variable>> = snapshot
            .jobs
            .variables(None, "")
            .filter(|row| row.sealed.root_key_id != active.id)
            .collect();
        for rows in rows.chunks(RESEALED_MAX) {
            let mut commands = Vec::with_capacity(rows.len());
            for row in rows {
                let plain = self.unseal(&snapshot, row)?;
                commands.push(Command::from(JobsCommand::ResealVariable {
                    key: row.key.clone(),
                    sealed: self.core.keyring.seal(&active, &row.key, &plain)?,
                    seen: row.modify_index,
                }));
            }
            for answer in self.core.raft.propose_all(commands).await {
                let (_, outcome) = answer?;
                outcome?;
            }
        }
        Ok(())
    }
}

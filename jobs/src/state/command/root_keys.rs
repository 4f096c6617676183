//! Adds and removes keys that variables are encrypted with.

use crate::{
    model::{RootKey, RootKeyId, RootKeyState},
    state::{Rejected, Snapshot, Table, change::Change},
};
use std::sync::Arc;

impl Snapshot {
    /// The new key is the active one, unless it is wanted only where there is none yet and there is
    /// one.
    pub(in crate::state) fn add_root_key(
        &mut self,
        change: &mut Change,
        wrapped: RootKey,
        only_first: bool,
    ) {
        if let Some(active) = self.active_root_key().cloned() {
            if only_first {
                return;
            }
            let retired = RootKey {
                state: RootKeyState::Inactive,
                ..Arc::unwrap_or_clone(active)
            };
            self.put_root_key(change, retired);
        }
        let added = RootKey {
            state: RootKeyState::Active,
            create_index: change.at.index,
            create_time: change.at.now,
            ..wrapped
        };
        self.put_root_key(change, added);
    }

    pub(in crate::state) fn remove_root_key(
        &mut self,
        change: &mut Change,
        id: RootKeyId,
        even_if_used: bool,
    ) -> Result<(), Rejected> {
        let row = self.root_keys.get(&id).ok_or(Rejected::NoRootKey)?;
        if row.state == RootKeyState::Active {
            return Err(Rejected::RootKeyActive);
        }
        let mut variables = self.variables.values();
        if !even_if_used && variables.any(|variable| variable.sealed.root_key_id == id) {
            return Err(Rejected::RootKeyInUse);
        }
        self.root_keys.remove(&id);
        change.touch(Table::RootKeys);
        Ok(())
    }
}

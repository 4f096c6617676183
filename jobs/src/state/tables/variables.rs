//! Variables and the keys that they are encrypted with.

use crate::{
    model::{Namespace, RootKey, RootKeyId, RootKeyState, Variable, VariableKey},
    state::{Snapshot, Table, change::Change},
};
use std::sync::Arc;

impl Snapshot {
    /// A variable.
    pub fn variable(&self, key: &VariableKey) -> Option<&Arc<Variable>> {
        self.variables.get(key)
    }

    /// Variables of a namespace, or of all, whose path begins with `prefix`; ordered by namespace
    /// and path.
    pub fn variables<'a>(
        &'a self,
        namespace: Option<&str>,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Variable>> + use<'a> {
        let of_one = namespace.map(Namespace::from);
        let start = VariableKey {
            namespace: of_one.clone().unwrap_or_default(),
            path: if of_one.is_some() { prefix } else { "" }.into(),
        };
        let ends = move |key: &VariableKey| {
            of_one
                .as_ref()
                .is_some_and(|one| key.namespace != *one || !key.path.starts_with(prefix))
        };
        self.variables
            .range(start..)
            .take_while(move |(key, _)| !ends(key))
            .filter(move |(key, _)| key.path.starts_with(prefix))
            .map(|(_, row)| row)
    }

    /// Every key of variables.
    pub fn root_keys(&self) -> impl Iterator<Item = &Arc<RootKey>> {
        self.root_keys.values()
    }

    /// A key of variables.
    pub fn root_key(&self, id: RootKeyId) -> Option<&Arc<RootKey>> {
        self.root_keys.get(&id)
    }

    /// The key that encrypts what is written; none before the first write.
    pub fn active_root_key(&self) -> Option<&Arc<RootKey>> {
        let mut keys = self.root_keys.values();
        keys.find(|key| key.state == RootKeyState::Active)
    }

    pub(in crate::state) fn put_variable(&mut self, change: &mut Change, mut row: Variable) {
        row.modify_index = change.at.index;
        row.modify_time = change.at.now;
        touch(change, &row.key);
        self.variables.insert(row.key.clone(), Arc::new(row));
    }

    pub(in crate::state) fn remove_variable(&mut self, change: &mut Change, key: &VariableKey) {
        if self.variables.remove(key).is_some() {
            touch(change, key);
        }
    }

    pub(in crate::state) fn put_root_key(&mut self, change: &mut Change, mut row: RootKey) {
        row.modify_index = change.at.index;
        change.touch(Table::RootKeys);
        self.root_keys.insert(row.id, Arc::new(row));
    }
}

fn touch(change: &mut Change, key: &VariableKey) {
    change.touch(Table::Variables);
    change.applied.variables.push(key.clone());
}

//! The checks table: keyed by node and check id, found by the instance that a check belongs to.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Check, CheckId, CheckKey, ServiceKey};

use super::query::key_of;

/// Rows by key. Invariant: `by_owner` holds the same rows, without empty inner maps; its key is the
/// instance, with an empty id for node-level checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    rows: OrdMap<CheckKey, Arc<Check>>,
    by_owner: OrdMap<ServiceKey, OrdMap<CheckId, Arc<Check>>>,
}

/// Returns the key that a check is found under in [`Checks::of_owner`].
fn owner(check: &Check) -> ServiceKey {
    ServiceKey {
        node: check.node.clone(),
        id: check.service_id.clone().unwrap_or_default(),
    }
}

impl Checks {
    pub(crate) fn row(&self, key: &CheckKey) -> Option<&Arc<Check>> {
        self.rows.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Check>> {
        self.rows.values()
    }

    pub(crate) fn of_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arc<Check>> {
        let first = CheckKey {
            node: node.into(),
            id: CheckId::default(),
        };
        self.rows
            .range(first..)
            .map(|(_, row)| row)
            .take_while(move |row| row.node == node)
    }

    /// Iterates the checks of an instance, or the node-level checks if the key's id is empty.
    pub(crate) fn of_owner(&self, key: &ServiceKey) -> impl Iterator<Item = &Arc<Check>> {
        self.by_owner.get(key).into_iter().flat_map(OrdMap::values)
    }

    /// The instances whose checks are not those of `newer`, with an empty id for node-level checks.
    pub(crate) fn changed(&self, newer: &Self) -> BTreeSet<ServiceKey> {
        let changed = self.by_owner.diff(&newer.by_owner);
        changed.map(key_of).cloned().collect()
    }

    pub(crate) fn put(&mut self, check: Arc<Check>) {
        let key = check.key();
        self.remove(&key);
        let owner = owner(&check);
        let mut owned = self.by_owner.get(&owner).cloned().unwrap_or_default();
        owned.insert(check.id.clone(), Arc::clone(&check));
        self.by_owner.insert(owner, owned);
        self.rows.insert(key, check);
    }

    pub(crate) fn remove(&mut self, key: &CheckKey) -> Option<Arc<Check>> {
        let row = self.rows.remove(key)?;
        let owner = owner(&row);
        if let Some(owned) = self.by_owner.get_mut(&owner) {
            owned.remove(&row.id);
            if owned.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
        Some(row)
    }
}

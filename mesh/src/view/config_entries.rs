//! The table of configuration entries: keyed by kind and name.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{ConfigEntry, ConfigKey};

/// Rows by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConfigEntries {
    rows: OrdMap<ConfigKey, Arc<ConfigEntry>>,
}

impl ConfigEntries {
    pub(crate) fn row(&self, key: &ConfigKey) -> Option<&Arc<ConfigEntry>> {
        self.rows.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ConfigEntry>> {
        self.rows.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn put(&mut self, entry: Arc<ConfigEntry>) {
        self.rows.insert(entry.key.clone(), entry);
    }

    pub(crate) fn remove(&mut self, key: &ConfigKey) -> Option<Arc<ConfigEntry>> {
        self.rows.remove(key)
    }
}

//! The splits table: keyed by route, service and tags.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{Split, SplitKey};

/// Rows by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Splits {
    rows: OrdMap<SplitKey, Arc<Split>>,
}

impl Splits {
    pub(crate) fn row(&self, key: &SplitKey) -> Option<&Arc<Split>> {
        self.rows.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Split>> {
        self.rows.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn put(&mut self, split: Arc<Split>) {
        self.rows.insert(split.key.clone(), split);
    }

    pub(crate) fn remove(&mut self, key: &SplitKey) -> Option<Arc<Split>> {
        self.rows.remove(key)
    }
}

//! The table of prepared queries: keyed by id, found by name.

use std::sync::Arc;

use imbl::OrdMap;

use crate::model::{PreparedQuery, QueryId};

/// Rows by id. Invariant: `ids_by_name` has one entry, of the name in lower case, for each row with
/// a name and for each template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PreparedQueries {
    rows: OrdMap<QueryId, Arc<PreparedQuery>>,
    ids_by_name: OrdMap<String, QueryId>,
}

impl PreparedQueries {
    pub(crate) fn row(&self, id: &str) -> Option<&Arc<PreparedQuery>> {
        self.rows.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<PreparedQuery>> {
        self.rows.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The query of exactly that name, in any case.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<PreparedQuery>> {
        self.rows.get(self.ids_by_name.get(&name.to_lowercase())?)
    }

    /// The template whose name is the longest start of `name`, in any case.
    pub(crate) fn template_for(&self, name: &str) -> Option<&Arc<PreparedQuery>> {
        let name = name.to_lowercase();
        let starts = (0..=name.len()).rev().filter_map(|end| name.get(..end));
        let ids = starts.filter_map(|start| self.ids_by_name.get(start));
        ids.filter_map(|id| self.rows.get(id))
            .find(|row| row.is_template())
    }

    pub(crate) fn put(&mut self, row: Arc<PreparedQuery>) {
        self.remove(&row.id);
        if !row.name.is_empty() || row.is_template() {
            self.ids_by_name
                .insert(row.name.to_lowercase(), row.id.clone());
        }
        self.rows.insert(row.id.clone(), row);
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Arc<PreparedQuery>> {
        let row = self.rows.remove(id)?;
        let name = row.name.to_lowercase();
        if self.ids_by_name.get(&name).is_some_and(|of| of == id) {
            self.ids_by_name.remove(&name);
        }
        Some(row)
    }
}

//! What one command has changed so far.

use super::{Applied, Snapshot, Stamp, Table};
use crate::model::JobKey;
use std::{collections::BTreeSet, sync::Arc};

/// What one command has changed so far.
pub(super) struct Change {
    pub(super) at: Stamp,
    pub(super) applied: Applied,
    /// Jobs whose status must be derived anew.
    pub(super) touched_jobs: BTreeSet<Arc<JobKey>>,
}

impl Change {
    pub(super) fn new(at: Stamp) -> Self {
        Self {
            at,
            applied: Applied::default(),
            touched_jobs: BTreeSet::new(),
        }
    }

    pub(super) fn touch(&mut self, table: Table) {
        self.applied.tables.insert(table);
    }

    /// Ends the command: derives the status of the jobs that were touched and notes the indexes.
    pub(super) fn finish(mut self, tables: &mut Snapshot) -> Applied {
        tables.derive_job_statuses(&mut self);
        let Self { at, applied, .. } = self;
        if !applied.tables.is_empty() {
            tables.index = at.index;
            for table in &applied.tables {
                tables.table_indexes.insert(*table, at.index);
            }
        }
        applied
    }
}

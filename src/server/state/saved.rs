//! The state as it stands in a snapshot file: rows, table by table.

use jobs::model::{Index, Timestamp};
use serde::{Deserialize, Serialize};

use super::State;
use registration::{Rules, UnknownRules, Version};

/// One piece of a state in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SavedRow {
    /// What belongs to the whole state; the first row.
    Head {
        /// The last entry.
        index: Index,
        /// When it was written.
        #[serde(rename = "now_ns")]
        now: Timestamp,
        /// The rules that the cluster goes by.
        version: Version,
    },
    /// A row of the jobs tables.
    Jobs(jobs::state::SavedRow),
    /// A row of the catalog.
    Mesh(mesh::state::SavedRow),
}

impl SavedRow {
    /// Names the table that it belongs to, and the half of the state.
    pub fn table(&self) -> (&'static str, &'static str) {
        match self {
            Self::Head { .. } => ("state", "head"),
            Self::Jobs(row) => ("jobs", row.table()),
            Self::Mesh(row) => ("catalog", row.table()),
        }
    }
}

impl State {
    /// Everything, to be written to a file.
    pub fn saved_rows(&self) -> impl Iterator<Item = SavedRow> {
        let head = SavedRow::Head {
            index: self.index,
            now: self.now,
            version: self.rules.version(),
        };
        std::iter::once(head)
            .chain(self.jobs.current().saved_rows().map(SavedRow::Jobs))
            .chain(self.mesh.current().saved_rows().map(SavedRow::Mesh))
    }
}

/// A state that is read back row by row.
#[derive(Debug, Default)]
pub struct Loading {
    index: Index,
    now: Timestamp,
    rules: Rules,
    jobs: jobs::state::Loading,
    mesh: mesh::state::Loading,
}

impl Loading {
    /// Takes over one row, in the order of [`State::saved_rows`].
    ///
    /// # Errors
    /// [`UnknownRules`] when the state goes by rules that only a newer build knows.
    pub fn add(&mut self, row: SavedRow) -> Result<(), UnknownRules> {
        match row {
            SavedRow::Head {
                index,
                now,
                version,
            } => {
                self.index = index;
                self.now = now;
                self.rules = Rules::of(version)?;
            }
            SavedRow::Jobs(row) => self.jobs.add(row),
            SavedRow::Mesh(row) => self.mesh.add(row),
        }
        Ok(())
    }

    /// The state, after the last row.
    pub fn finish(self) -> State {
        State {
            index: self.index,
            now: self.now,
            rules: self.rules,
            jobs: jobs::state::State::restore(self.jobs.finish()),
            mesh: self.mesh.finish(),
        }
    }
}

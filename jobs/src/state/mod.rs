//! The replicated tables of the jobs side.
//!
//! [`State::apply`] is the only way to change them. A clone of the state is a snapshot: tables are
//! persistent maps and rows are shared.

mod applied;
mod command;
mod query;

pub use applied::{AllocChange, Applied, JobChange, NodeChange, Rejected, Stamp, Table};
pub use command::{AllocUpdate, Command, DeploymentUpdate, DeregisterJob, RegisterJob};

/// All tables.
#[derive(Clone, Debug, Default)]
pub struct State {}

/// A state that nobody changes any more.
pub type Snapshot = State;

/// All rows in a form that can be written to a file; one copy of each version of a job.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Saved {}

impl State {
    /// Carries out one command of the log.
    ///
    /// # Errors
    /// [`Rejected`] when the command does not apply; nothing was changed then.
    pub fn apply(&mut self, at: Stamp, command: Command) -> Result<Applied, Rejected> {
        todo!()
    }
    /// Index of the last entry that changed anything here.
    pub fn index(&self) -> crate::model::Index {
        todo!()
    }
    /// Index of the last change of that table.
    pub fn table_index(&self, table: Table) -> crate::model::Index {
        todo!()
    }
    /// Everything, to be written to a file.
    pub fn to_snapshot(&self) -> Saved {
        todo!()
    }
    /// Reads what [`State::to_snapshot`] wrote.
    pub fn from_snapshot(saved: Saved) -> Self {
        todo!()
    }
}

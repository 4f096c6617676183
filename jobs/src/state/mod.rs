//! The replicated tables of the jobs side.
//!
//! [`State::apply`] is the only way to change them. A [`Snapshot`] has everything but that: tables
//! are persistent maps and rows are shared.

mod applied;
mod change;
mod command;
mod saved;
mod snapshot;
mod tables;
mod tally;

pub use applied::{AllocChange, Applied, JobChange, NodeChange, Rejected, Stamp, Table};
pub use command::{
    AllocUpdate, Command, DeregisterJob, RegisterJob, Revert, ScaleJob, SetRollout, TagVersion,
    UpdateNodeDrain, VariableVerb, WriteVariable,
};
pub use saved::{Loading, SavedAlloc, SavedRow};
pub use snapshot::Snapshot;

use crate::model::{GroupName, ScalingEvent};
use std::collections::BTreeMap;

/// Largest count of a group.
pub const GROUP_COUNT_MAX: u32 = 50_000;
/// How many versions of a job are kept besides the newest stable one.
pub const JOB_VERSIONS_MAX: usize = 6;
/// How many versions of a job may have names, which are kept besides those.
pub const JOB_TAGS_MAX: usize = 100;
/// How many scaling events are kept per group of a job.
pub const SCALING_EVENTS_MAX: usize = 20;
/// Longest job file that is kept with a version, bytes.
pub const SUBMISSION_BYTES_MAX: usize = 1_000_000;

/// Scaling events of a job by group, newest first.
pub type ScalingEvents = BTreeMap<GroupName, Vec<ScalingEvent>>;

/// The jobs side as one replica holds it.
#[derive(Clone, Debug, Default)]
pub struct State {
    current: Snapshot,
}

impl State {
    /// Takes over a snapshot, for example one that was written to a file.
    pub fn restore(snapshot: Snapshot) -> Self {
        Self { current: snapshot }
    }

    /// Carries out one command of the log.
    ///
    /// # Errors
    /// [`Rejected`] when the command does not apply; nothing was changed then.
    pub fn apply(&mut self, at: Stamp, command: Command) -> Result<Applied, Rejected> {
        command.apply(&mut self.current, at)
    }

    /// The tables as they are now; a cheap clone that shares structure.
    pub fn snapshot(&self) -> Snapshot {
        self.current.clone()
    }

    /// The tables as they are now, borrowed.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }
}

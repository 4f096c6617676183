//! Whether, and how, a client empties its own node before it stops.

use super::{
    file::{Entry, Problem},
    names::duration,
    reader::Reader,
};
use jobs::model::Span;

/// How a client empties its own node before it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnDrain {
    /// How long allocations may take to leave: zero is for ever, and less is not at all.
    pub deadline: Span,
    /// Allocations of system jobs stay.
    pub ignore_system_jobs: bool,
}

/// The keys of `client.drain_on_shutdown`, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenDrain {
    /// Whether there is such a block.
    pub is_written: bool,
    pub deadline: Option<String>,
    pub force: Option<bool>,
    pub ignore_system_jobs: Option<bool>,
}

impl WrittenDrain {
    const KEYS: [&str; 3] = ["deadline", "force", "ignore_system_jobs"];

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            is_written: self.is_written || other.is_written,
            deadline: other.deadline.or(self.deadline),
            force: other.force.or(self.force),
            ignore_system_jobs: other.ignore_system_jobs.or(self.ignore_system_jobs),
        }
    }

    pub(super) fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        self.is_written = true;
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "deadline" => self.deadline = reader.text(&inner),
                "force" => self.force = reader.flag(&inner),
                "ignore_system_jobs" => self.ignore_system_jobs = reader.flag(&inner),
                _ => reader.unknown(&inner, "client.drain_on_shutdown", &Self::KEYS),
            }
        }
    }

    /// Tasks of a dev agent end with it, so that it has nothing to empty.
    pub(super) fn resolve(&self, dev: bool, problems: &mut Vec<Problem>) -> Option<OwnDrain> {
        let deadline = match &self.deadline {
            Some(text) => duration("client.drain_on_shutdown.deadline", text, problems).into(),
            None => Span::HOUR,
        };
        (self.is_written && !dev).then(|| OwnDrain {
            deadline: match self.force {
                Some(true) => Span::from_secs(-1),
                Some(false) | None => deadline,
            },
            ignore_system_jobs: self.ignore_system_jobs.unwrap_or(false),
        })
    }

    /// What is to be said of it, where it does less than it looks like.
    pub(super) fn note(&self, dev: bool, leaves: bool) -> Option<String> {
        let reason = match (dev, leaves) {
            (true, _) => "a dev agent does not empty its node",
            (false, false) => {
                "neither `leave_on_interrupt` nor `leave_on_terminate` is set, so the node is emptied by `PUT /v1/agent/leave` alone"
            }
            (false, true) => return None,
        };
        self.is_written
            .then(|| format!("`client.drain_on_shutdown` is set, and {reason}"))
    }
}

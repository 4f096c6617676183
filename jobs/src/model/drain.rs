use super::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a node is emptied. Source: nodes API, `DrainStrategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DrainStrategy {
    /// How long allocations may take to leave: zero is for ever, and less is not at all.
    pub deadline: Span,
    /// Allocations of system jobs stay.
    pub ignore_system_jobs: bool,
    /// When those that are left are moved all at once; zero for never.
    #[serde(with = "super::rfc3339")]
    pub force_deadline: Timestamp,
    /// Since when.
    #[serde(with = "super::rfc3339")]
    pub started_at: Timestamp,
}

impl DrainStrategy {
    /// One that begins now.
    pub fn new(deadline: Span, ignore_system_jobs: bool, now: Timestamp) -> Self {
        let force_deadline = if deadline > Span::ZERO {
            now + deadline
        } else {
            Timestamp::default()
        };
        Self {
            deadline,
            ignore_system_jobs,
            force_deadline,
            started_at: now,
        }
    }

    /// When it waits for nobody any more; none for never.
    pub fn due(&self) -> Option<Timestamp> {
        if self.deadline < Span::ZERO {
            Some(self.started_at)
        } else {
            Some(self.force_deadline).filter(|at| !at.is_zero())
        }
    }

    /// True when everything that is left goes at once.
    pub fn is_forced(&self, now: Timestamp) -> bool {
        self.due().is_some_and(|due| due <= now)
    }
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainStatus {
    /// Under way.
    #[default]
    Draining,
    /// Nothing was left.
    Complete,
    /// Ended before nothing was left.
    Canceled,
}

/// The latest drain of a node, under way or over. Source: nodes API, `DrainMetadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LastDrain {
    /// When it began.
    #[serde(with = "super::rfc3339")]
    pub started_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "super::rfc3339")]
    pub updated_at: Timestamp,
    /// How far it is.
    pub status: DrainStatus,
    /// Who asked; always that there are no tokens.
    #[serde(rename = "AccessorID")]
    pub accessor_id: String,
    /// What was noted with it; null for nothing.
    pub meta: Option<BTreeMap<String, String>>,
}

//! Which rules a cluster goes by.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which rules a cluster goes by: what commands may stand in its log, and how catalog rows are derived
/// from an entry. Two builds that know a version derive the same from it.
///
/// It is part of the replicated state. A server that leads raises it by an entry once every server knows
/// the next one. A command of a newer version is refused when it is proposed, never when it is applied; a
/// change of a derivation asks the version that the state has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(u32);

impl Version {
    /// The rules of the first format.
    pub const FIRST: Self = Self(1);
    /// The newest rules that this build knows.
    pub const SUPPORTED: Self = Self::FIRST;

    /// The rules after these.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Default for Version {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

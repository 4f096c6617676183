//! Which rules a cluster goes by.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of the rules that a cluster goes by: what commands may stand in its log, and how
/// catalog rows are derived from an entry. Two builds that know a version derive the same from it.
///
/// It is part of the replicated state. A server that leads raises it by an entry once every server
/// knows the next one. A command of a newer version is refused when it is proposed, never when it
/// is applied; a derivation takes the [`Rules`] of the state. A number may be newer than this
/// build: it may come from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(u32);

impl Version {
    /// The rules of the first format.
    pub const FIRST: Self = Self(1);
    /// Those by which the catalog shows the labels of agents' nodes.
    pub const SECOND: Self = Self(2);
    /// Those by which the settings of autopilot are in the log.
    pub const THIRD: Self = Self(3);
    /// Those by which ports of a node are counted by address.
    pub const FOURTH: Self = Self(4);
    /// Those by which nodes have notes, in a build for tests.
    #[cfg(feature = "next")]
    pub const FIFTH: Self = Self(5);
    /// The newest rules that this build knows.
    pub const SUPPORTED: Self = Rules::NEWEST.version();

    /// The version of that number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number, counted from 1.
    pub const fn number(self) -> u32 {
        self.0
    }

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

/// Rules that this build knows, and so can derive by. A change of a derivation is a new variant,
/// and the derivations below `registration` match on it; what the older variants give never
/// changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rules {
    /// Version 1: those of the first format.
    #[default]
    First,
    /// Version 2: the catalog's row of a node carries the labels of the node, and what clients of
    /// the catalog look for among them.
    Second,
    /// Version 3: the log holds how the servers look after their group. Rows are those of version
    /// 2.
    Third,
    /// Version 4: nodes have networks that ports ask for by name, so that one port number may be
    /// given on each of them. Rows are those of version 2.
    Fourth,
    /// Version 5, of a build for tests: nodes have notes. Rows are those of version 2.
    #[cfg(feature = "next")]
    Fifth,
}

impl Rules {
    /// The newest of them.
    #[cfg(not(feature = "next"))]
    pub const NEWEST: Self = Self::Fourth;
    /// The newest of them.
    #[cfg(feature = "next")]
    pub const NEWEST: Self = Self::Fifth;

    /// The rules of that version.
    ///
    /// # Errors
    /// [`UnknownRules`] when this build is older than they are.
    pub fn of(version: Version) -> Result<Self, UnknownRules> {
        match version {
            Version::FIRST => Ok(Self::First),
            Version::SECOND => Ok(Self::Second),
            Version::THIRD => Ok(Self::Third),
            Version::FOURTH => Ok(Self::Fourth),
            #[cfg(feature = "next")]
            Version::FIFTH => Ok(Self::Fifth),
            version => Err(UnknownRules { version }),
        }
    }

    /// Their number.
    pub const fn version(self) -> Version {
        match self {
            Self::First => Version::FIRST,
            Self::Second => Version::SECOND,
            Self::Third => Version::THIRD,
            Self::Fourth => Version::FOURTH,
            #[cfg(feature = "next")]
            Self::Fifth => Version::FIFTH,
        }
    }
}

/// A cluster goes by rules that this build does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "version {version} of the cluster's rules is needed, and this version of trivet knows only version {} \
     and before",
    Version::SUPPORTED
)]
pub struct UnknownRules {
    /// The rules.
    pub version: Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_known_up_to_the_newest() {
        let mut version = Version::FIRST;
        while version <= Version::SUPPORTED {
            assert_eq!(Rules::of(version).unwrap().version(), version);
            version = version.next();
        }
        assert_eq!(Rules::of(version), Err(UnknownRules { version }));
    }
}

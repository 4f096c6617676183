//! A session: what holds locks.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CheckId, CheckKey, Index, NodeName, SERF_HEALTH, SessionId};

/// What holds locks on keys, for as long as a node, some checks and perhaps a user's renewals say
/// so.
///
/// Invariants:
/// 1. Its node and all of its checks are registered, and none of the checks is critical: otherwise
///    the session ends in the same entry of the log.
/// 2. A session never changes; a renewal is known to the leader alone.
///
/// Writer: users, through the session API; the leader ends one that was not renewed.
///
/// Source: session API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Unique id (a UUID).
    pub id: SessionId,
    /// Name for people; may be empty.
    pub name: String,
    /// Name of the node that the session belongs to.
    pub node: NodeName,
    /// What becomes of its keys when it ends.
    pub behavior: Behavior,
    /// How long it lives without a renewal; nothing for one without end.
    #[serde(rename = "ttl_ns", with = "super::time::nanos")]
    pub ttl: Duration,
    /// How long nobody may lock a key that it held when it was ended by others.
    #[serde(rename = "lock_delay_ns", with = "super::time::nanos")]
    pub lock_delay: Duration,
    /// Ids of node-level checks of its node that it depends on.
    pub node_checks: Vec<CheckId>,
    /// Ids of checks of instances on its node that it depends on.
    pub service_checks: Vec<CheckId>,
    /// Log index at which it was made.
    pub create_index: Index,
    /// The same: a session never changes.
    pub modify_index: Index,
}

impl Session {
    /// Checks that a session depends on unless its maker names others.
    #[must_use]
    pub fn default_node_checks() -> Vec<CheckId> {
        vec![SERF_HEALTH.into()]
    }

    /// The checks that it depends on.
    pub fn checks(&self) -> impl Iterator<Item = CheckKey> {
        let ids = self.node_checks.iter().chain(&self.service_checks);
        ids.map(|id| CheckKey {
            node: self.node.clone(),
            id: id.clone(),
        })
    }
}

/// What becomes of the keys of a session when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Behavior {
    /// They are unlocked.
    #[default]
    Release,
    /// They are deleted.
    Delete,
}

impl Behavior {
    /// The word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Behavior {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A word that is no behavior.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no session behavior")]
pub struct UnknownBehavior {
    /// The word as given.
    pub word: String,
}

impl FromStr for Behavior {
    type Err = UnknownBehavior;

    fn from_str(word: &str) -> Result<Self, UnknownBehavior> {
        match word {
            "" | "release" => Ok(Self::Release),
            "delete" => Ok(Self::Delete),
            _ => Err(UnknownBehavior {
                word: word.to_owned(),
            }),
        }
    }
}

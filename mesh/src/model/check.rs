//! A health check and its last known result.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CheckId, Index, NodeName, ServiceId, ServiceKey, ServiceName};

/// Longest check output that is kept, in bytes, not counting the note that says it was cut.
pub const OUTPUT_BYTES_MAX: usize = 4096;

/// Id of the node-level check that says whether the node's agent is alive.
pub const SERF_HEALTH: &str = "serfHealth";

/// A health check of a node or of one service instance, with its last reported result.
///
/// Invariants:
/// 1. `id` is unique on `node`.
/// 2. `service_id` and `service_name` are both absent (a node-level check) or name an instance on
///    `node`.
/// 3. `output` is bounded by [`OUTPUT_BYTES_MAX`] and the note that it was cut.
///
/// Writer: definition by the leader at registration, `status` and `output` by the node that runs
/// the check. The indexes are written by [`crate::state::State::apply`] only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// Name of the node.
    pub node: NodeName,
    /// Unique on the node.
    pub id: CheckId,
    /// Name for people.
    pub name: String,
    /// Last reported status.
    pub status: Status,
    /// Free text for people.
    pub notes: String,
    /// Text of the last reported result.
    pub output: String,
    /// Id of the instance that the check belongs to; none for a node-level check.
    #[serde(with = "crate::model::or_none")]
    pub service_id: Option<ServiceId>,
    /// Name of the service that the check belongs to; none for a node-level check.
    #[serde(with = "crate::model::or_none")]
    pub service_name: Option<ServiceName>,
    /// How the check is made: `http`, `tcp`, `script`, `grpc`, `ttl`; empty for the agent's own.
    pub kind: String,
    /// Pause between runs; nothing if not run by interval.
    #[serde(rename = "interval_ns", with = "super::time::nanos")]
    pub interval: Duration,
    /// Longest duration of one run; nothing if not set.
    #[serde(rename = "timeout_ns", with = "super::time::nanos")]
    pub timeout: Duration,
    /// How the check is made, as whoever looks after it wrote into the catalog: a JSON object of
    /// the API; absent for the checks of agents, which keep that to themselves.
    pub definition: Option<Box<str>>,
    /// Log index at which the row was first written.
    pub create_index: Index,
    /// Log index of the last effective change of the row.
    pub modify_index: Index,
}

impl Check {
    /// Makes the node-level check that says whether the agent on `node` is alive.
    #[must_use]
    pub fn serf_health(node: impl Into<NodeName>, alive: bool) -> Self {
        let (status, output) = if alive {
            (Status::Passing, "Agent alive and reachable")
        } else {
            (Status::Critical, "Agent not live or unreachable")
        };
        Self {
            node: node.into(),
            id: SERF_HEALTH.into(),
            name: "Serf Health Status".to_owned(),
            status,
            output: output.to_owned(),
            ..Self::default()
        }
    }

    /// Whether it belongs to the instance with this id on its node.
    #[must_use]
    pub fn is_of(&self, service_id: &str) -> bool {
        self.service_id.as_deref() == Some(service_id)
    }

    /// The key of the instance that it belongs to; none for a node-level check.
    #[must_use]
    pub fn owner(&self) -> Option<ServiceKey> {
        let id = self.service_id.clone()?;
        let node = self.node.clone();
        Some(ServiceKey { node, id })
    }

    /// Returns the key of the row.
    #[must_use]
    pub fn key(&self) -> CheckKey {
        CheckKey {
            node: self.node.clone(),
            id: self.id.clone(),
        }
    }
}

/// Key of a check; orders by node name, then by check id.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckKey {
    /// Node name.
    pub node: NodeName,
    /// Check id.
    pub id: CheckId,
}

/// How a check stands; orders from best to worst, so the worst of several is their maximum.
///
/// Maintenance has no status of its own: it is a critical check with a reserved id.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Well.
    Passing,
    /// In use, but close to trouble.
    Warning,
    /// Not usable; the state before the first result.
    #[default]
    Critical,
}

impl Status {
    /// Returns the lower-case word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A word that is no check status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a check status")]
pub struct UnknownStatus {
    /// The word as given.
    pub word: String,
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        match word {
            "passing" => Ok(Self::Passing),
            "warning" => Ok(Self::Warning),
            "critical" => Ok(Self::Critical),
            _ => Err(UnknownStatus {
                word: word.to_owned(),
            }),
        }
    }
}

/// Cuts `output` to [`OUTPUT_BYTES_MAX`] bytes at a character boundary and says so at the end.
///
/// Cutting what was cut before changes nothing.
#[must_use]
pub fn bound_output(output: String) -> String {
    if output.len() <= OUTPUT_BYTES_MAX || is_cut(&output) {
        return output;
    }
    let kept = output.floor_char_boundary(OUTPUT_BYTES_MAX);
    let head = output.get(..kept).unwrap_or_default();
    format!("{head} ... (captured {kept} of {} bytes)", output.len())
}

/// Longest note that [`bound_output`] appends, in bytes (two 20-digit numbers and the words).
const CUT_NOTE_BYTES_MAX: usize = 70;

/// Whether `output` already ends with the note of an earlier cut, within the bound.
fn is_cut(output: &str) -> bool {
    output.len() <= OUTPUT_BYTES_MAX + CUT_NOTE_BYTES_MAX
        && output.ends_with(" bytes)")
        && output
            .get(output.floor_char_boundary(OUTPUT_BYTES_MAX - 4)..)
            .is_some_and(|tail| tail.contains(" ... (captured "))
}

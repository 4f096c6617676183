use super::{Index, Span};
use serde::{Deserialize, Serialize};

/// How the servers look after their group. Writer: operators, and once the leader from the
/// configuration of its agent.
///
/// Source: operator API, "Read Autopilot Configuration".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotConfig {
    /// A server that stays silent is taken out of the group.
    pub cleanup_dead_servers: bool,
    /// A server that answered longer ago is not healthy.
    pub last_contact_threshold: Span,
    /// A server that is more entries behind is not healthy.
    pub max_trailing_logs: u64,
    /// Voters that have to be left when one is taken out.
    pub min_quorum: u64,
    /// How long a new server is healthy before it votes.
    pub server_stabilization_time: Span,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change; 1 while nobody changed it.
    pub modify_index: Index,
}

impl Default for AutopilotConfig {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_threshold: Span::from_nanos(200_000_000),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: Span::from_secs(10),
            create_index: Self::UNCHANGED,
            modify_index: Self::UNCHANGED,
        }
    }
}

impl AutopilotConfig {
    /// The `modify_index` of a configuration that nobody changed.
    pub const UNCHANGED: Index = 1;
}

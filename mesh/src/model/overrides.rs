//! The operator's own route commands.

use serde::{Deserialize, Serialize};

use super::{Index, Timestamp};

/// Route-language text that an operator lays over the routes derived from services.
///
/// Writer: an operator, through the route admin API. The text is stored byte for byte; its syntax
/// is the reader's concern.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteOverrides {
    /// The text, at most [`crate::state::ROUTE_OVERRIDES_BYTES_MAX`] bytes; empty means no
    /// overrides.
    pub text: String,
    /// When the text last changed.
    #[serde(rename = "modified_at_ns")]
    pub modified_at: Timestamp,
    /// Log index at which overrides were first set; 0 if never.
    pub create_index: Index,
    /// Log index of the last change of the text, which is its version; 0 if never set.
    pub modify_index: Index,
}

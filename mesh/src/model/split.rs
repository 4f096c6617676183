//! A fixed share of a route.

use serde::{Deserialize, Serialize};

use super::{Index, ServiceName};

/// The share of a route's requests that some of its targets get together.
///
/// Writer: an operator, through the route weight endpoint. The indexes are written by
/// [`crate::state::State::apply`] only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Split {
    /// Which targets.
    pub key: SplitKey,
    /// Their share together, in millionths; above 0 and at most a million.
    pub share_millionths: u32,
    /// Log index at which the row was first written; splits take effect in this order.
    pub create_index: Index,
    /// Log index of the last change of the share.
    pub modify_index: Index,
}

/// Key of a split; orders by route, then by service, then by tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct SplitKey {
    /// The route, `host/path` as it was written; its syntax is the reader's concern.
    pub route: String,
    /// Name of the service that the targets belong to.
    pub service: ServiceName,
    /// Only targets with every one of these tags; empty for all targets of the service.
    pub tags: Vec<String>,
}

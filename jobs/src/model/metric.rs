use super::{FlatMap, NodeId, Span, Text};
use serde::{Deserialize, Serialize};
use thin_vec::ThinVec;

/// How one placement was decided, or why it could not be made.
///
/// Source: jobs API, `AllocationMetric`; keys and texts are the published ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocMetric {
    /// Nodes looked at.
    pub nodes_evaluated: u32,
    /// Nodes that a constraint or a missing driver ruled out.
    pub nodes_filtered: u32,
    /// Nodes of the pool.
    pub nodes_in_pool: u32,
    /// Name of the pool.
    pub node_pool: Text,
    /// Ready nodes by datacenter.
    pub nodes_available: FlatMap<Text, u32>,
    /// Ruled out by node class.
    pub class_filtered: FlatMap<String, u32>,
    /// Ruled out by constraint text.
    pub constraint_filtered: FlatMap<String, u32>,
    /// Nodes without room.
    pub nodes_exhausted: u32,
    /// Without room by node class.
    pub class_exhausted: FlatMap<String, u32>,
    /// Without room by dimension: `cpu`, `memory`, `disk`, `network: …`.
    pub dimension_exhausted: FlatMap<String, u32>,
    /// Best nodes with their scores.
    pub score_meta_data: ThinVec<NodeScore>,
    /// Nanoseconds spent; the caller measures it.
    pub allocation_time: Span,
    /// Further placements of the group that failed alike.
    pub coalesced_failures: u32,
}

/// Scores of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeScore {
    /// Node.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// Score name to value.
    pub scores: FlatMap<Text, f64>,
    /// Their mean.
    pub norm_score: f64,
}

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Body of `PUT /v1/search`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SearchRequest {
    /// Start of the id looked for.
    pub prefix: String,
    /// `jobs`, `allocs`, `nodes`, `evals`, `deployment`, or `all` or empty for every kind.
    pub context: String,
}

/// Answer to `PUT /v1/search`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SearchResponse {
    /// Context to the ids that match, at most [`SearchResponse::MATCHES_MAX`] each.
    pub matches: BTreeMap<String, Vec<String>>,
    /// Context to whether more would match; a key for each context that was searched.
    pub truncations: BTreeMap<String, bool>,
    /// Index of the answer.
    pub index: u64,
    /// Milliseconds since the leader was heard.
    pub last_contact: u64,
    /// True when there is a leader.
    pub known_leader: bool,
}

impl SearchResponse {
    /// Matches per context.
    pub const MATCHES_MAX: usize = 20;
}

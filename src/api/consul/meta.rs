//! What a reader is told in a body of the server that answered.

use serde::Serialize;

/// What a reader is told of the server that answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Meta {
    pub(super) index: u64,
    pub(super) last_contact: u64,
    pub(super) known_leader: bool,
    pub(super) consistency_level: &'static str,
    pub(super) not_modified: bool,
    pub(super) backend: u8,
    #[serde(rename = "ResultsFilteredByACLs")]
    pub(super) results_filtered: bool,
}

/// As the server that leads tells it.
pub(super) const META: Meta = Meta {
    index: 1,
    last_contact: 0,
    known_leader: true,
    consistency_level: "leader",
    not_modified: false,
    backend: 0,
    results_filtered: false,
};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A job in several regions; it is refused at registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Multiregion {
    /// Order of the regions.
    pub strategy: Option<MultiregionStrategy>,
    /// The regions.
    pub regions: Option<Vec<MultiregionRegion>>,
}

/// In which order regions are updated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MultiregionStrategy {
    /// Regions at once.
    pub max_parallel: Option<i64>,
    /// `fail_all`, `fail_local` or nothing.
    pub on_failure: Option<String>,
}

/// What is different in one region.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MultiregionRegion {
    /// The region.
    pub name: String,
    /// Count of groups that say none.
    pub count: Option<i64>,
    /// Patterns of datacenters.
    pub datacenters: Option<Vec<String>>,
    /// Pool of nodes.
    pub node_pool: String,
    /// Labels.
    pub meta: Option<BTreeMap<String, String>>,
}

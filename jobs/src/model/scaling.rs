use super::Index;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How far, and by what rule, others may change a count or a resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScalingPolicy {
    /// Least.
    pub min: Option<i64>,
    /// Most.
    pub max: Option<i64>,
    /// The rule, free in form.
    pub policy: Option<Map<String, Value>>,
    /// False to switch the rule off.
    pub enabled: Option<bool>,
    /// `horizontal` for counts.
    #[serde(rename = "Type")]
    pub policy_type: String,
    /// Id, chosen by the servers.
    #[serde(rename = "ID")]
    pub id: String,
    /// Namespace of the job.
    pub namespace: String,
    /// What it is about: namespace, job, group and task.
    pub target: Option<BTreeMap<String, String>>,
    /// Index of the first registration.
    pub create_index: Index,
    /// Index of the last change.
    pub modify_index: Index,
}

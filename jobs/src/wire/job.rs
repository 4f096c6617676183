use super::{
    Affinity, Constraint, MigrateStrategy, ReschedulePolicy, Spread, TaskGroup, UpdateStrategy,
};
use crate::model::{Index, JobUi, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A job as it was written or posted: whatever is missing gets its default later.
///
/// Unknown keys are tolerated, as the API does. Source: jobs API, "Create Job".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Job {
    /// Region; the agent's own unless given.
    pub region: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Id, unique in the namespace.
    #[serde(rename = "ID")]
    pub id: Option<String>,
    /// Name; the id unless given.
    pub name: Option<String>,
    /// Which scheduler places it.
    #[serde(rename = "Type")]
    pub job_type: Option<String>,
    /// 1 to 100, higher goes first.
    pub priority: Option<i64>,
    /// Place all groups or none.
    pub all_at_once: Option<bool>,
    /// Patterns of datacenters, `*` matches any.
    pub datacenters: Option<Vec<String>>,
    /// Pool of nodes that may run it.
    pub node_pool: Option<String>,
    /// Hard requirements on the node.
    pub constraints: Option<Vec<Constraint>>,
    /// Soft preferences for nodes.
    pub affinities: Option<Vec<Affinity>>,
    /// Wanted distribution over an attribute.
    pub spreads: Option<Vec<Spread>>,
    /// The task groups in the order of the file.
    pub task_groups: Option<Vec<TaskGroup>>,
    /// Defaults of the groups.
    pub update: Option<UpdateStrategy>,
    /// Free-form labels.
    pub meta: Option<BTreeMap<String, String>>,
    /// Parent of a dispatched or periodic child; empty otherwise.
    #[serde(rename = "ParentID")]
    pub parent_id: Option<String>,
    /// True once a user stopped it.
    pub stop: Option<bool>,
    /// Derived from its allocations.
    pub status: Option<String>,
    /// Why the status is what it is.
    pub status_description: Option<String>,
    /// True once a deployment of this version succeeded.
    pub stable: Option<bool>,
    /// First version is 0.
    pub version: Option<u64>,
    /// When it was submitted since the epoch.
    pub submit_time: Option<Timestamp>,
    /// Index of the first registration.
    pub create_index: Option<Index>,
    /// Index of the last change of any kind.
    pub modify_index: Option<Index>,
    /// Index of the last change of the specification.
    pub job_modify_index: Option<Index>,
    /// What a user interface shows beside the job.
    #[serde(rename = "UI")]
    pub ui: Option<JobUi>,
    /// Defaults of the groups.
    pub reschedule: Option<ReschedulePolicy>,
    /// Defaults of the groups.
    pub migrate: Option<MigrateStrategy>,
    /// Keys that are not modelled; validation refuses those that ask for something.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

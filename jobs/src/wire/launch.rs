//! Launches of jobs that never run themselves.

use super::or_empty;
use crate::model::{EvalId, Index, JobId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Body of `PUT /v1/job/:id/dispatch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobDispatchRequest {
    /// Job; must equal the one of the path when given.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// What the launch is given, in Base64.
    pub payload: Option<String>,
    /// Labels beside those of the job.
    pub meta: Option<BTreeMap<String, String>>,
    /// Stands in the child's id before the time.
    pub id_prefix_template: String,
    /// Priority of the child; 0 is the job's.
    pub priority: i32,
}

/// Answer to a launch with a payload or labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobDispatchResponse {
    /// The child.
    #[serde(rename = "DispatchedJobID")]
    pub dispatched_job_id: JobId,
    /// Evaluation that places it; empty for none.
    #[serde(rename = "EvalID", with = "or_empty")]
    pub eval_id: Option<EvalId>,
    /// Index of that evaluation.
    pub eval_create_index: Index,
    /// Index of the child's registration.
    pub job_create_index: Index,
    /// Index of the write.
    pub index: Index,
}

/// Answer to `PUT /v1/job/:id/periodic/force`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PeriodicForceResponse {
    /// Evaluation that places the child; empty for none.
    #[serde(rename = "EvalID", with = "or_empty")]
    pub eval_id: Option<EvalId>,
    /// Index of that evaluation.
    pub eval_create_index: Index,
    /// Index of the write.
    pub index: Index,
}

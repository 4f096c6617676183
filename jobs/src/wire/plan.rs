use super::{Job, JobDiff};
use crate::model::{
    AllocMetric, Evaluation, FlatMap, GroupName, Index, PlanAnnotations, is_default,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Body of `PUT /v1/job/:id/plan`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobPlanRequest {
    /// The job; a request without one is refused.
    pub job: Option<Box<Job>>,
    /// Add the difference to the current version.
    pub diff: bool,
    /// Accepted and without effect: policies are an enterprise feature.
    pub policy_override: bool,
    /// Region, unless the query string has one.
    #[serde(skip_serializing_if = "is_default")]
    pub region: Option<String>,
    /// Namespace, unless the query string has one.
    #[serde(skip_serializing_if = "is_default")]
    pub namespace: Option<String>,
}

/// Answer to `PUT /v1/job/:id/plan`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobPlanResponse {
    /// Current index of the job's specification; 0 for a new job.
    pub job_modify_index: Index,
    /// Evaluations that a registration would cause after the first, such as blocked ones.
    pub created_evals: Vec<Arc<Evaluation>>,
    /// Difference to the current version, with annotations; none unless it was asked for.
    pub diff: Option<JobDiff>,
    /// What the scheduler would do; never null, since clients look into it without asking.
    pub annotations: PlanAnnotations,
    /// Group to the reason why not all of it could be placed.
    #[serde(rename = "FailedTGAllocs")]
    pub failed_tg_allocs: FlatMap<GroupName, AllocMetric>,
    /// When a periodic job would be launched next, as RFC 3339 with the offset of its time zone;
    /// year 1 for a job that is not launched at set times.
    pub next_periodic_launch: String,
    /// What is allowed and yet suspicious, as lines of text.
    pub warnings: String,
    /// How long the steps of canaries take, a sentence for each group that has them. Not in the
    /// published API.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<String>,
    /// Index of the snapshot that the preview was made from.
    pub index: Index,
}

impl JobPlanResponse {
    /// What stands for "never" where clients expect a time.
    pub const NEVER: &str = "0001-01-01T00:00:00Z";
}

/// Answer to `GET /v1/job/:id/versions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobVersionsResponse {
    /// Newest first.
    pub versions: Vec<Arc<crate::model::Job>>,
    /// Entry `i` compares version `i` with the one after it in the list, so there is one less; none
    /// unless the caller said `diffs=true`.
    pub diffs: Option<Vec<JobDiff>>,
    /// Index of the answer.
    pub index: Index,
    /// Milliseconds since the leader was heard.
    pub last_contact: u64,
    /// True when there is a leader.
    pub known_leader: bool,
}

use super::{EvalId, FlatMap, GroupName, Index, JobId, Namespace, Timestamp};
use serde::{Deserialize, Serialize};

/// Counts of a job's allocations, kept up to date by the state machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobSummary {
    /// Job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Group to its counts.
    pub summary: FlatMap<GroupName, GroupSummary>,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change.
    pub modify_index: Index,
}

/// Counts of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are those of the API and say it all")]
pub struct GroupSummary {
    pub queued: u32,
    pub complete: u32,
    pub failed: u32,
    pub running: u32,
    pub starting: u32,
    pub lost: u32,
    pub unknown: u32,
}

/// One change of a group's count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScalingEvent {
    /// New count; none when only a message was recorded.
    pub count: Option<i64>,
    /// Count before.
    pub previous_count: i64,
    /// The message reports an error.
    pub error: bool,
    /// Free text.
    pub message: String,
    /// Free-form data.
    pub meta: serde_json::Map<String, serde_json::Value>,
    /// Evaluation that carries it out.
    #[serde(rename = "EvalID")]
    pub eval_id: Option<EvalId>,
    /// Nanoseconds since the epoch.
    pub time: Timestamp,
    /// Index.
    pub create_index: Index,
}

use super::{
    EvalId, FlatMap, GroupName, Index, JobId, JobStatus, Namespace, Timestamp, is_default,
};
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
    /// Counts of the jobs that were launched of it.
    #[serde(skip_serializing_if = "is_default")]
    pub children: ChildrenSummary,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change.
    pub modify_index: Index,
}

/// Counts of the jobs that were launched of one, by their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are those of the API and say it all")]
pub struct ChildrenSummary {
    pub pending: u32,
    pub running: u32,
    pub dead: u32,
}

impl ChildrenSummary {
    /// The counter of jobs of that status.
    pub fn of(&mut self, status: JobStatus) -> &mut u32 {
        match status {
            JobStatus::Pending => &mut self.pending,
            JobStatus::Running => &mut self.running,
            JobStatus::Dead => &mut self.dead,
        }
    }

    /// All of them.
    pub fn sum(&self) -> u64 {
        [self.pending, self.running, self.dead]
            .map(u64::from)
            .iter()
            .sum()
    }
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

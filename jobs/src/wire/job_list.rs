use crate::model::{Index, Job, JobId, JobStatus, JobSummary, JobType, Namespace, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One job in a list. Every key but `Meta` is present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(
    missing_docs,
    reason = "the fields are those of the job, explained there"
)]
pub struct JobListStub {
    #[serde(rename = "ID")]
    pub id: JobId,
    #[serde(rename = "ParentID", with = "crate::model::or_empty")]
    pub parent_id: Option<JobId>,
    pub name: String,
    pub namespace: Namespace,
    pub datacenters: Vec<String>,
    pub node_pool: String,
    #[serde(rename = "Type")]
    pub job_type: JobType,
    pub priority: i32,
    /// True for a job that starts others by the clock.
    pub periodic: bool,
    /// True for a job that starts others on request.
    pub parameterized_job: bool,
    pub stop: bool,
    pub status: JobStatus,
    pub status_description: String,
    /// Counts by group.
    pub job_summary: JobSummary,
    pub create_index: Index,
    pub modify_index: Index,
    pub job_modify_index: Index,
    pub submit_time: Timestamp,
    /// Only when the caller said `meta=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<BTreeMap<String, String>>,
}

impl JobListStub {
    /// The list entry of a job; `summary` is what the state machine counted, or nothing yet.
    pub fn new(job: &Job, summary: Option<&JobSummary>, with_meta: bool) -> Self {
        Self {
            id: job.id.clone(),
            parent_id: job.parent_id.clone(),
            name: job.name.clone(),
            namespace: job.namespace.clone(),
            datacenters: job.datacenters.clone(),
            node_pool: job.node_pool.clone(),
            job_type: job.job_type,
            priority: job.priority,
            periodic: job.periodic.is_some(),
            parameterized_job: job.is_parameterized(),
            stop: job.stop,
            status: job.status,
            status_description: job.status_description.clone(),
            job_summary: summary.cloned().unwrap_or_else(|| job.empty_summary()),
            create_index: job.create_index,
            modify_index: job.modify_index,
            job_modify_index: job.job_modify_index,
            submit_time: job.submit_time,
            meta: with_meta.then(|| job.meta.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_a_summary_still_has_one() {
        let job = Job {
            id: "web".into(),
            namespace: "default".into(),
            ..Job::default()
        };
        let json = serde_json::to_value(JobListStub::new(&job, None, false)).unwrap();
        assert_eq!(json["JobSummary"]["JobID"], "web");
        assert_eq!(json["JobSummary"]["Namespace"], "default");
        assert!(json.get("Meta").is_none());
        let json = serde_json::to_value(JobListStub::new(&job, None, true)).unwrap();
        assert_eq!(json["Meta"], serde_json::json!({}));
    }
}

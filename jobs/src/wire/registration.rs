use super::{Job, or_empty};
use crate::model::{EvalId, Index, JobId, Namespace, Submission, Timestamp, is_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Body of `PUT /v1/jobs` and `PUT /v1/job/:id`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobRegisterRequest {
    /// The job; a request without one is refused.
    pub job: Option<Box<Job>>,
    /// The text it came from.
    pub submission: Option<Submission>,
    /// Refuse unless `job_modify_index` is the current one; 0 means that the job must not exist.
    pub enforce_index: bool,
    /// See `enforce_index`.
    pub job_modify_index: Index,
    /// Keep the counts of groups that exist.
    pub preserve_counts: bool,
    /// Keep the resources of tasks that exist.
    pub preserve_resources: bool,
    /// Priority of the evaluation; 0 is the job's.
    pub eval_priority: i32,
    /// Accepted and without effect: policies are an enterprise feature.
    pub policy_override: bool,
    /// Region, unless the query string has one.
    #[serde(skip_serializing_if = "is_default")]
    pub region: Option<String>,
    /// Namespace, unless the query string has one.
    #[serde(skip_serializing_if = "is_default")]
    pub namespace: Option<String>,
}

/// Answer to a registration, an evaluation, a scaling and a revert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobRegisterResponse {
    /// Evaluation that looks at the job; empty for none.
    #[serde(rename = "EvalID", with = "or_empty")]
    pub eval_id: Option<EvalId>,
    /// Index of that evaluation.
    pub eval_create_index: Index,
    /// Index of the job's specification.
    pub job_modify_index: Index,
    /// What is allowed and yet suspicious, as lines of text.
    pub warnings: String,
    /// Index of the write.
    pub index: Index,
    /// Milliseconds since the leader was heard.
    pub last_contact: u64,
    /// True when there is a leader.
    pub known_leader: bool,
}

/// Answer to `DELETE /v1/job/:id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobDeregisterResponse {
    /// Evaluation that stops the allocations; empty for none.
    #[serde(rename = "EvalID", with = "or_empty")]
    pub eval_id: Option<EvalId>,
    /// Index of that evaluation.
    pub eval_create_index: Index,
    /// Index of the job's specification.
    pub job_modify_index: Index,
    /// Index of the write.
    pub index: Index,
    /// Milliseconds since the leader was heard.
    pub last_contact: u64,
    /// True when there is a leader.
    pub known_leader: bool,
}

/// Body of `PUT /v1/jobs/parse`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobsParseRequest {
    /// Text of the job file.
    #[serde(rename = "JobHCL")]
    pub job_hcl: String,
    /// Text of a variable file.
    #[serde(rename = "Variables")]
    pub variables: String,
    /// Fill in the defaults.
    #[serde(rename = "Canonicalize")]
    pub canonicalize: bool,
    /// Read the first version of the language, which is not there any more.
    #[serde(rename = "hclv1")]
    pub hcl_v1: bool,
}

/// Body of `PUT /v1/validate/job`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobValidateRequest {
    /// The job.
    pub job: Option<Box<Job>>,
}

/// Answer to `PUT /v1/validate/job`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobValidateResponse {
    /// True when the `config` blocks were looked at.
    pub driver_config_validated: bool,
    /// Every problem, one line each.
    pub validation_errors: Vec<String>,
    /// All of them as one text; empty for a valid job.
    pub error: String,
    /// What is allowed and yet suspicious, as lines of text.
    pub warnings: String,
}

/// Body of `PUT /v1/job/:id/evaluate`; may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobEvaluateRequest {
    /// Job; must equal the one of the path when given.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// How to evaluate.
    pub eval_options: EvalOptions,
}

/// How to evaluate a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EvalOptions {
    /// Replace failed allocations whatever their policy says.
    pub force_reschedule: bool,
}

/// Body of `PUT /v1/job/:id/revert`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobRevertRequest {
    /// Job; must equal the one of the path.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Version to go back to.
    pub job_version: u64,
    /// Refuse unless this is the current version.
    pub enforce_prior_version: Option<u64>,
}

/// Body of `PUT /v1/job/:id/stable`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobStabilityRequest {
    /// Job; must equal the one of the path.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Version to mark.
    pub job_version: u64,
    /// New mark.
    pub stable: bool,
}

/// Answer to `PUT /v1/job/:id/stable`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobStabilityResponse {
    /// Index of the change.
    pub job_modify_index: Index,
    /// Index of the write.
    pub index: Index,
}

/// Body of `PUT /v1/job/:id/versions/:name/tag`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TagVersionRequest {
    /// Version to name.
    pub version: u64,
    /// Name the current version; `version` is 0 then.
    pub latest: bool,
    /// What is special about the version.
    pub description: String,
}

/// Answer to a version being named, or its name taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobTagResponse {
    /// The name; empty when it was taken away.
    pub name: String,
    /// What is special about the version.
    pub description: String,
    /// When it was named.
    pub tagged_time: Timestamp,
    /// Index of the write.
    pub index: Index,
    /// Milliseconds since the leader was heard.
    pub last_contact: u64,
    /// True when there is a leader.
    pub known_leader: bool,
}

/// Answer to `GET /v1/job/:id/submission`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobSubmission {
    /// The file.
    pub source: String,
    /// `hcl2` or `json`.
    pub format: String,
    /// Variables given as flags.
    pub variable_flags: BTreeMap<String, String>,
    /// Text of the variable files.
    pub variables: String,
    /// Namespace of the job.
    pub namespace: Namespace,
    /// Job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Version that it belongs to.
    pub version: u64,
    /// Index of that version.
    pub job_modify_index: Index,
}

impl JobSubmission {
    /// The answer for the text of one version of a job.
    pub fn new(job: &crate::model::Job, submission: &Submission) -> Self {
        Self {
            source: submission.source.clone(),
            format: submission.format.clone(),
            variable_flags: submission.variable_flags.clone(),
            variables: submission.variables.clone(),
            namespace: job.namespace.clone(),
            job_id: job.id.clone(),
            version: job.version,
            job_modify_index: job.job_modify_index,
        }
    }
}

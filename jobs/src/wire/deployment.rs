use super::or_empty;
use crate::model::{EvalId, GroupName, Index};
use serde::{Deserialize, Serialize};

/// Body of `PUT /v1/deployment/promote/:id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentPromoteRequest {
    /// Deployment; must equal the one of the path.
    #[serde(rename = "DeploymentID")]
    pub deployment_id: String,
    /// Every group with canaries.
    pub all: bool,
    /// These groups, when not all.
    pub groups: Vec<GroupName>,
}

/// Body of `PUT /v1/deployment/pause/:id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentPauseRequest {
    /// Deployment; must equal the one of the path.
    #[serde(rename = "DeploymentID")]
    pub deployment_id: String,
    /// True to pause, false to resume.
    pub pause: bool,
}

/// Body of `PUT /v1/deployment/fail/:id`; may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentFailRequest {
    /// Deployment; must equal the one of the path.
    #[serde(rename = "DeploymentID")]
    pub deployment_id: String,
}

/// Body of `PUT /v1/deployment/allocation-health/:id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentHealthRequest {
    /// Deployment; must equal the one of the path.
    #[serde(rename = "DeploymentID")]
    pub deployment_id: String,
    /// Turned healthy.
    #[serde(rename = "HealthyAllocationIDs")]
    pub healthy_allocation_ids: Vec<String>,
    /// Turned unhealthy.
    #[serde(rename = "UnhealthyAllocationIDs")]
    pub unhealthy_allocation_ids: Vec<String>,
}

/// Answer to every write on a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentUpdateResponse {
    /// Evaluation that acts on it.
    #[serde(rename = "EvalID", with = "or_empty")]
    pub eval_id: Option<EvalId>,
    /// Index of that evaluation.
    pub eval_create_index: Index,
    /// Index of the deployment's change.
    pub deployment_modify_index: Index,
    /// Version that the job went back to.
    pub reverted_job_version: Option<u64>,
    /// Index of the write.
    pub index: Index,
}

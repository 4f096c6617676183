use super::or_empty;
use crate::model::{
    DeploymentId, EvalId, EvalStatus, Index, JobId, JobType, Namespace, NodeId, Timestamp, Trigger,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One evaluation as `GET /v1/evaluation/:id` answers it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Evaluation {
    /// The row.
    #[serde(flatten)]
    pub row: Arc<crate::model::Evaluation>,
    /// Only when the caller said `related=true`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related_evals: Vec<EvaluationStub>,
}

/// The scalar fields of an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(
    missing_docs,
    reason = "the fields are those of the evaluation, explained there"
)]
pub struct EvaluationStub {
    #[serde(rename = "ID")]
    pub id: EvalId,
    pub namespace: Namespace,
    pub priority: i32,
    #[serde(rename = "Type")]
    pub job_type: JobType,
    pub triggered_by: Trigger,
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    #[serde(rename = "NodeID", with = "or_empty")]
    pub node_id: Option<NodeId>,
    #[serde(rename = "DeploymentID", with = "or_empty")]
    pub deployment_id: Option<DeploymentId>,
    pub status: EvalStatus,
    pub status_description: String,
    #[serde(with = "crate::model::rfc3339")]
    pub wait_until: Timestamp,
    #[serde(with = "or_empty")]
    pub next_eval: Option<EvalId>,
    #[serde(with = "or_empty")]
    pub previous_eval: Option<EvalId>,
    #[serde(with = "or_empty")]
    pub blocked_eval: Option<EvalId>,
    pub create_index: Index,
    pub modify_index: Index,
    pub create_time: Timestamp,
    pub modify_time: Timestamp,
}

impl EvaluationStub {
    /// The scalar fields of a row.
    pub fn new(row: &crate::model::Evaluation) -> Self {
        Self {
            id: row.id,
            namespace: row.namespace.clone(),
            priority: row.priority,
            job_type: row.job_type,
            triggered_by: row.triggered_by,
            job_id: row.job_id.clone(),
            node_id: row.node_id,
            deployment_id: row.deployment_id,
            status: row.status,
            status_description: row.status_description.to_string(),
            wait_until: row.wait_until,
            next_eval: row.next_eval,
            previous_eval: row.previous_eval,
            blocked_eval: row.blocked_eval,
            create_index: row.create_index,
            modify_index: row.modify_index,
            create_time: row.create_time,
            modify_time: row.modify_time,
        }
    }
}

use crate::model::{
    GroupName, Index, Job, JobId, Namespace, ScalingEvent, ScalingPolicy, is_default,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// A scaling policy in a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScalingPolicyStub {
    /// Id.
    #[serde(rename = "ID")]
    pub id: String,
    /// False to switch the rule off.
    pub enabled: bool,
    /// `horizontal` for counts.
    #[serde(rename = "Type")]
    pub policy_type: String,
    /// What it is about: namespace, job and group.
    pub target: BTreeMap<String, String>,
    /// Index of the first registration of the job.
    pub create_index: Index,
    /// Index of the job's specification.
    pub modify_index: Index,
}

impl From<&ScalingPolicy> for ScalingPolicyStub {
    fn from(policy: &ScalingPolicy) -> Self {
        Self {
            id: policy.id.clone(),
            enabled: policy.enabled.unwrap_or(true),
            policy_type: policy.policy_type.clone(),
            target: policy.target.clone().unwrap_or_default(),
            create_index: policy.create_index,
            modify_index: policy.modify_index,
        }
    }
}

/// The scaling policies of a job that is not stopped, with ids and indexes.
///
/// A policy keeps its id as long as the job is not purged: it is made of what it is about.
pub fn policies(job: &Job) -> Vec<ScalingPolicy> {
    let groups = job.task_groups.iter().filter(|_| !job.stop);
    groups
        .filter_map(|group| {
            let mut policy = ScalingPolicy::clone(group.scaling.as_deref()?);
            policy.id = policy_id(job, &group.name);
            policy.namespace = job.namespace.to_string();
            policy.create_index = job.create_index;
            policy.modify_index = job.job_modify_index;
            Some(policy)
        })
        .collect()
}

/// A UUID in the published form, of the digest of what the policy is about.
fn policy_id(job: &Job, group: &str) -> String {
    let digest = Sha256::new()
        .chain_update(job.namespace.as_str())
        .chain_update([0])
        .chain_update(job.id.as_str())
        .chain_update([0])
        .chain_update(group)
        .chain_update(job.create_index.to_be_bytes())
        .finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let piece = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
    [
        piece(0..8),
        piece(8..12),
        format!("8{}", piece(13..16)),
        format!("8{}", piece(17..20)),
        piece(20..32),
    ]
    .join("-")
}

/// Body of `PUT /v1/job/:id/scale`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScalingRequest {
    /// New count; none to record the message only.
    pub count: Option<i64>,
    /// `Job` and `Group`.
    pub target: BTreeMap<String, String>,
    /// Free text.
    pub message: String,
    /// The message reports an error.
    pub error: bool,
    /// Free-form data.
    pub meta: serde_json::Map<String, serde_json::Value>,
    /// Accepted and without effect: policies are an enterprise feature.
    pub policy_override: bool,
    /// Refuse unless this is the index of the job's specification; 0 for any.
    #[serde(skip_serializing_if = "is_default")]
    pub job_modify_index: Index,
}

impl ScalingRequest {
    /// The key of the job in `target`.
    pub const TARGET_JOB: &str = "Job";
    /// The key of the group in `target`.
    pub const TARGET_GROUP: &str = "Group";
}

/// Answer to `GET /v1/job/:id/scale`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobScaleStatus {
    /// Job.
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Index of its first registration.
    pub job_create_index: Index,
    /// Index of its specification.
    pub job_modify_index: Index,
    /// True once a user stopped it.
    pub job_stopped: bool,
    /// Group to its counts.
    pub task_groups: BTreeMap<GroupName, GroupScaleStatus>,
}

/// Counts of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupScaleStatus {
    /// Wanted.
    pub desired: u32,
    /// Allocations that are not terminal.
    pub placed: u32,
    /// Of those, running.
    pub running: u32,
    /// Of those, healthy in their deployment.
    pub healthy: u32,
    /// Of those, unhealthy in their deployment.
    pub unhealthy: u32,
    /// Newest first.
    pub events: Vec<ScalingEvent>,
}

impl JobScaleStatus {
    /// The answer for a job, its allocations and its scaling events by group.
    pub fn new<'a>(
        job: &Job,
        allocs: impl IntoIterator<Item = &'a crate::model::Allocation>,
        events: &BTreeMap<GroupName, Vec<ScalingEvent>>,
    ) -> Self {
        let mut task_groups: BTreeMap<GroupName, GroupScaleStatus> = job
            .task_groups
            .iter()
            .map(|group| {
                let status = GroupScaleStatus {
                    desired: group.count,
                    events: events.get(&group.name).cloned().unwrap_or_default(),
                    ..GroupScaleStatus::default()
                };
                (group.name.clone(), status)
            })
            .collect();
        for alloc in allocs {
            let Some(group) = task_groups.get_mut(&alloc.task_group) else {
                continue;
            };
            if alloc.is_terminal() {
                continue;
            }
            group.placed += 1;
            group.running += u32::from(alloc.client_status == crate::model::ClientStatus::Running);
            match alloc.healthy() {
                Some(true) => group.healthy += 1,
                Some(false) => group.unhealthy += 1,
                None => {}
            }
        }
        Self {
            job_id: job.id.clone(),
            namespace: job.namespace.clone(),
            job_create_index: job.create_index,
            job_modify_index: job.job_modify_index,
            job_stopped: job.stop,
            task_groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AllocDeploymentStatus, Allocation, ClientStatus, DesiredStatus, TaskGroup};

    #[test]
    fn only_live_allocations_count() {
        let job = Job {
            id: "web".into(),
            task_groups: vec![TaskGroup {
                name: "app".into(),
                count: 3,
                ..TaskGroup::default()
            }]
            .into(),
            ..Job::default()
        };
        let alloc = |client_status, desired_status, healthy| Allocation {
            task_group: "app".into(),
            client_status,
            desired_status,
            deployment_status: Some(Box::new(AllocDeploymentStatus {
                healthy,
                ..AllocDeploymentStatus::default()
            })),
            ..Allocation::default()
        };
        let allocs = [
            alloc(ClientStatus::Running, DesiredStatus::Run, Some(true)),
            alloc(ClientStatus::Pending, DesiredStatus::Run, None),
            alloc(ClientStatus::Running, DesiredStatus::Stop, Some(true)),
            alloc(ClientStatus::Failed, DesiredStatus::Run, Some(false)),
        ];
        let status = JobScaleStatus::new(&job, &allocs, &BTreeMap::new());
        let group = &status.task_groups["app"];
        assert_eq!((group.desired, group.placed), (3, 2));
        assert_eq!((group.running, group.healthy, group.unhealthy), (1, 1, 0));
    }
}

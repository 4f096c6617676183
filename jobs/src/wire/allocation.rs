use super::or_empty;
use crate::model::{
    AllocDeploymentStatus, AllocId, AllocName, AllocatedResources, AllocatedShared, AllocatedTask,
    ClientStatus, DesiredStatus, DesiredTransition, EvalId, FlatMap, GroupName, Index, Job, JobId,
    JobType, Namespace, NodeId, NodeName, RescheduleTracker, Resources, TaskName, TaskState,
    Timestamp, is_default,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// One allocation as `GET /v1/allocation/:id` answers it: the row, its job and the resources in the
/// positions where older clients look for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Allocation {
    /// The row as stored.
    #[serde(flatten)]
    pub row: Arc<crate::model::Allocation>,
    /// The version of the job it was placed with.
    pub job: Arc<Job>,
    /// Sum over all tasks, plus the shared disk.
    pub resources: Resources,
    /// Task name to what it was given.
    pub task_resources: BTreeMap<TaskName, Resources>,
    /// What the tasks share: disk and networks, no CPU or memory.
    pub shared_resources: Resources,
}

impl Allocation {
    /// The answer for a row; its job is taken from the row.
    pub fn new(row: Arc<crate::model::Allocation>) -> Self {
        let given = &row.allocated_resources;
        Self {
            job: Arc::clone(&row.job),
            resources: given.total(),
            task_resources: given
                .tasks
                .iter()
                .map(|(name, task)| (name.clone(), task_resources(task)))
                .collect(),
            shared_resources: shared_resources(&given.shared),
            row,
        }
    }
}

fn task_resources(task: &AllocatedTask) -> Resources {
    Resources {
        cpu: task.cpu.cpu_shares,
        memory_mb: task.memory.memory_mb,
        memory_max_mb: task.memory.memory_max_mb,
        networks: task.networks.to_vec(),
        ..Resources::default()
    }
}

fn shared_resources(shared: &AllocatedShared) -> Resources {
    Resources {
        cpu: 0,
        memory_mb: 0,
        disk_mb: shared.disk_mb,
        networks: shared.networks.to_vec(),
        ..Resources::default()
    }
}

/// One allocation in a list. Every key is present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(
    missing_docs,
    reason = "the fields are those of the row, explained there"
)]
pub struct AllocationListStub {
    #[serde(rename = "ID")]
    pub id: AllocId,
    #[serde(rename = "EvalID")]
    pub eval_id: EvalId,
    pub name: AllocName,
    pub namespace: Namespace,
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    pub node_name: NodeName,
    #[serde(rename = "JobID")]
    pub job_id: JobId,
    pub job_type: JobType,
    pub job_version: u64,
    pub task_group: GroupName,
    pub desired_transition: DesiredTransition,
    pub desired_status: DesiredStatus,
    pub desired_description: String,
    pub client_status: ClientStatus,
    pub client_description: String,
    /// Empty when the caller said `task_states=false`.
    pub task_states: FlatMap<TaskName, TaskState>,
    pub deployment_status: Option<Box<AllocDeploymentStatus>>,
    #[serde(rename = "FollowupEvalID", with = "or_empty")]
    pub followup_eval_id: Option<EvalId>,
    #[serde(with = "or_empty")]
    pub next_allocation: Option<AllocId>,
    pub reschedule_tracker: Option<Box<RescheduleTracker>>,
    /// Only when the caller said `resources=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_resources: Option<AllocatedResources>,
    pub preempted_allocations: Vec<AllocId>,
    #[serde(with = "or_empty")]
    pub preempted_by_allocation: Option<AllocId>,
    pub create_index: Index,
    pub modify_index: Index,
    pub create_time: Timestamp,
    pub modify_time: Timestamp,
}

/// What a list of allocations carries beyond the minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StubOptions {
    /// Add `AllocatedResources` (query parameter `resources`).
    pub resources: bool,
    /// Fill `TaskStates` (query parameter `task_states`, true unless given).
    pub task_states: bool,
}

impl Default for StubOptions {
    fn default() -> Self {
        Self {
            resources: false,
            task_states: true,
        }
    }
}

impl AllocationListStub {
    /// The list entry of a row.
    pub fn new(row: &crate::model::Allocation, options: StubOptions) -> Self {
        Self {
            id: row.id,
            eval_id: row.eval_id,
            name: row.name.clone(),
            namespace: row.namespace.clone(),
            node_id: row.node_id,
            node_name: row.node_name.clone(),
            job_id: row.job_id.clone(),
            job_type: row.job.job_type,
            job_version: row.job_version,
            task_group: row.task_group.clone(),
            desired_transition: row.desired_transition.clone(),
            desired_status: row.desired_status,
            desired_description: row.desired_description.to_string(),
            client_status: row.client_status,
            client_description: row.client_description.to_string(),
            task_states: if options.task_states {
                row.task_states.clone()
            } else {
                FlatMap::new()
            },
            deployment_status: row.deployment_status.clone(),
            followup_eval_id: row.followup_eval_id,
            next_allocation: row.next_allocation,
            reschedule_tracker: row.reschedule_tracker.clone(),
            allocated_resources: options.resources.then(|| row.allocated_resources.clone()),
            preempted_allocations: row.preempted_allocations.to_vec(),
            preempted_by_allocation: row.preempted_by_allocation,
            create_index: row.create_index,
            modify_index: row.modify_index,
            create_time: row.create_time,
            modify_time: row.modify_time,
        }
    }
}

/// Answer to `PUT /v1/allocation/:id/stop`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocStopResponse {
    /// Evaluation that replaces it.
    #[serde(rename = "EvalID")]
    pub eval_id: EvalId,
    /// Index of the write.
    pub index: Index,
}

/// Body of `PUT /v1/client/allocation/:id/restart`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocRestartRequest {
    /// Task; empty for every running one.
    #[serde(skip_serializing_if = "is_default")]
    pub task_name: String,
    /// Also tasks that have ended.
    pub all_tasks: bool,
}

/// Body of `PUT /v1/client/allocation/:id/signal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocSignalRequest {
    /// Task; empty for all.
    #[serde(skip_serializing_if = "is_default")]
    pub task: String,
    /// Signal name with `SIG`.
    pub signal: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AllocatedCpu, AllocatedMemory};

    fn row() -> crate::model::Allocation {
        let mut row = crate::model::Allocation {
            id: AllocId::named("a1"),
            job: Arc::new(Job {
                id: "web".into(),
                version: 3,
                ..Job::default()
            }),
            job_version: 3,
            ..Default::default()
        };
        for (name, cpu, memory) in [("server", 200, 64), ("sidecar", 50, 32)] {
            row.allocated_resources.tasks.insert(
                name.into(),
                AllocatedTask {
                    cpu: AllocatedCpu { cpu_shares: cpu },
                    memory: AllocatedMemory {
                        memory_mb: memory,
                        memory_max_mb: 0,
                    },
                    ..AllocatedTask::default()
                },
            );
        }
        row.allocated_resources.shared.disk_mb = 300;
        row
    }

    #[test]
    fn one_read_carries_the_job_and_the_legacy_resources() {
        let json = serde_json::to_value(Allocation::new(Arc::new(row()))).unwrap();
        assert_eq!(json["ID"], AllocId::named("a1").to_string());
        assert_eq!(json["Job"]["ID"], "web");
        assert_eq!(json["Job"]["Version"], 3);
        assert_eq!(json["Resources"]["CPU"], 250);
        assert_eq!(json["Resources"]["MemoryMB"], 96);
        assert_eq!(json["Resources"]["DiskMB"], 300);
        assert_eq!(json["TaskResources"]["sidecar"]["MemoryMB"], 32);
        assert_eq!(json["SharedResources"]["DiskMB"], 300);
        let back: Allocation = serde_json::from_value(json).unwrap();
        assert_eq!(back.row.id, AllocId::named("a1"));
        assert_eq!(back.job.version, 3);
        // The answer of the API has every key, with empty text for what is absent.
        let complete = serde_json::json!({"NextAllocation": "", "DeploymentID": ""});
        let back: Allocation = serde_json::from_value(complete).unwrap();
        assert_eq!(back.row.next_allocation, None);
        assert_eq!(back.row.deployment_id, None);
    }

    #[test]
    fn a_list_entry_names_every_key_and_widens_on_request() {
        let narrow =
            serde_json::to_value(AllocationListStub::new(&row(), StubOptions::default())).unwrap();
        assert!(narrow.get("AllocatedResources").is_none());
        assert_eq!(narrow["FollowupEvalID"], "");
        assert_eq!(narrow["JobVersion"], 3);
        let wide = StubOptions {
            resources: true,
            task_states: false,
        };
        let wide = serde_json::to_value(AllocationListStub::new(&row(), wide)).unwrap();
        assert_eq!(wide["AllocatedResources"]["Shared"]["DiskMB"], 300);
        assert_eq!(wide["TaskStates"], serde_json::json!({}));
    }
}

use super::{
    Affinity, Constraint, Consul, Disconnect, FlatMap, GroupName, MigrateStrategy, NetworkResource,
    ReschedulePolicy, RestartPolicy, RolloutPolicy, ScalingPolicy, ServiceSpec, Span, Spread, Task,
    UpdateStrategy, VolumeRequest, is_default,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tasks that are placed together on one node.
///
/// Source: jobs API, `TaskGroups`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskGroup {
    /// Unique in the job.
    pub name: GroupName,
    /// How many allocations to run; 0 is allowed.
    pub count: u32,
    /// Hard requirements on the node.
    pub constraints: Vec<Constraint>,
    /// Soft preferences for nodes.
    pub affinities: Vec<Affinity>,
    /// Wanted distribution over an attribute.
    pub spreads: Vec<Spread>,
    /// The tasks in the order of the file, never empty.
    pub tasks: Vec<Task>,
    /// At most one network, shared by all tasks.
    pub networks: Vec<NetworkResource>,
    /// Services of the group as a whole.
    pub services: Vec<ServiceSpec>,
    /// Free-form labels.
    pub meta: BTreeMap<String, String>,
    /// How the client restarts failed tasks.
    pub restart_policy: RestartPolicy,
    /// How the servers replace failed allocations; none for system jobs.
    pub reschedule_policy: Option<ReschedulePolicy>,
    /// Shared disk.
    pub ephemeral_disk: EphemeralDisk,
    /// Rolling update; none for batch jobs.
    pub update: Option<UpdateStrategy>,
    /// How allocations leave a draining node; service jobs only.
    pub migrate: Option<MigrateStrategy>,
    /// Pause between leaving the catalog and the kill signal.
    pub shutdown_delay: Option<Span>,
    /// Volumes by name.
    #[serde(skip_serializing_if = "is_default")]
    pub volumes: FlatMap<String, VolumeRequest>,
    /// How far others may change the count.
    #[serde(skip_serializing_if = "is_default")]
    pub scaling: Option<Box<ScalingPolicy>>,
    /// What becomes of it when its node is out of reach.
    #[serde(skip_serializing_if = "is_default")]
    pub disconnect: Option<Box<Disconnect>>,
    /// Which catalog its services are in.
    #[serde(skip_serializing_if = "is_default")]
    pub consul: Option<Box<Consul>>,
    /// Time after which an allocation is ended.
    #[serde(skip_serializing_if = "is_default")]
    pub max_run_duration: Option<Span>,
}

impl TaskGroup {
    /// The task of that name.
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// What the `meta` of its services says of how canaries are let in: those of the group first,
    /// and the first that says something counts.
    pub fn rollout_settings(&self) -> BTreeMap<String, String> {
        let of_tasks = self.tasks.iter().flat_map(|task| &task.services);
        let mut said = BTreeMap::new();
        for service in self.services.iter().chain(of_tasks) {
            for (key, value) in &service.meta {
                if key.starts_with(RolloutPolicy::PREFIX) && !said.contains_key(key) {
                    said.insert(key.clone(), value.clone());
                }
            }
        }
        said
    }

    /// The first service that says how canaries are let in.
    pub fn rollout_service(&self) -> Option<&str> {
        let of_tasks = self.tasks.iter().flat_map(|task| &task.services);
        let mut services = self.services.iter().chain(of_tasks);
        let says = |key: &String| key.starts_with(RolloutPolicy::PREFIX);
        let service = services.find(|service| service.meta.keys().any(says));
        service.map(|service| service.name.as_str())
    }

    /// How its canaries are let in. What cannot be read is as if it were not said.
    pub fn rollout_policy(&self) -> RolloutPolicy {
        RolloutPolicy::of_meta(&self.rollout_settings()).0
    }
}

/// Disk that the tasks of a group share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EphemeralDisk {
    /// Prefer the node of the previous allocation.
    pub sticky: bool,
    /// Move the data to the next allocation.
    pub migrate: bool,
    /// Size in MB.
    #[serde(rename = "SizeMB")]
    pub size_mb: i64,
}

impl Default for EphemeralDisk {
    fn default() -> Self {
        Self {
            sticky: false,
            migrate: false,
            size_mb: 300,
        }
    }
}

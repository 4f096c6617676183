use super::{
    Affinity, Constraint, MigrateStrategy, NetworkResource, ReschedulePolicy, RestartPolicy,
    ServiceSpec, Span, Spread, Task, UpdateStrategy,
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
    pub name: String,
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
}

impl TaskGroup {
    /// The task of that name.
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
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

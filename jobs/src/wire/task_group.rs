use super::{
    Affinity, Constraint, MigrateStrategy, ReschedulePolicy, RestartPolicy, Service, Spread, Task,
    UpdateStrategy,
};
use crate::model::Span;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Tasks that are placed together on one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskGroup {
    /// Unique in the job.
    pub name: Option<String>,
    /// How many allocations to run; 0 is allowed.
    pub count: Option<i64>,
    /// Hard requirements on the node.
    pub constraints: Option<Vec<Constraint>>,
    /// Soft preferences for nodes.
    pub affinities: Option<Vec<Affinity>>,
    /// Wanted distribution over an attribute.
    pub spreads: Option<Vec<Spread>>,
    /// The tasks in the order of the file.
    pub tasks: Option<Vec<Task>>,
    /// At most one network, shared by all tasks.
    pub networks: Option<Vec<NetworkResource>>,
    /// Services of the group as a whole.
    pub services: Option<Vec<Service>>,
    /// Free-form labels.
    pub meta: Option<BTreeMap<String, String>>,
    /// How the client restarts failed tasks.
    pub restart_policy: Option<RestartPolicy>,
    /// How the servers replace failed allocations; none for system jobs.
    pub reschedule_policy: Option<ReschedulePolicy>,
    /// Shared disk.
    pub ephemeral_disk: Option<EphemeralDisk>,
    /// Rolling update; none for batch jobs.
    pub update: Option<UpdateStrategy>,
    /// How allocations leave a draining node; service jobs only.
    pub migrate: Option<MigrateStrategy>,
    /// Pause between leaving the catalog and the kill signal.
    pub shutdown_delay: Option<Span>,
    /// Keys that are not modelled; validation refuses those that ask for something.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Disk that the tasks of a group share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EphemeralDisk {
    /// Prefer the node of the previous allocation.
    pub sticky: Option<bool>,
    /// Move the data to the next allocation.
    pub migrate: Option<bool>,
    /// Size in MB.
    #[serde(rename = "SizeMB")]
    pub size_mb: Option<i64>,
}

/// A network of a group or task: its mode and the ports it asks for or was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkResource {
    /// `host`; other modes are refused by this version.
    pub mode: Option<String>,
    /// Interface name.
    pub device: Option<String>,
    /// Range of the interface.
    #[serde(rename = "CIDR")]
    pub cidr: Option<String>,
    /// Address of the interface.
    #[serde(rename = "IP")]
    pub ip: Option<String>,
    /// Static ports.
    pub reserved_ports: Option<Vec<Port>>,
    /// Ports that the scheduler chooses.
    pub dynamic_ports: Option<Vec<Port>>,
    /// Ignored, kept for old clients.
    #[serde(rename = "MBits")]
    pub mbits: Option<i64>,
    /// Keys that are not modelled; validation refuses those that ask for something.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One port of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    /// Name, unique in the group.
    pub label: Option<String>,
    /// Number; 0 until chosen.
    pub value: Option<i64>,
    /// Number inside the task's network; 0 is the same.
    pub to: Option<i64>,
    /// Which of the host's networks.
    pub host_network: Option<String>,
    /// Keys that are not modelled; validation refuses those that ask for something.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

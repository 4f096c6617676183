use super::{
    Affinity, MigrateStrategy, ReschedulePolicy, RestartPolicy, Service, Spread, Task,
    UpdateStrategy,
};
use crate::model::{Cni, Constraint, Consul, Disconnect, Dns, ScalingPolicy, Span, VolumeRequest};
use serde::{Deserialize, Serialize};
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
    /// The tasks in the order of the file.
    pub tasks: Option<Vec<Task>>,
    /// Wanted distribution over an attribute.
    pub spreads: Option<Vec<Spread>>,
    /// Volumes by name.
    pub volumes: Option<BTreeMap<String, VolumeRequest>>,
    /// How the client restarts failed tasks.
    pub restart_policy: Option<RestartPolicy>,
    /// What becomes of it when its node is out of reach.
    pub disconnect: Option<Disconnect>,
    /// How the servers replace failed allocations; none for system jobs.
    pub reschedule_policy: Option<ReschedulePolicy>,
    /// Shared disk.
    pub ephemeral_disk: Option<EphemeralDisk>,
    /// Rolling update; none for batch jobs.
    pub update: Option<UpdateStrategy>,
    /// How allocations leave a draining node; service jobs only.
    pub migrate: Option<MigrateStrategy>,
    /// At most one network, shared by all tasks.
    pub networks: Option<Vec<NetworkResource>>,
    /// Free-form labels.
    pub meta: Option<BTreeMap<String, String>>,
    /// Services of the group as a whole.
    pub services: Option<Vec<Service>>,
    /// Pause between leaving the catalog and the kill signal.
    pub shutdown_delay: Option<Span>,
    /// Time after which an allocation is ended.
    pub max_run_duration: Option<Span>,
    /// Ignored in favor of `disconnect`.
    pub stop_after_client_disconnect: Option<Span>,
    /// Ignored in favor of `disconnect`.
    pub max_client_disconnect: Option<Span>,
    /// How far others may change the count.
    pub scaling: Option<ScalingPolicy>,
    /// Which catalog its services are in.
    pub consul: Option<Consul>,
    /// Ignored in favor of `disconnect`.
    pub prevent_reschedule_on_lost: Option<bool>,
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
    /// `host`, `bridge`, `none` or `cni/NAME`.
    pub mode: String,
    /// Interface name.
    pub device: String,
    /// Range of the interface.
    #[serde(rename = "CIDR")]
    pub cidr: String,
    /// Address of the interface.
    #[serde(rename = "IP")]
    pub ip: String,
    /// How names are resolved inside.
    #[serde(rename = "DNS")]
    pub dns: Option<Dns>,
    /// Static ports.
    pub reserved_ports: Option<Vec<Port>>,
    /// Ports that the scheduler chooses.
    pub dynamic_ports: Option<Vec<Port>>,
    /// Name of the machine inside.
    pub hostname: String,
    /// Ignored, kept for old clients.
    #[serde(rename = "MBits")]
    pub mbits: Option<i64>,
    /// Options of a network plugin.
    #[serde(rename = "CNI")]
    pub cni: Option<Cni>,
}

/// One port of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    /// Name, unique in the group.
    pub label: String,
    /// Number; 0 until chosen.
    pub value: i64,
    /// Number inside the task's network; 0 is the same.
    pub to: i64,
    /// Which of the host's networks.
    pub host_network: String,
    /// Take the port though another has it.
    pub ignore_collision: bool,
}

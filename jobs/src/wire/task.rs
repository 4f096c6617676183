use super::{Affinity, NetworkResource, RestartPolicy, Service};
use crate::model::{
    Action, ChangeScript, Constraint, Consul, CsiPlugin, DispatchPayload, Numa, RequestedDevice,
    ScalingPolicy, Schedule, Secret, Span, Vault, VolumeMount, Wait, WorkloadIdentity,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One program of a task group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    /// Unique in the group.
    pub name: String,
    /// Which driver runs it.
    pub driver: String,
    /// Operating system user; empty is the driver's default.
    pub user: String,
    /// When it runs relative to the main tasks; none for a main task.
    pub lifecycle: Option<Lifecycle>,
    /// Driver options, checked by the driver on the client.
    pub config: Option<Map<String, Value>>,
    /// Hard requirements on the node.
    pub constraints: Option<Vec<Constraint>>,
    /// Soft preferences for nodes.
    pub affinities: Option<Vec<Affinity>>,
    /// Environment; values may hold `${…}` that the client resolves.
    pub env: Option<BTreeMap<String, String>>,
    /// Services of this task.
    pub services: Option<Vec<Service>>,
    /// What it needs.
    pub resources: Option<Resources>,
    /// The group's policy unless the task has its own.
    pub restart_policy: Option<RestartPolicy>,
    /// Free-form labels.
    pub meta: Option<BTreeMap<String, String>>,
    /// Time between the kill signal and the kill.
    pub kill_timeout: Option<Span>,
    /// Log rotation.
    pub log_config: Option<LogConfig>,
    /// Files to fetch before the start.
    pub artifacts: Option<Vec<Artifact>>,
    /// Secrets of another system that it may read.
    pub vault: Option<Vault>,
    /// Which catalog its services and templates speak with.
    pub consul: Option<Consul>,
    /// Files to render before the start.
    pub templates: Option<Vec<Template>>,
    /// Where the payload of a launch goes.
    pub dispatch_payload: Option<DispatchPayload>,
    /// Where it sees volumes of the group.
    pub volume_mounts: Option<Vec<VolumeMount>>,
    /// Volumes that it serves to others.
    #[serde(rename = "CSIPluginConfig", skip_serializing_if = "Option::is_none")]
    pub csi_plugin_config: Option<CsiPlugin>,
    /// When the leader ends, the rest of the group is stopped.
    pub leader: bool,
    /// Pause between leaving the catalog and the kill signal.
    pub shutdown_delay: Span,
    /// Signal name with `SIG`; empty is SIGINT.
    pub kill_signal: String,
    /// What it is to the mesh.
    pub kind: String,
    /// How far others may change its resources.
    pub scaling_policies: Option<Vec<ScalingPolicy>>,
    /// Values that it gets from stores of secrets.
    pub secrets: Option<Vec<Secret>>,
    /// The token that the servers know.
    pub identity: Option<WorkloadIdentity>,
    /// Further tokens.
    pub identities: Option<Vec<WorkloadIdentity>>,
    /// Commands that users may run inside it.
    pub actions: Option<Vec<Action>>,
    /// When it is paused.
    pub schedule: Option<Schedule>,
}

/// When a task runs relative to the main tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Lifecycle {
    /// `prestart`, `poststart` or `poststop`.
    pub hook: String,
    /// Keeps running beside the main tasks.
    pub sidecar: bool,
}

/// Rotation of a task's logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// Files kept per stream.
    pub max_files: Option<i64>,
    /// Size of one file in MB.
    #[serde(rename = "MaxFileSizeMB")]
    pub max_file_size_mb: Option<i64>,
    /// Ignored, kept for old clients.
    pub enabled: Option<bool>,
    /// True to keep no logs.
    pub disabled: Option<bool>,
}

/// A file or archive to fetch before a task starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Artifact {
    /// Where from; may hold `${…}`.
    pub getter_source: Option<String>,
    /// Options such as `checksum` and `archive`.
    pub getter_options: Option<BTreeMap<String, String>>,
    /// Request headers.
    pub getter_headers: Option<BTreeMap<String, String>>,
    /// `any`, `file` or `dir`.
    pub getter_mode: Option<String>,
    /// Skip certificate checks.
    pub getter_insecure: Option<bool>,
    /// Destination below the task directory.
    pub relative_dest: Option<String>,
    /// Give the files to the task's user.
    pub chown: bool,
}

/// A file rendered before a task starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Template {
    /// Template file.
    pub source_path: Option<String>,
    /// Destination below the task directory.
    pub dest_path: Option<String>,
    /// Template text.
    pub embedded_tmpl: Option<String>,
    /// What a change does: `noop`, `restart`, `signal` or `script`.
    pub change_mode: Option<String>,
    /// Command for `script`.
    pub change_script: Option<ChangeScript>,
    /// Signal for `signal`.
    pub change_signal: Option<String>,
    /// Render once, then stop watching.
    pub once: Option<bool>,
    /// Longest random pause before the change action.
    pub splay: Option<Span>,
    /// File mode in octal.
    pub perms: Option<String>,
    /// Owner of the file; −1 is the agent's user.
    pub uid: Option<i64>,
    /// Group of the file; −1 is the agent's group.
    pub gid: Option<i64>,
    /// Opens an action in the text.
    pub left_delim: Option<String>,
    /// Closes an action in the text.
    pub right_delim: Option<String>,
    /// Load the result into the environment.
    pub envvars: Option<bool>,
    /// Ignored, kept for old job files.
    pub vault_grace: Option<Span>,
    /// How long values must be calm before they are rendered.
    pub wait: Option<Wait>,
    /// A missing key of a map is an error.
    pub err_missing_key: Option<bool>,
}

/// What a task asks for, or the sum for an allocation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// CPU share in MHz.
    #[serde(rename = "CPU")]
    pub cpu: Option<i64>,
    /// Whole cores to reserve; 0 for none.
    pub cores: Option<i64>,
    /// Memory in MB.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: Option<i64>,
    /// Upper bound of memory in MB; 0 is `memory_mb`.
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: Option<i64>,
    /// Disk in MB, on the sum of an allocation only.
    #[serde(rename = "DiskMB")]
    pub disk_mb: Option<i64>,
    /// Networks in the old position, below the task.
    pub networks: Option<Vec<NetworkResource>>,
    /// Devices to reserve.
    pub devices: Option<Vec<RequestedDevice>>,
    /// Nearness of cores and devices.
    #[serde(rename = "NUMA")]
    pub numa: Option<Numa>,
    /// Size of the folder of secrets in MB.
    #[serde(rename = "SecretsMB")]
    pub secrets_mb: Option<i64>,
    /// Ignored, kept for old clients.
    #[serde(rename = "IOPS")]
    pub iops: Option<i64>,
}

use super::{Affinity, Constraint, NetworkResource, RestartPolicy, Service};
use crate::model::Span;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One program of a task group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    /// Unique in the group.
    pub name: Option<String>,
    /// Which driver runs it.
    pub driver: Option<String>,
    /// Operating system user; empty is the driver's default.
    pub user: Option<String>,
    /// Driver options, checked by the driver on the client.
    pub config: Option<Map<String, Value>>,
    /// Environment; values may hold `${…}` that the client resolves.
    pub env: Option<BTreeMap<String, String>>,
    /// Free-form labels.
    pub meta: Option<BTreeMap<String, String>>,
    /// When the leader ends, the rest of the group is stopped.
    pub leader: Option<bool>,
    /// When it runs relative to the main tasks; none for a main task.
    pub lifecycle: Option<Lifecycle>,
    /// What it needs.
    pub resources: Option<Resources>,
    /// The group's policy unless the task has its own.
    pub restart_policy: Option<RestartPolicy>,
    /// Hard requirements on the node.
    pub constraints: Option<Vec<Constraint>>,
    /// Soft preferences for nodes.
    pub affinities: Option<Vec<Affinity>>,
    /// Services of this task.
    pub services: Option<Vec<Service>>,
    /// Files to fetch before the start.
    pub artifacts: Option<Vec<Artifact>>,
    /// Files to render before the start.
    pub templates: Option<Vec<Template>>,
    /// Time between the kill signal and the kill.
    pub kill_timeout: Option<Span>,
    /// Signal name with `SIG`; empty is SIGINT.
    pub kill_signal: Option<String>,
    /// Pause between leaving the catalog and the kill signal.
    pub shutdown_delay: Option<Span>,
    /// Log rotation.
    pub log_config: Option<LogConfig>,
    /// Keys that are not modelled; validation refuses those that ask for something.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// When a task runs relative to the main tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Lifecycle {
    /// `prestart`, `poststart` or `poststop`.
    pub hook: Option<String>,
    /// Keeps running beside the main tasks.
    pub sidecar: Option<bool>,
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
    pub chown: Option<bool>,
}

/// A file rendered before a task starts. Accepted by the parser; drivers of this version refuse it.
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
    /// Signal for `signal`.
    pub change_signal: Option<String>,
    /// File mode in octal.
    pub perms: Option<String>,
    /// Load the result into the environment.
    pub envvars: Option<bool>,
    /// Longest random pause before the change action.
    pub splay: Option<Span>,
    /// Opens an action in the text.
    pub left_delim: Option<String>,
    /// Closes an action in the text.
    pub right_delim: Option<String>,
    /// Render once, then stop watching.
    pub once: Option<bool>,
    /// A missing key of a map is an error.
    pub err_missing_key: Option<bool>,
    /// Owner of the file; −1 is the agent's user.
    pub uid: Option<i64>,
    /// Group of the file; −1 is the agent's group.
    pub gid: Option<i64>,
    /// Keys that are not modelled; validation refuses those that ask for something.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
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
    /// Keys that are not modelled; validation refuses those that ask for something.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

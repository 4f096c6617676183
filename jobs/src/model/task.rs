use super::{Affinity, Constraint, Resources, RestartPolicy, ServiceSpec, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One program of a task group.
///
/// Source: jobs API, `Tasks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    /// Unique in the group.
    pub name: String,
    /// Which driver runs it.
    pub driver: String,
    /// Operating system user; empty is the driver's default.
    pub user: String,
    /// Driver options, checked by the driver on the client.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Environment; values may hold `${…}` that the client resolves.
    pub env: BTreeMap<String, String>,
    /// Its own labels; [`super::Job::meta_of`] has those of the job and the group too.
    pub meta: BTreeMap<String, String>,
    /// When the leader ends, the rest of the group is stopped.
    pub leader: bool,
    /// When it runs relative to the main tasks; none for a main task.
    pub lifecycle: Option<Lifecycle>,
    /// What it needs.
    pub resources: Resources,
    /// The group's policy unless the task has its own.
    pub restart_policy: Option<RestartPolicy>,
    /// Hard requirements on the node.
    pub constraints: Vec<Constraint>,
    /// Soft preferences for nodes.
    pub affinities: Vec<Affinity>,
    /// Services of this task.
    pub services: Vec<ServiceSpec>,
    /// Files to fetch before the start.
    pub artifacts: Vec<Artifact>,
    /// Files to render before the start.
    pub templates: Vec<Template>,
    /// Time between the kill signal and the kill.
    pub kill_timeout: Span,
    /// Signal name with `SIG`; empty is SIGINT.
    pub kill_signal: String,
    /// Pause between leaving the catalog and the kill signal.
    pub shutdown_delay: Span,
    /// Log rotation.
    pub log_config: LogConfig,
}

impl Task {
    /// True unless a lifecycle block makes it a prestart, poststart or poststop task.
    pub fn is_main(&self) -> bool {
        self.lifecycle.is_none()
    }
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// Files kept per stream.
    pub max_files: u32,
    /// Size of one file in MB.
    #[serde(rename = "MaxFileSizeMB")]
    pub max_file_size_mb: u32,
    /// True to keep no logs.
    pub disabled: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            max_files: 10,
            max_file_size_mb: 10,
            disabled: false,
        }
    }
}

/// A file or archive to fetch before a task starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Artifact {
    /// Where from; may hold `${…}`.
    pub getter_source: String,
    /// Options such as `checksum` and `archive`.
    pub getter_options: BTreeMap<String, String>,
    /// Request headers.
    pub getter_headers: BTreeMap<String, String>,
    /// `any`, `file` or `dir`.
    pub getter_mode: String,
    /// Skip certificate checks.
    pub getter_insecure: bool,
    /// Destination below the task directory.
    pub relative_dest: String,
    /// Give the files to the task's user.
    pub chown: bool,
}

/// A file rendered before a task starts. Accepted by the parser; drivers of this version refuse it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Template {
    /// Template file.
    pub source_path: String,
    /// Destination below the task directory.
    pub dest_path: String,
    /// Template text.
    pub embedded_tmpl: String,
    /// What a change does: `noop`, `restart`, `signal` or `script`.
    pub change_mode: String,
    /// Signal for `signal`.
    pub change_signal: String,
    /// File mode in octal.
    pub perms: String,
    /// Load the result into the environment.
    pub envvars: bool,
    /// Longest random pause before the change action.
    pub splay: Span,
    /// Opens an action in the text.
    pub left_delim: String,
    /// Closes an action in the text.
    pub right_delim: String,
    /// Render once, then stop watching.
    pub once: bool,
    /// A missing key of a map is an error.
    pub err_missing_key: bool,
    /// Owner of the file; −1 is the agent's user.
    pub uid: i64,
    /// Group of the file; −1 is the agent's group.
    pub gid: i64,
}

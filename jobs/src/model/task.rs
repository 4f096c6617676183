use super::{
    Action, Affinity, Constraint, Consul, CsiPlugin, DispatchPayload, FlatMap, Resources,
    RestartPolicy, ScalingPolicy, Schedule, Secret, ServiceSpec, Span, TaskName, Text, Vault,
    VolumeMount, WorkloadIdentity, is_default,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// TaskConfig of a driver by name.
pub type TaskConfig = FlatMap<Text, serde_json::Value>;

/// One program of a task group.
///
/// Source: jobs API, `Tasks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    /// Unique in the group.
    pub name: TaskName,
    /// Which driver runs it.
    pub driver: String,
    /// Operating system user; empty is the driver's default.
    pub user: String,
    /// Driver options, checked by the driver on the client.
    pub config: TaskConfig,
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
    /// What it is to the mesh; empty for an ordinary task.
    #[serde(skip_serializing_if = "is_default")]
    pub kind: Box<str>,
    /// Secrets of another system that it may read.
    #[serde(skip_serializing_if = "is_default")]
    pub vault: Option<Box<Vault>>,
    /// Which catalog its services and templates speak with.
    #[serde(skip_serializing_if = "is_default")]
    pub consul: Option<Box<Consul>>,
    /// Values that it gets from stores of secrets.
    #[serde(skip_serializing_if = "is_default")]
    pub secrets: Box<[Secret]>,
    /// The token that the servers know; none for one that says nothing beyond
    /// [`WorkloadIdentity::of_task`], which answers show.
    #[serde(skip_serializing_if = "is_default")]
    pub identity: Option<Box<WorkloadIdentity>>,
    /// Further tokens.
    #[serde(skip_serializing_if = "is_default")]
    pub identities: Box<[WorkloadIdentity]>,
    /// Commands that users may run inside it.
    #[serde(skip_serializing_if = "is_default")]
    pub actions: Box<[Action]>,
    /// When it is paused.
    #[serde(skip_serializing_if = "is_default")]
    pub schedule: Option<Box<Schedule>>,
    /// Volumes that it serves to others.
    #[serde(rename = "CSIPluginConfig", skip_serializing_if = "is_default")]
    pub csi_plugin_config: Option<Box<CsiPlugin>>,
    /// Where the payload of a launch goes.
    #[serde(skip_serializing_if = "is_default")]
    pub dispatch_payload: Option<Box<DispatchPayload>>,
    /// Where it sees volumes of the group.
    #[serde(skip_serializing_if = "is_default")]
    pub volume_mounts: Box<[VolumeMount]>,
    /// How far others may change its resources.
    #[serde(skip_serializing_if = "is_default")]
    pub scaling_policies: Box<[ScalingPolicy]>,
}

impl Task {
    /// True unless a lifecycle block makes it a prestart, poststart or poststop task.
    pub fn is_main(&self) -> bool {
        self.lifecycle.is_none()
    }

    /// Every identity of it, the default one first.
    pub fn all_identities(&self) -> impl Iterator<Item = &WorkloadIdentity> {
        self.identity.as_deref().into_iter().chain(&self.identities)
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
    /// TaskConfig such as `checksum` and `archive`.
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
    /// Owner of the file; the agent's user unless given.
    pub uid: Option<i64>,
    /// Group of the file; the agent's group unless given.
    pub gid: Option<i64>,
    /// Command for `script`.
    #[serde(skip_serializing_if = "is_default")]
    pub change_script: Option<Box<ChangeScript>>,
    /// How long values must be calm before they are rendered.
    #[serde(skip_serializing_if = "is_default")]
    pub wait: Option<Box<Wait>>,
}

/// The command that a change of a template runs inside the task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ChangeScript {
    /// Program.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Option<Vec<String>>,
    /// Time until it is ended.
    pub timeout: Option<Span>,
    /// A failure ends the task.
    pub fail_on_error: Option<bool>,
    /// Run it for the first rendering too.
    pub run_on_first_render: Option<bool>,
}

/// How long values must be calm before a template is rendered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Wait {
    /// At least.
    pub min: Option<Span>,
    /// At most, however often they change.
    pub max: Option<Span>,
}

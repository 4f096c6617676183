use super::Span;
use serde::{Deserialize, Serialize};

/// A volume that a group asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeRequest {
    /// Name in the group.
    pub name: String,
    /// `host` or `csi`.
    #[serde(rename = "Type")]
    pub volume_type: String,
    /// Name on the host, or id of the volume.
    pub source: String,
    /// No task may write to it.
    pub read_only: bool,
    /// The next allocation gets the same volume.
    pub sticky: bool,
    /// Who may read and write at once.
    pub access_mode: String,
    /// `file-system` or `block-device`.
    pub attachment_mode: String,
    /// How it is mounted; `csi` only.
    pub mount_options: Option<MountOptions>,
    /// The index of the allocation is part of the source.
    pub per_alloc: bool,
}

impl VolumeRequest {
    /// The name on the host for the allocation with that index.
    pub fn source_of(&self, index: Option<u32>) -> String {
        match index {
            Some(index) if self.per_alloc => format!("{}[{index}]", self.source),
            _ => self.source.clone(),
        }
    }
}

/// How a volume is mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountOptions {
    /// File system.
    #[serde(rename = "FSType")]
    pub fs_type: String,
    /// Options of the mount.
    pub mount_flags: Option<Vec<String>>,
}

/// Where a task sees a volume of its group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeMount {
    /// Name of the volume in the group.
    pub volume: Option<String>,
    /// Path in the task.
    pub destination: Option<String>,
    /// This task may not write to it.
    pub read_only: Option<bool>,
    /// `private`, `host-to-task` or `bidirectional`.
    pub propagation_mode: Option<String>,
    /// `z`, `Z` or nothing.
    #[serde(rename = "SELinuxLabel")]
    pub selinux_label: Option<String>,
}

/// A task that serves volumes to others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CsiPlugin {
    /// Id of the plugin.
    #[serde(rename = "ID")]
    pub id: String,
    /// `node`, `controller` or `monolith`.
    #[serde(rename = "Type")]
    pub plugin_type: String,
    /// Where the plugin finds its socket.
    pub mount_dir: String,
    /// Where the plugin mounts volumes.
    pub stage_publish_base_dir: String,
    /// Time until it must answer.
    pub health_timeout: Span,
}

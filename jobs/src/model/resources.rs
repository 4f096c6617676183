use super::{NetworkResource, Numa, RequestedDevice, is_default};
use serde::{Deserialize, Serialize};

/// What a task asks for, or the sum for an allocation.
///
/// Units: `cpu` is MHz, memory and disk are MB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// CPU share in MHz.
    #[serde(rename = "CPU")]
    pub cpu: i64,
    /// Whole cores to reserve; 0 for none.
    pub cores: i64,
    /// Memory in MB.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: i64,
    /// Upper bound of memory in MB; 0 is `memory_mb`.
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: i64,
    /// Disk in MB, on the sum of an allocation only.
    #[serde(rename = "DiskMB")]
    pub disk_mb: i64,
    /// Networks in the old position, below the task.
    pub networks: Vec<NetworkResource>,
    /// Devices to reserve.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Box<[RequestedDevice]>,
    /// Nearness of cores and devices.
    #[serde(rename = "NUMA", skip_serializing_if = "is_default")]
    pub numa: Option<Box<Numa>>,
    /// Size of the folder of secrets in MB; 0 is the default.
    #[serde(rename = "SecretsMB", skip_serializing_if = "is_default")]
    pub secrets_mb: i64,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu: 100,
            cores: 0,
            memory_mb: 300,
            memory_max_mb: 0,
            disk_mb: 0,
            networks: Vec::new(),
            devices: Box::default(),
            numa: None,
            secrets_mb: 0,
        }
    }
}

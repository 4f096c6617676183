use crate::model::{TaskName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Answer to `GET /v1/client/stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostStats {
    /// Memory of the machine.
    pub memory: HostMemory,
    /// One per core.
    #[serde(rename = "CPU")]
    pub cpu: Vec<HostCpu>,
    /// One per mounted device.
    pub disk_stats: Vec<HostDisk>,
    /// The disk below the allocation directories.
    pub alloc_dir_stats: HostDisk,
    /// Always empty: this version has no devices.
    pub device_stats: Vec<serde_json::Value>,
    /// Seconds.
    pub uptime: u64,
    /// MHz in use.
    #[serde(rename = "CPUTicksConsumed")]
    pub cpu_ticks_consumed: f64,
    /// When.
    pub timestamp: Timestamp,
}

/// Memory of a machine, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are those of the API and say it all")]
pub struct HostMemory {
    pub total: u64,
    pub available: u64,
    pub used: u64,
    pub free: u64,
}

/// One core, percent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are those of the API and say it all")]
pub struct HostCpu {
    #[serde(rename = "CPU")]
    pub cpu: String,
    pub user: f64,
    pub system: f64,
    pub idle: f64,
}

/// One disk; sizes in bytes, shares in percent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are those of the API and say it all")]
pub struct HostDisk {
    pub device: String,
    pub mountpoint: String,
    pub size: u64,
    pub used: u64,
    pub available: u64,
    pub used_percent: f64,
    pub inodes_used_percent: f64,
}

/// Answer to `GET /v1/client/allocation/:id/stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocResourceUsage {
    /// Sum over the tasks.
    pub resource_usage: ResourceUsage,
    /// Task name to its usage.
    pub tasks: BTreeMap<TaskName, TaskResourceUsage>,
    /// When.
    pub timestamp: Timestamp,
}

/// Usage of one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskResourceUsage {
    /// Sum over its processes.
    pub resource_usage: ResourceUsage,
    /// When.
    pub timestamp: Timestamp,
    /// Process id to its usage.
    pub pids: BTreeMap<String, ResourceUsage>,
}

/// What was used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ResourceUsage {
    /// Memory.
    pub memory_stats: MemoryStats,
    /// CPU.
    pub cpu_stats: CpuStats,
    /// Always empty: this version has no devices.
    pub device_stats: Vec<serde_json::Value>,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are those of the API and say it all")]
pub struct MemoryStats {
    #[serde(rename = "RSS")]
    pub rss: u64,
    pub cache: u64,
    pub swap: u64,
    pub usage: u64,
    pub max_usage: u64,
    pub kernel_usage: u64,
    pub kernel_max_usage: u64,
    pub mapped_file: u64,
    /// Which of them were measured: `RSS`, `Cache`, `Swap`, `Usage`, `Max Usage` …
    pub measured: Vec<String>,
}

/// CPU; ticks are MHz, shares are percent of one core.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are those of the API and say it all")]
pub struct CpuStats {
    pub system_mode: f64,
    pub user_mode: f64,
    pub total_ticks: f64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
    pub percent: f64,
    /// Which of them were measured: `Percent`, `System Mode`, `User Mode`, `Throttled Periods` …
    pub measured: Vec<String>,
}

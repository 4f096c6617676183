use super::Constraint;
use serde::{Deserialize, Serialize};

/// Devices that a task needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RequestedDevice {
    /// `type`, `vendor/type` or `vendor/type/model`.
    pub name: String,
    /// How many; 1 unless given.
    pub count: Option<u64>,
    /// Hard requirements on them.
    pub constraints: Option<Vec<Constraint>>,
    /// Soft preferences for them.
    pub affinities: Option<Vec<DeviceAffinity>>,
}

/// A soft preference for a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceAffinity {
    /// Left side, usually `${device.…}`.
    #[serde(rename = "LTarget")]
    pub l_target: String,
    /// Right side.
    #[serde(rename = "RTarget")]
    pub r_target: String,
    /// As of a constraint.
    pub operand: String,
    /// −100 to 100, not 0.
    pub weight: Option<i8>,
}

/// How near cores and devices of a task must be to each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Numa {
    /// `none`, `prefer` or `require`.
    pub affinity: String,
    /// Devices that count.
    pub devices: Option<Vec<String>>,
}

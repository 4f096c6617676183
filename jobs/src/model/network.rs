use super::is_default;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A network of a group or task: its mode and the ports it asks for or was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkResource {
    /// `host`, `bridge`, `none` or `cni/NAME`.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: String,
    /// Interface name.
    #[serde(skip_serializing_if = "is_default")]
    pub device: String,
    /// Range of the interface.
    #[serde(rename = "CIDR", skip_serializing_if = "is_default")]
    pub cidr: String,
    /// Address of the interface.
    #[serde(rename = "IP", skip_serializing_if = "is_default")]
    pub ip: String,
    /// Static ports.
    #[serde(skip_serializing_if = "is_default")]
    pub reserved_ports: Vec<Port>,
    /// Ports that the scheduler chooses.
    #[serde(skip_serializing_if = "is_default")]
    pub dynamic_ports: Vec<Port>,
    /// Ignored, kept for old clients.
    #[serde(rename = "MBits", skip_serializing_if = "is_default")]
    pub mbits: i64,
    /// How names are resolved inside.
    #[serde(rename = "DNS", skip_serializing_if = "is_default")]
    pub dns: Option<Box<Dns>>,
    /// Name of the machine inside.
    #[serde(skip_serializing_if = "is_default")]
    pub hostname: Box<str>,
    /// Options of a network plugin.
    #[serde(rename = "CNI", skip_serializing_if = "is_default")]
    pub cni: Option<Box<Cni>>,
}

/// One port of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    /// Name, unique in the group.
    pub label: String,
    /// Number; 0 until chosen.
    #[serde(skip_serializing_if = "is_default")]
    pub value: u16,
    /// Number inside the task's network; 0 is the same.
    #[serde(skip_serializing_if = "is_default")]
    pub to: i32,
    /// Which of the host's networks.
    #[serde(skip_serializing_if = "is_default")]
    pub host_network: String,
    /// Take the port though another has it.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_collision: bool,
}

/// How names are resolved inside a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Dns {
    /// Servers to ask.
    pub servers: Option<Vec<String>>,
    /// Domains to try behind short names.
    pub searches: Option<Vec<String>>,
    /// Options of the resolver.
    pub options: Option<Vec<String>>,
}

/// Options of a network plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cni {
    /// Arguments by name.
    pub args: Option<BTreeMap<String, String>>,
}

use super::is_default;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

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

/// A port of a node, on one of its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The address of the network that was asked for; none for the one that ports get otherwise.
    pub address: Option<IpAddr>,
    /// Number.
    pub port: u16,
}

impl HostPort {
    /// The port of a node whose ports are on `usual` unless they ask for a network.
    pub(crate) fn new(ip: &str, usual: &str, port: u16) -> Self {
        let is_usual = ip.is_empty() || ip == usual;
        Self {
            address: if is_usual { None } else { ip.parse().ok() },
            port,
        }
    }
}

/// A network of a node and its addresses, by the names that jobs ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeNetwork {
    /// Always `host`.
    pub mode: String,
    /// Interface name.
    pub device: String,
    /// Hardware address of the interface; empty when it is not known.
    pub mac_address: String,
    /// Mbit/s; 0 when it is not known.
    pub speed: u32,
    /// Addresses; of those with one name the first is what ports get.
    pub addresses: Vec<NodeAddress>,
}

/// An address of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeAddress {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Name that jobs ask for; `default` for the address that ports get otherwise.
    pub alias: String,
    /// Address.
    pub address: String,
    /// Ports that no job gets there, such as `22,80-90`.
    pub reserved_ports: String,
    /// Always empty.
    pub gateway: String,
}

/// A network of a node as its operator wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostNetwork {
    /// Name.
    pub name: String,
    /// Ranges that its addresses are in, with commas between them; empty for any.
    #[serde(rename = "CIDR")]
    pub cidr: String,
    /// Interface that has them; empty for any.
    pub interface: String,
    /// Ports that no job gets there, such as `22,80-90`.
    pub reserved_ports: String,
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

use super::{
    DrainStrategy, HostNetwork, HostPort, Index, LastDrain, NetworkResource, NodeAddress, NodeId,
    NodeName, NodeNetwork, Port, SecretId, Timestamp, UnixSeconds, is_default,
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeStatus {
    /// Registered, not ready.
    #[default]
    Initializing,
    /// Holds its stream.
    Ready,
    /// Its stream is gone for longer than its lease.
    Down,
}

impl NodeStatus {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Ready => "ready",
            Self::Down => "down",
        }
    }
}

/// Whether new allocations may be placed on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eligibility {
    /// They may.
    #[default]
    Eligible,
    /// They may not.
    Ineligible,
}

impl Eligibility {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eligible => "eligible",
            Self::Ineligible => "ineligible",
        }
    }
}

/// A machine that runs allocations. Source: nodes API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// UUID, kept in the client's data directory.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Known to the client and the servers only; blank in every answer.
    #[serde(rename = "SecretID")]
    pub secret_id: SecretId,
    /// Datacenter.
    pub datacenter: String,
    /// Name.
    pub name: NodeName,
    /// Address of its HTTP API, host:port.
    #[serde(rename = "HTTPAddr")]
    pub http_addr: String,
    /// Class, chosen by the operator.
    pub node_class: String,
    /// Pool.
    pub node_pool: String,
    /// Facts about the machine by name, such as `cpu.arch`.
    pub attributes: BTreeMap<String, String>,
    /// Operator's labels.
    pub meta: BTreeMap<String, String>,
    /// What it has.
    pub node_resources: NodeResources,
    /// What is kept back.
    pub reserved_resources: ReservedResources,
    /// Driver name to its state.
    pub drivers: BTreeMap<String, DriverInfo>,
    /// Directories that jobs may mount, by name.
    pub host_volumes: BTreeMap<String, HostVolume>,
    /// Networks that jobs may ask for, by name, as its operator wrote them.
    #[serde(skip_serializing_if = "is_default")]
    pub host_networks: BTreeMap<String, HostNetwork>,
    /// Where it is in its life. Writer: servers.
    pub status: NodeStatus,
    /// Why.
    pub status_description: String,
    /// Since when.
    pub status_updated_at: UnixSeconds,
    /// Whether it takes new allocations. Writer: operators.
    pub scheduling_eligibility: Eligibility,
    /// True while it is being emptied. Writer: servers.
    pub drain: bool,
    /// How it is being emptied; none while it is not. Writer: operators, and servers at its end.
    pub drain_strategy: Option<DrainStrategy>,
    /// The latest drain; none if there was none.
    pub last_drain: Option<LastDrain>,
    /// Newest last, at most [`Node::EVENTS_MAX`].
    pub events: Vec<NodeEvent>,
    /// Hash over what constraints can see, so that equal nodes are judged once.
    pub computed_class: String,
    /// Of a build for tests: what its agent, or an operator, says of it.
    #[cfg(feature = "next")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change.
    pub modify_index: Index,
}

impl Node {
    /// How many events are kept.
    pub const EVENTS_MAX: usize = 10;

    /// True when new allocations may be placed on it.
    pub fn is_ready(&self) -> bool {
        self.status == NodeStatus::Ready
            && self.scheduling_eligibility == Eligibility::Eligible
            && !self.drain
    }

    /// True when ports may ask for one of its networks by name.
    pub fn has_host_networks(&self) -> bool {
        !self.node_resources.node_networks.is_empty() || !self.host_networks.is_empty()
    }

    /// Takes the names of its networks away.
    pub fn forget_host_networks(&mut self) {
        self.node_resources.node_networks.clear();
        self.host_networks.clear();
    }

    /// What a target such as `${attr.kernel.name}` is here; a text without `${` is itself.
    pub(crate) fn resolve<'n>(&'n self, target: &'n str) -> Option<Cow<'n, str>> {
        let Some(name) = target.strip_prefix("${").and_then(|t| t.strip_suffix('}')) else {
            return Some(target.into());
        };
        match name {
            "node.unique.id" => Some(self.id.to_string().into()),
            "node.unique.name" => Some(self.name.as_str().into()),
            "node.datacenter" => Some((&self.datacenter).into()),
            "node.class" => Some((&self.node_class).into()),
            "node.pool" => Some((&self.node_pool).into()),
            _ => {
                let attribute = name
                    .strip_prefix("attr.")
                    .map(|key| self.attributes.get(key));
                let meta = || name.strip_prefix("meta.").map(|key| self.meta.get(key));
                attribute.or_else(meta)?.map(Into::into)
            }
        }
    }

    /// The address that ports get which ask for no network.
    pub(crate) fn usual_ip(&self) -> &str {
        let usual = self.node_resources.networks.first();
        usual.map_or("", |network| &network.ip)
    }

    /// The address that ports get which ask for the network of that name.
    pub(crate) fn ip_of(&self, host_network: &str) -> Result<&str, NoHostNetwork> {
        if host_network.is_empty() {
            return Ok(self.usual_ip());
        }
        let name = self.resolve(host_network).ok_or(NoHostNetwork::Template)?;
        if matches!(&*name, "" | "default") {
            return Ok(self.usual_ip());
        }
        let found = self.addresses().find(|address| address.alias == *name);
        match found {
            Some(address) => Ok(&address.address),
            None => Err(NoHostNetwork::Missing {
                name: name.into_owned(),
            }),
        }
    }

    /// Where a port would be here.
    pub(crate) fn host_port(&self, port: &Port) -> Result<HostPort, NoHostNetwork> {
        let ip = self.ip_of(&port.host_network)?;
        Ok(HostPort::new(ip, self.usual_ip(), port.value))
    }

    /// Every address that jobs may ask for by name.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &NodeAddress> {
        let networks = self.node_resources.node_networks.iter();
        networks.flat_map(|network| &network.addresses)
    }
}

/// Why a port cannot be on a network of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoHostNetwork {
    /// The node has nothing of what the name refers to.
    Template,
    /// It has no network of that name.
    Missing {
        /// The name, without references.
        name: String,
    },
}

/// What a node has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeResources {
    /// CPU.
    pub cpu: NodeCpu,
    /// Memory.
    pub memory: NodeMemory,
    /// Disk.
    pub disk: NodeDisk,
    /// Networks; the first one's address is where ports are bound.
    pub networks: Vec<NetworkResource>,
    /// Its networks by the names of their addresses; empty when no job can ask for one by name.
    #[serde(skip_serializing_if = "is_default")]
    pub node_networks: Vec<NodeNetwork>,
    /// First dynamic port.
    pub min_dynamic_port: u16,
    /// Last dynamic port.
    pub max_dynamic_port: u16,
}

/// CPU of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeCpu {
    /// MHz of all cores together.
    pub cpu_shares: i64,
    /// Cores.
    pub total_cpu_cores: u16,
    /// Numbers of the cores that may be reserved.
    pub reservable_cpu_cores: Vec<u16>,
}

/// Memory of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeMemory {
    /// MB.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: i64,
}

/// Disk of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeDisk {
    /// MB.
    #[serde(rename = "DiskMB")]
    pub disk_mb: i64,
}

/// What a node keeps back from allocations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReservedResources {
    /// CPU.
    pub cpu: super::AllocatedCpu,
    /// Memory.
    pub memory: NodeMemory,
    /// Disk.
    pub disk: NodeDisk,
    /// Ports.
    pub networks: ReservedNetworks,
}

/// Ports that a node keeps back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReservedNetworks {
    /// Such as `22,80,8500-8600`.
    pub reserved_host_ports: String,
}

/// A directory of a node that jobs may mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostVolume {
    /// Its name.
    pub name: String,
    /// Path on the node.
    pub path: String,
    /// No job may write to it.
    pub read_only: bool,
}

/// A driver of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverInfo {
    /// Facts by name.
    pub attributes: BTreeMap<String, String>,
    /// The machine has what it needs.
    pub detected: bool,
    /// It can start tasks.
    pub healthy: bool,
    /// Why.
    pub health_description: String,
    /// When that was found.
    #[serde(with = "super::rfc3339")]
    pub update_time: Timestamp,
}

/// Something that happened to a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeEvent {
    /// What.
    pub message: String,
    /// Where from: `Cluster`, `Driver` …
    pub subsystem: String,
    /// Facts by key.
    pub details: BTreeMap<String, String>,
    /// When.
    #[serde(with = "super::rfc3339")]
    pub timestamp: Timestamp,
    /// Index.
    pub create_index: Index,
}

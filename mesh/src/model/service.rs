//! One instance of a service.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AllocId, GroupName, Index, JobId, Namespace, NodeName, Role, ServiceId, ServiceName, TaskName,
};

/// Name of the service that the servers themselves are, and id of each instance of it.
pub const SERVERS: &str = "consul";

/// One instance of a service on a node.
///
/// Invariants:
/// 1. `id` is unique on `node`.
/// 2. A draining instance stays draining until it is deregistered.
/// 3. Identity is `node` and `id`: a change of tags, version or canary state is a change of the
///    same instance and keeps its checks' statuses.
///
/// Writer: the leader, on behalf of the allocation's node. The indexes and `draining` are written
/// by [`crate::state::State::apply`] only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Unique on the node.
    pub id: ServiceId,
    /// Name of the node that hosts the instance.
    pub node: NodeName,
    /// Service name, shared by all instances.
    pub name: ServiceName,
    /// IP address or host name; empty means the node's address.
    pub address: String,
    /// Port; 0 means none.
    pub port: u16,
    /// Ports by name, of which one, that of `port`, is the default; empty for an instance with one
    /// port or none.
    pub ports: Vec<ServicePort>,
    /// Path of a Unix socket that it listens on; empty for none.
    pub socket_path: String,
    /// Where it runs, when somebody said so.
    pub locality: Option<Box<Locality>>,
    /// Tags in the order and spelling of the registration; never sorted, rewritten or deduplicated.
    pub tags: Vec<String>,
    /// Free key-value pairs, ordered by key; may be empty.
    pub meta: BTreeMap<String, String>,
    /// Addresses by network tag; may be empty.
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// DNS and routing weight by health.
    pub weights: Weights,
    /// Whether the catalog's tags win over those of the agent that registered the instance.
    pub enable_tag_override: bool,
    /// What it is in the mesh; absent for an ordinary instance.
    pub role: Option<Box<Role>>,
    /// What runs behind the instance; absent for instances not started by a job.
    pub origin: Option<Origin>,
    /// Whether the instance is leaving: out of catalog, health, DNS and routes, row still counted.
    pub draining: bool,
    /// Log index at which the row was first written.
    pub create_index: Index,
    /// Log index of the last effective change of the row.
    pub modify_index: Index,
}

impl Service {
    /// Returns the key of the row.
    #[must_use]
    pub fn key(&self) -> ServiceKey {
        ServiceKey {
            node: self.node.clone(),
            id: self.id.clone(),
        }
    }

    /// True when views of the catalog show it: it is not draining, and its job does not keep it to
    /// itself.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        let is_private = self.origin.as_ref().is_some_and(|origin| origin.private);
        !self.draining && !is_private
    }
}

/// Key of a service instance; orders by node name, then by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceKey {
    /// Node name.
    pub node: NodeName,
    /// Instance id.
    pub id: ServiceId,
}

/// An address and port of an instance under one network tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// A port of an instance that has several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    /// Name, unique in the instance.
    pub name: String,
    /// Port.
    pub port: u16,
    /// Whether it is the one that those get who ask for none by name.
    pub is_default: bool,
}

/// Where an instance runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Locality {
    /// Region; may be empty.
    pub region: String,
    /// Zone of the region; may be empty.
    pub zone: String,
}

/// Relative share of an instance by its health; no unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weights {
    /// Weight while passing, at least 1.
    pub passing: u16,
    /// Weight while warning; 0 removes a warning instance from DNS.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            passing: 1,
            warning: 1,
        }
    }
}

/// The allocation behind an instance.
///
/// Shape: `task` is set for a service of a task and absent for one of the task group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// Id of the allocation.
    pub alloc_id: AllocId,
    /// Namespace of the job.
    pub namespace: Namespace,
    /// Id of the job.
    pub job_id: JobId,
    /// Version of the job that the allocation runs.
    pub job_version: u64,
    /// Name of the task group.
    pub task_group: GroupName,
    /// Name of the task that owns the service.
    pub task: Option<TaskName>,
    /// Whether the allocation is a canary that is not promoted yet.
    pub canary: bool,
    /// The share of requests that it gets as a canary, in millionths; none when it takes its turn
    /// with everybody else.
    pub share: Option<u32>,
    /// Whether the job keeps the service to itself: it is in no view of the catalog.
    pub private: bool,
}

//! A machine in the catalog.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Index, NodeId, NodeName};

/// A machine that hosts service instances.
///
/// Writer: the leader, when a node registers or its facts change. The indexes are written by
/// [`crate::state::State::apply`] only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Unique id of the machine (a UUID); survives a rename.
    pub id: NodeId,
    /// The name that keys the table.
    pub name: NodeName,
    /// IP address on which the node's services are reached by default.
    pub address: String,
    /// Datacenter that the node is in.
    pub datacenter: String,
    /// Free key-value pairs, ordered by key; may be empty.
    pub meta: BTreeMap<String, String>,
    /// Addresses by network tag (`lan`, `wan`, `lan_ipv4` …); may be empty.
    pub tagged_addresses: BTreeMap<String, String>,
    /// Log index at which the row was first written.
    pub create_index: Index,
    /// Log index of the last effective change of the row.
    pub modify_index: Index,
}

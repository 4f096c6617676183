use crate::model::{
    DriverInfo, Eligibility, EvalId, HostNetwork, HostVolume, Index, LastDrain, NodeId, NodeName,
    NodeResources, NodeStatus, ReservedResources, Resources, SecretId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One node as `GET /v1/node/:id` answers it: the row with its secret blanked, and the keys that
/// clients expect although this version has nothing to put there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// The row; `secret_id` is empty.
    #[serde(flatten)]
    pub row: crate::model::Node,
    /// Cgroup below which tasks run; empty when none is used.
    pub cgroup_parent: String,
    /// Always false: the HTTP API is plain in this version.
    #[serde(rename = "TLSEnabled")]
    pub tls_enabled: bool,
    /// Always empty.
    pub links: BTreeMap<String, String>,
    /// The old position of what a node has; always null.
    pub resources: Option<Resources>,
    /// The old position of what a node keeps back; always null.
    pub reserved: Option<Resources>,
    /// Those of the row, which has the key only with some.
    pub host_networks: BTreeMap<String, HostNetwork>,
    /// Always empty.
    #[serde(rename = "CSIControllerPlugins")]
    pub csi_controller_plugins: BTreeMap<String, serde_json::Value>,
    /// Always empty.
    #[serde(rename = "CSINodePlugins")]
    pub csi_node_plugins: BTreeMap<String, serde_json::Value>,
    /// 0 for no limit.
    pub node_max_allocs: u32,
    /// Always false.
    #[serde(rename = "GCVolumesOnNodeGC")]
    pub gc_volumes_on_node_gc: bool,
}

impl Node {
    /// The answer for a row.
    pub fn new(row: &crate::model::Node) -> Self {
        Self {
            row: crate::model::Node {
                secret_id: SecretId::default(),
                host_networks: BTreeMap::new(),
                ..row.clone()
            },
            host_networks: row.host_networks.clone(),
            ..Self::default()
        }
    }
}

/// One node in a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(
    missing_docs,
    reason = "the fields are those of the node, explained there"
)]
pub struct NodeListStub {
    /// Host part of the node's HTTP address.
    pub address: String,
    #[serde(rename = "ID")]
    pub id: NodeId,
    pub datacenter: String,
    pub name: NodeName,
    pub node_class: String,
    pub node_pool: String,
    /// Version of the agent.
    pub version: String,
    pub drain: bool,
    pub scheduling_eligibility: Eligibility,
    pub status: NodeStatus,
    pub status_description: String,
    pub drivers: BTreeMap<String, DriverInfo>,
    pub host_volumes: BTreeMap<String, HostVolume>,
    pub last_drain: Option<LastDrain>,
    /// Only when the caller said `os=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Only when the caller said `resources=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_resources: Option<NodeResources>,
    /// Only when the caller said `resources=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_resources: Option<ReservedResources>,
    pub create_index: Index,
    pub modify_index: Index,
}

/// What a list of nodes carries beyond the minimum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStubOptions {
    /// Add what the node has and keeps back (query parameter `resources`).
    pub resources: bool,
    /// Add the name of the operating system (query parameter `os`).
    pub os: bool,
}

/// The attribute that a list with `os=true` shows.
const OS_NAME: &str = "os.name";
/// The attribute that holds the agent's version.
const AGENT_VERSION: &str = "nomad.version";

impl NodeListStub {
    /// The list entry of a row.
    pub fn new(row: &crate::model::Node, options: NodeStubOptions) -> Self {
        let attribute = |name: &str| row.attributes.get(name).cloned().unwrap_or_default();
        Self {
            address: host(&row.http_addr).to_owned(),
            id: row.id,
            datacenter: row.datacenter.clone(),
            name: row.name.clone(),
            node_class: row.node_class.clone(),
            node_pool: row.node_pool.clone(),
            version: attribute(AGENT_VERSION),
            drain: row.drain,
            scheduling_eligibility: row.scheduling_eligibility,
            status: row.status,
            status_description: row.status_description.clone(),
            drivers: row.drivers.clone(),
            host_volumes: row.host_volumes.clone(),
            last_drain: row.last_drain.clone(),
            attributes: options
                .os
                .then(|| BTreeMap::from([(OS_NAME.to_owned(), attribute(OS_NAME))])),
            node_resources: options.resources.then(|| row.node_resources.clone()),
            reserved_resources: options.resources.then(|| row.reserved_resources.clone()),
            create_index: row.create_index,
            modify_index: row.modify_index,
        }
    }
}

/// The host of `host:port` or `[v6]:port`.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Body of `PUT /v1/node/:id/eligibility`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeEligibilityRequest {
    /// Node; the one of the path when empty.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// New value.
    pub eligibility: Eligibility,
}

/// Body of `PUT /v1/node/:id/drain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeDrainRequest {
    /// Node; the one of the path when empty.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// How it is emptied; none ends the drain.
    pub drain_spec: Option<DrainSpec>,
    /// When the drain ends, the node takes new allocations again.
    pub mark_eligible: bool,
    /// What is noted with it.
    pub meta: Option<BTreeMap<String, String>>,
}

/// How a node is emptied, as it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DrainSpec {
    /// How long allocations may take to leave, nanoseconds: 0 is for ever, and less is not at all.
    pub deadline: crate::model::Span,
    /// Allocations of system jobs stay.
    pub ignore_system_jobs: bool,
}

/// Answer to a write on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeUpdateResponse {
    /// Index of the node's change.
    pub node_modify_index: Index,
    /// Evaluations that it caused.
    #[serde(rename = "EvalIDs")]
    pub eval_ids: Vec<EvalId>,
    /// Index of those; 0 for none.
    pub eval_create_index: Index,
    /// Index of the write.
    pub index: Index,
}

/// A node pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodePool {
    /// Name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Labels.
    pub meta: BTreeMap<String, String>,
    /// How long identities of its nodes live; nodes get none here, which is 0.
    #[serde(rename = "NodeIdentityTTL")]
    pub node_identity_ttl: crate::model::Span,
    /// How its jobs are scheduled, when that differs from the rest.
    pub scheduler_configuration: Option<serde_json::Value>,
    /// Index of its first registration.
    pub create_index: Index,
    /// Index of its last change.
    pub modify_index: Index,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_never_shows_its_secret() {
        let row = crate::model::Node {
            id: NodeId::named("n1"),
            secret_id: "s3cret".to_owned().into(),
            http_addr: "10.0.0.5:4646".into(),
            ..Default::default()
        };
        let json = serde_json::to_value(Node::new(&row)).unwrap();
        assert_eq!(json["SecretID"], "");
        assert_eq!(json["Resources"], serde_json::Value::Null);
        assert!(json["NodeResources"].is_object());
        assert_eq!(json["HostNetworks"], serde_json::json!({}));
        let public = HostNetwork {
            name: "public".into(),
            cidr: "10.0.0.0/8".into(),
            ..HostNetwork::default()
        };
        let with_network = crate::model::Node {
            host_networks: [("public".into(), public)].into(),
            ..row.clone()
        };
        let json = serde_json::to_string(&Node::new(&with_network)).unwrap();
        assert_eq!(json.matches("\"HostNetworks\"").count(), 1, "{json}");
        assert!(json.contains("\"CIDR\":\"10.0.0.0/8\""), "{json}");
        let stub = NodeListStub::new(&row, NodeStubOptions::default());
        assert_eq!(stub.address, "10.0.0.5");
        assert!(!serde_json::to_string(&stub).unwrap().contains("s3cret"));
    }

    #[test]
    fn the_host_of_an_address_may_be_a_v6_one() {
        assert_eq!(host("[::1]:4646"), "::1");
        assert_eq!(host("n1"), "n1");
        assert_eq!(host(""), "");
    }
}

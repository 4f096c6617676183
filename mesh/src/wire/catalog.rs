//! Nodes and services as the catalog endpoints show them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::model::{
    Locality, Node, NodeId, NodeName, Service, ServiceAddress, ServiceId, ServiceName, ServicePort,
    Weights,
};
use crate::view::Instance;

/// An object without keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Empty {}

/// A node. Source: catalog API, "List Nodes".
///
/// Shape: the two maps are null when they have no entry.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogNode {
    /// Node id.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Node name.
    pub node: NodeName,
    /// IP address.
    pub address: String,
    /// Datacenter.
    pub datacenter: String,
    /// Addresses by network tag.
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    /// Metadata.
    pub meta: Option<BTreeMap<String, String>>,
    /// First write.
    pub create_index: u64,
    /// Last change.
    pub modify_index: u64,
}

impl From<&Node> for CatalogNode {
    fn from(node: &Node) -> Self {
        Self {
            id: node.id.clone(),
            node: node.name.clone(),
            address: node.address.clone(),
            datacenter: node.datacenter.clone(),
            tagged_addresses: or_null(&node.tagged_addresses),
            meta: or_null(&node.meta),
            create_index: node.create_index,
            modify_index: node.modify_index,
        }
    }
}

/// Turns an empty map into null.
fn or_null(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}

/// An address under a network tag.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaggedAddress {
    /// IP address or host name.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// Converts tagged addresses, keyed by network tag.
pub(super) fn tagged(
    addresses: &BTreeMap<String, ServiceAddress>,
) -> BTreeMap<String, TaggedAddress> {
    addresses
        .iter()
        .map(|(tag, at)| {
            (
                tag.clone(),
                TaggedAddress {
                    address: at.address.clone(),
                    port: at.port,
                },
            )
        })
        .collect()
}

/// A port of an instance that has several.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NamedPort {
    /// Name.
    pub name: String,
    /// Port.
    pub port: u16,
    /// Whether it is the one that those get who ask for none by name.
    pub default: bool,
}

/// Converts the ports of an instance.
pub(super) fn named(ports: &[ServicePort]) -> Vec<NamedPort> {
    let ports = ports.iter().map(|port| NamedPort {
        name: port.name.clone(),
        port: port.port,
        default: port.is_default,
    });
    ports.collect()
}

/// Where an instance runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LocalityEntry {
    /// Region.
    pub region: String,
    /// Zone of the region.
    pub zone: String,
}

/// Converts where an instance runs.
pub(super) fn located(locality: Option<&Locality>) -> Option<LocalityEntry> {
    locality.map(|locality| LocalityEntry {
        region: locality.region.clone(),
        zone: locality.zone.clone(),
    })
}

/// Weights by health.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WeightsEntry {
    /// While passing.
    pub passing: u16,
    /// While warning.
    pub warning: u16,
}

impl From<Weights> for WeightsEntry {
    fn from(weights: Weights) -> Self {
        Self {
            passing: weights.passing,
            warning: weights.warning,
        }
    }
}

/// Proxy settings.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Proxy {
    /// Of an instance that is no proxy.
    None(NoProxy),
    /// As registered.
    Of(Box<Value>),
}

/// Proxy settings of an instance that is no proxy.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NoProxy {
    /// Always empty.
    pub mesh_gateway: Empty,
    /// Always empty.
    pub expose: Empty,
}

impl Proxy {
    /// Those of an instance; nothing when it has none.
    pub(super) fn of(service: &Service) -> Option<Self> {
        let role = service.role.as_deref()?;
        let settings = serde_json::from_str(&role.proxy).ok()?;
        Some(Self::Of(Box::new(settings)))
    }

    fn shown(service: &Service) -> Self {
        Self::of(service).unwrap_or(Self::None(NoProxy::default()))
    }
}

/// Mesh settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Connect {
    /// Whether the instance speaks the mesh's TLS itself; absent unless it does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub native: bool,
}

impl Connect {
    pub(super) fn of(service: &Service) -> Self {
        let role = service.role.as_deref();
        Self {
            native: role.is_some_and(|role| role.is_native),
        }
    }
}

/// An instance with its node's facts. Source: catalog API, "List Nodes for Service".
///
/// Shape: `service_meta` and `service_tags` are empty rather than null; `service_tagged_addresses`
/// is absent when empty.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogService {
    /// Node id.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Node name.
    pub node: NodeName,
    /// Node address.
    pub address: String,
    /// Datacenter of the node.
    pub datacenter: String,
    /// Node addresses by network tag.
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    /// Node metadata.
    pub node_meta: Option<BTreeMap<String, String>>,
    /// What the instance is in the mesh; empty for an ordinary one.
    pub service_kind: String,
    /// Instance id.
    #[serde(rename = "ServiceID")]
    pub service_id: ServiceId,
    /// Service name.
    pub service_name: ServiceName,
    /// Tags as registered.
    pub service_tags: Vec<String>,
    /// Instance address; empty means the node's.
    pub service_address: String,
    /// Instance addresses by network tag.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub service_tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Weights by health.
    pub service_weights: WeightsEntry,
    /// Instance metadata.
    pub service_meta: BTreeMap<String, String>,
    /// Port.
    pub service_port: u16,
    /// Ports by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_ports: Vec<NamedPort>,
    /// Path of a Unix socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_socket_path: String,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_locality: Option<LocalityEntry>,
    /// Whether the tags of the catalog win over those of the agent.
    pub service_enable_tag_override: bool,
    /// Proxy settings.
    pub service_proxy: Proxy,
    /// Mesh settings.
    pub service_connect: Connect,
    /// First write.
    pub create_index: u64,
    /// Last change.
    pub modify_index: u64,
}

impl From<&Instance> for CatalogService {
    fn from(instance: &Instance) -> Self {
        let Instance { node, service, .. } = instance;
        Self {
            id: node.id.clone(),
            node: node.name.clone(),
            address: node.address.clone(),
            datacenter: node.datacenter.clone(),
            tagged_addresses: or_null(&node.tagged_addresses),
            node_meta: or_null(&node.meta),
            service_kind: service.kind().to_owned(),
            service_id: service.id.clone(),
            service_name: service.name.clone(),
            service_tags: service.tags.clone(),
            service_address: service.address.clone(),
            service_tagged_addresses: tagged(&service.tagged_addresses),
            service_weights: service.weights.into(),
            service_meta: service.meta.clone(),
            service_port: service.port,
            service_ports: named(&service.ports),
            service_socket_path: service.socket_path.clone(),
            service_locality: located(service.locality.as_deref()),
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: Proxy::shown(service),
            service_connect: Connect::of(service),
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }
}

/// An instance without its node. Source: catalog API, "Map of Services for Node".
///
/// Shape: `meta` is null when it has no entry; `tagged_addresses` and `kind` are absent when empty.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogServiceEntry {
    /// What the instance is in the mesh; empty for an ordinary one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Instance id.
    #[serde(rename = "ID")]
    pub id: ServiceId,
    /// Service name.
    pub service: ServiceName,
    /// Tags as registered.
    pub tags: Vec<String>,
    /// Instance address; empty means the node's.
    pub address: String,
    /// Instance addresses by network tag.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Instance metadata.
    pub meta: Option<BTreeMap<String, String>>,
    /// Port.
    pub port: u16,
    /// Ports by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NamedPort>,
    /// Path of a Unix socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<LocalityEntry>,
    /// Weights by health.
    pub weights: WeightsEntry,
    /// Whether the tags of the catalog win over those of the agent.
    pub enable_tag_override: bool,
    /// Proxy settings.
    pub proxy: Proxy,
    /// Mesh settings.
    pub connect: Connect,
    /// First write.
    pub create_index: u64,
    /// Last change.
    pub modify_index: u64,
}

impl From<&Service> for CatalogServiceEntry {
    fn from(service: &Service) -> Self {
        Self {
            kind: service.kind().to_owned(),
            id: service.id.clone(),
            service: service.name.clone(),
            tags: service.tags.clone(),
            address: service.address.clone(),
            tagged_addresses: tagged(&service.tagged_addresses),
            meta: or_null(&service.meta),
            port: service.port,
            ports: named(&service.ports),
            socket_path: service.socket_path.clone(),
            locality: located(service.locality.as_deref()),
            weights: service.weights.into(),
            enable_tag_override: service.enable_tag_override,
            proxy: Proxy::shown(service),
            connect: Connect::of(service),
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }
}

/// A node with its instances by id. Source: catalog API, "Map of Services for Node".
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogNodeServices {
    /// The node.
    pub node: CatalogNode,
    /// Its instances by id.
    pub services: BTreeMap<ServiceId, CatalogServiceEntry>,
}

/// A node with its instances as a list; both are null for an unknown node. Source: catalog API,
/// "List Services for Node".
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogNodeServiceList {
    /// The node.
    pub node: Option<CatalogNode>,
    /// Its instances by id.
    pub services: Option<Vec<CatalogServiceEntry>>,
}

//! What the agent endpoints show: the agent itself, its services and checks, the members.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Service, ServiceId, ServiceName};

use super::catalog::{
    Connect, LocalityEntry, NamedPort, Proxy, TaggedAddress, WeightsEntry, located, named, tagged,
};

/// A service on the answering agent. Source: agent API, "List Services".
///
/// Shape: `tags` and `meta` are empty rather than null; `tagged_addresses` is absent when empty,
/// what belongs to the mesh for ordinary services.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentService {
    /// What the instance is in the mesh.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Instance id.
    #[serde(rename = "ID")]
    pub id: ServiceId,
    /// Service name.
    pub service: ServiceName,
    /// Tags as registered.
    pub tags: Vec<String>,
    /// Metadata.
    pub meta: BTreeMap<String, String>,
    /// Port.
    pub port: u16,
    /// Ports by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NamedPort>,
    /// Address; empty means the node's.
    pub address: String,
    /// Path of a Unix socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// Addresses by network tag.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Weights by health.
    pub weights: WeightsEntry,
    /// Whether the tags of the catalog win over those of the agent.
    pub enable_tag_override: bool,
    /// Proxy settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Mesh settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<LocalityEntry>,
    /// Datacenter of the agent.
    pub datacenter: String,
}

impl AgentService {
    /// Converts a service of an agent in `datacenter`.
    #[must_use]
    pub fn new(service: &Service, datacenter: &str) -> Self {
        let connect = Connect::of(service);
        Self {
            kind: service.kind().to_owned(),
            proxy: Proxy::of(service),
            connect: connect.native.then_some(connect),
            id: service.id.clone(),
            service: service.name.clone(),
            tags: service.tags.clone(),
            meta: service.meta.clone(),
            port: service.port,
            ports: named(&service.ports),
            socket_path: service.socket_path.clone(),
            locality: located(service.locality.as_deref()),
            address: service.address.clone(),
            tagged_addresses: tagged(&service.tagged_addresses),
            weights: service.weights.into(),
            enable_tag_override: service.enable_tag_override,
            datacenter: datacenter.to_owned(),
        }
    }
}

/// The level of the original's API that is kept, which clients are told as its version.
pub const API_VERSION: &str = "1.22.0";
/// A time that nobody knows.
const NO_DATE: &str = "1970-01-01T00:00:01Z";
/// Longest body of a transaction and longest value of a key, bytes, as tools look them up.
const BODY_BYTES_MAX: u32 = 512 * 1024;

/// Who the answering agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentIdentity {
    /// Node id, a UUID.
    pub node_id: String,
    /// Node name.
    pub node_name: String,
    /// Datacenter.
    pub datacenter: String,
    /// Address that other machines reach the agent on.
    pub advertise_address: String,
    /// Port that members talk to each other on.
    pub member_port: u16,
    /// Whether the agent is a server.
    pub is_server: bool,
    /// Program version, for example `0.1.0`.
    pub version: String,
    /// Source revision the program was built from; may be empty.
    pub revision: String,
}

/// The agent's own facts. Source: agent API, "Read Configuration".
///
/// Shape: every top-level value is an object, or typed clients fail.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentSelf {
    /// The stable part of the configuration.
    pub config: AgentConfig,
    /// The part of the configuration that tools look at.
    pub debug_config: DebugConfig,
    /// Network coordinate: the origin, as none are estimated.
    pub coord: Coordinate,
    /// The agent as a member.
    pub member: AgentMember,
    /// Counters by subsystem, all values strings.
    pub stats: BTreeMap<String, BTreeMap<String, String>>,
    /// Metadata of the agent's node.
    pub meta: BTreeMap<String, String>,
}

/// The stable part of the agent's configuration.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentConfig {
    /// Datacenter.
    pub datacenter: String,
    /// Datacenter that leads a federation: the same.
    pub primary_datacenter: String,
    /// Node name.
    pub node_name: String,
    /// Node id.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Source revision.
    pub revision: String,
    /// Whether the agent is a server.
    pub server: bool,
    /// The level of the API, [`API_VERSION`].
    pub version: &'static str,
    /// When the program was built: not said.
    pub build_date: &'static str,
    /// Program version.
    pub trivet_version: String,
}

/// The part of the agent's configuration that tools look at.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DebugConfig {
    /// Address that other machines reach the agent on.
    #[serde(rename = "AdvertiseAddrLAN")]
    pub advertise_addr_lan: String,
    /// The same as `tcp://address:port`, with the port that members talk to each other on.
    #[serde(rename = "SerfAdvertiseAddrLAN")]
    pub serf_advertise_addr_lan: String,
    /// Datacenter.
    pub datacenter: String,
    /// Node id.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Node name.
    pub node_name: String,
    /// Whether the agent is a server.
    pub server_mode: bool,
    /// Longest value of a key, bytes.
    #[serde(rename = "KVMaxValueSize")]
    pub kv_max_value_size: u32,
    /// Longest body of a transaction, bytes.
    pub txn_max_req_len: u32,
    /// The level of the API, [`API_VERSION`].
    pub version: &'static str,
}

/// A network coordinate.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Coordinate {
    /// Position, seconds in each dimension.
    pub vec: [f64; 8],
    /// Confidence, no unit; high means unsure.
    pub error: f64,
    /// Offset, seconds.
    pub adjustment: f64,
    /// Access link delay, seconds.
    pub height: f64,
}

impl Default for Coordinate {
    /// Returns the coordinate of a machine that has measured nothing yet.
    fn default() -> Self {
        Self {
            vec: [0.0; 8],
            error: 1.5,
            adjustment: 0.0,
            height: 0.000_01,
        }
    }
}

/// Whether a member is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberStatus {
    /// Alive; 1 on the wire.
    Alive,
    /// Not reachable; 4 on the wire.
    Failed,
}

/// A member as the model knows it.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Who it is.
    pub identity: &'a AgentIdentity,
    /// Whether it is there.
    pub status: MemberStatus,
}

/// A member of the cluster. Source: agent API, "List Members".
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentMember {
    /// Node name.
    pub name: String,
    /// Address.
    pub addr: String,
    /// Port that members talk to each other on.
    pub port: u16,
    /// Facts by name; `role` is `consul` for a server and `node` for a client.
    pub tags: BTreeMap<String, String>,
    /// 1 alive, 4 failed.
    pub status: u8,
    /// Oldest membership protocol understood.
    pub protocol_min: u8,
    /// Newest membership protocol understood.
    pub protocol_max: u8,
    /// Membership protocol spoken.
    pub protocol_cur: u8,
    /// Oldest payload protocol understood.
    pub delegate_min: u8,
    /// Newest payload protocol understood.
    pub delegate_max: u8,
    /// Payload protocol spoken.
    pub delegate_cur: u8,
}

impl From<Member<'_>> for AgentMember {
    fn from(member: Member<'_>) -> Self {
        let Member { identity, status } = member;
        let role = if identity.is_server { "consul" } else { "node" };
        let tags = [
            ("acls", "0".to_owned()),
            ("build", format!("{API_VERSION}:{}", identity.revision)),
            ("dc", identity.datacenter.clone()),
            ("id", identity.node_id.clone()),
            ("port", identity.member_port.to_string()),
            ("raft_vsn", "3".to_owned()),
            ("role", role.to_owned()),
            ("segment", String::new()),
            ("trivet", identity.version.clone()),
            ("vsn", "2".to_owned()),
            ("vsn_max", "3".to_owned()),
            ("vsn_min", "2".to_owned()),
        ];
        Self {
            name: identity.node_name.clone(),
            addr: identity.advertise_address.clone(),
            port: identity.member_port,
            tags: tags
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            status: match status {
                MemberStatus::Alive => 1,
                MemberStatus::Failed => 4,
            },
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}

impl AgentSelf {
    /// Describes the agent; `stats` and `meta` as in the fields.
    #[must_use]
    pub fn new(
        identity: &AgentIdentity,
        stats: BTreeMap<String, BTreeMap<String, String>>,
        meta: BTreeMap<String, String>,
    ) -> Self {
        Self {
            config: AgentConfig {
                datacenter: identity.datacenter.clone(),
                primary_datacenter: identity.datacenter.clone(),
                node_name: identity.node_name.clone(),
                node_id: identity.node_id.clone(),
                revision: identity.revision.clone(),
                server: identity.is_server,
                version: API_VERSION,
                build_date: NO_DATE,
                trivet_version: identity.version.clone(),
            },
            debug_config: DebugConfig {
                advertise_addr_lan: identity.advertise_address.clone(),
                serf_advertise_addr_lan: member_address(identity),
                datacenter: identity.datacenter.clone(),
                node_id: identity.node_id.clone(),
                node_name: identity.node_name.clone(),
                server_mode: identity.is_server,
                kv_max_value_size: BODY_BYTES_MAX,
                txn_max_req_len: BODY_BYTES_MAX,
                version: API_VERSION,
            },
            coord: Coordinate::default(),
            member: Member {
                identity,
                status: MemberStatus::Alive,
            }
            .into(),
            stats,
            meta,
        }
    }
}

/// Where members talk to the agent.
fn member_address(identity: &AgentIdentity) -> String {
    let (host, port) = (&identity.advertise_address, identity.member_port);
    if host.contains(':') {
        format!("tcp://[{host}]:{port}")
    } else {
        format!("tcp://{host}:{port}")
    }
}

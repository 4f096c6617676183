use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The level of the original's API that this program keeps. Clients look at it before they use
/// what older servers do not have, so it stands wherever they look for the version of a server or
/// node; the program's own version stands beside it.
pub const API_VERSION: &str = "2.0.5";

/// The tag of a member with the version of the program itself.
pub const OWN_VERSION_TAG: &str = "trivet_version";

/// Answer to `GET /v1/agent/self`. Its own keys are lower case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentSelf {
    /// Free form; clients read `UI.ShowCLIHints`, `Version` and `Region`.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// The agent as a member; the default value on an agent that is no server.
    pub member: AgentMember,
    /// Section to its figures, all as text: `client`, `nomad`, `raft`, `serf`, `runtime`.
    pub stats: BTreeMap<String, BTreeMap<String, String>>,
}

/// Answer to `GET /v1/agent/members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServerMembers {
    /// Name of the answering server.
    pub server_name: String,
    /// Its region.
    pub server_region: String,
    /// Its datacenter.
    #[serde(rename = "ServerDC")]
    pub server_dc: String,
    /// Every server that it knows.
    pub members: Vec<AgentMember>,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentMember {
    /// `node.region`.
    pub name: String,
    /// Address without port.
    pub addr: String,
    /// Port of the membership protocol.
    pub port: u16,
    /// `alive`, `leaving`, `left` or `failed`.
    pub status: String,
    /// `role`, `region`, `dc`, `build`, `revision`, `vsn`, `raft_vsn`, `id`, `rpc_addr`, `port` (of
    /// RPC), `expect` or `bootstrap`.
    pub tags: BTreeMap<String, String>,
    /// Oldest protocol it speaks.
    pub protocol_min: u8,
    /// Newest protocol it speaks.
    pub protocol_max: u8,
    /// The protocol it uses.
    pub protocol_cur: u8,
    /// As `protocol_min`, for the layer above.
    pub delegate_min: u8,
    /// As `protocol_max`, for the layer above.
    pub delegate_max: u8,
    /// As `protocol_cur`, for the layer above.
    pub delegate_cur: u8,
}

/// Answer to `GET /v1/agent/health`: one entry per role that was asked for and exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentHealth {
    /// The client role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<RoleHealth>,
    /// The server role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<RoleHealth>,
}

/// Health of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleHealth {
    /// True when it does its work.
    pub ok: bool,
    /// `ok`, or why not.
    pub message: String,
}

/// Answer to `GET /v1/operator/raft/configuration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftConfiguration {
    /// Every server of the configuration.
    pub servers: Vec<RaftServer>,
    /// Index at which it took effect.
    pub index: u64,
}

/// One server of the Raft configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftServer {
    /// Id.
    #[serde(rename = "ID")]
    pub id: String,
    /// `node.region`, or `(unknown)`.
    pub node: String,
    /// RPC address, host:port.
    pub address: String,
    /// True for the leader.
    pub leader: bool,
    /// True when it votes.
    pub voter: bool,
    /// Version of the protocol.
    pub raft_protocol: String,
}

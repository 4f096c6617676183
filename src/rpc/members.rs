//! What servers tell each other of the servers.

use crate::message::RulesVersion;
use serde::{Deserialize, Serialize};

/// What a server says of itself, and others pass on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Id of its log, which it keeps over restarts.
    pub id: u64,
    /// Name of the agent.
    pub name: String,
    /// Region.
    pub region: String,
    /// Datacenter.
    pub datacenter: String,
    /// RPC address that others reach it at, host:port.
    pub address: String,
    /// Where it hears gossip, host:port; empty when it does not.
    pub gossip: String,
    /// Version of the program.
    pub version: String,
    /// The newest rules that it knows.
    pub rules: RulesVersion,
    /// How many servers it wants to begin with; 0 when it only joins others.
    pub expect: u32,
    /// The cluster that it belongs to; empty for none yet.
    pub cluster: String,
    /// It left, or an operator said so.
    pub has_left: bool,
    /// Its agent runs no tasks, so nobody but the servers tells the catalog of its node.
    pub serves_alone: bool,
}

/// A question for members, and its answer: both sides say what they know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Members {
    /// Who speaks.
    pub speaker: Member,
    /// Whom else it knows.
    pub others: Vec<Member>,
}

/// Asks a server to be of a cluster, before it gets anything of its log.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Admission {
    /// Id of the server that asks.
    pub by: u64,
    /// The cluster.
    pub cluster: String,
    /// The key that encrypts other keys, which every server of a cluster has.
    #[serde(with = "serde_bytes")]
    pub wrapping: Vec<u8>,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Admission({})", self.cluster)
    }
}

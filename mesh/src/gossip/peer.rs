//! A server as others hear of it.

use foca::Identity;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// By how much a server that was taken for dead is newer afterwards: more than what [`Peer::left`]
/// adds, so that it wins against an operator who said that it left.
const RENEWED_BY: u64 = 2;

/// What a server says of itself to servers of every region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Id of its log, which it keeps over restarts.
    pub id: u64,
    /// When it began to speak, milliseconds since 1970, and later after each time it was taken for
    /// dead: of two that have the same id, the later one counts.
    pub since: u64,
    /// Name of its agent.
    pub name: String,
    /// Region.
    pub region: String,
    /// Datacenter.
    pub datacenter: String,
    /// Version of the program.
    pub version: String,
    /// Where it hears gossip.
    pub address: SocketAddr,
    /// RPC address, host:port.
    pub rpc: String,
    /// It left, or an operator said so.
    #[serde(default)]
    pub has_left: bool,
}

impl Peer {
    /// The same server after it left.
    pub(super) fn left(&self) -> Self {
        Self {
            since: self.since.saturating_add(1),
            has_left: true,
            ..self.clone()
        }
    }
}

impl Identity for Peer {
    type Addr = u64;

    fn renew(&self) -> Option<Self> {
        Some(Self {
            since: self.since.saturating_add(RENEWED_BY),
            ..self.clone()
        })
    }

    fn addr(&self) -> u64 {
        self.id
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        self.since > other.since
    }
}

//! What stands in the files of the log: forms of our own, so that the files do not change when the
//! Raft library does.

use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, Membership, StoredMembership, Vote};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use super::types::{Batch, ServerNode, Types};

/// A place in the log: whose term, and which entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) term: u64,
    pub(super) leader: u64,
    pub(super) index: u64,
}

/// Bytes of a position in a record.
pub(super) const POSITION_BYTES: usize = 24;

impl Position {
    pub(super) fn to_bytes(self) -> [u8; POSITION_BYTES] {
        let mut bytes = [0; POSITION_BYTES];
        for (at, word) in [self.term, self.leader, self.index].into_iter().enumerate() {
            bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// None when `bytes` is too short.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            term: word(0)?,
            leader: word(8)?,
            index: word(16)?,
        })
    }
}

impl From<LogId<u64>> for Position {
    fn from(id: LogId<u64>) -> Self {
        Self {
            term: id.leader_id.term,
            leader: id.leader_id.node_id,
            index: id.index,
        }
    }
}

impl From<Position> for LogId<u64> {
    fn from(position: Position) -> Self {
        let leader = CommittedLeaderId::new(position.term, position.leader);
        Self::new(leader, position.index)
    }
}

/// Whom this server voted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredVote {
    pub(super) term: u64,
    pub(super) candidate: u64,
    /// A quorum did too.
    pub(super) committed: bool,
}

/// Bytes of a vote in a record.
pub(super) const VOTE_BYTES: usize = 17;

impl StoredVote {
    pub(super) fn to_bytes(self) -> [u8; VOTE_BYTES] {
        let mut bytes = [0; VOTE_BYTES];
        bytes[..8].copy_from_slice(&self.term.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.candidate.to_le_bytes());
        bytes[16] = u8::from(self.committed);
        bytes
    }

    /// None when `bytes` is too short.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            term: word(0)?,
            candidate: word(8)?,
            committed: *bytes.get(16)? != 0,
        })
    }
}

impl From<&Vote<u64>> for StoredVote {
    fn from(vote: &Vote<u64>) -> Self {
        Self {
            term: vote.leader_id.term,
            candidate: vote.leader_id.node_id,
            committed: vote.committed,
        }
    }
}

impl From<StoredVote> for Vote<u64> {
    fn from(vote: StoredVote) -> Self {
        if vote.committed {
            Self::new_committed(vote.term, vote.candidate)
        } else {
            Self::new(vote.term, vote.candidate)
        }
    }
}

/// Who votes, as it stands in an entry or a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Voters {
    /// Where it stands in the log; none before the first.
    pub(super) position: Option<Position>,
    /// One set of ids, or two while it changes.
    pub(super) configs: Vec<BTreeSet<u64>>,
    /// Id to RPC address.
    pub(super) addresses: BTreeMap<u64, String>,
    /// Id to name; empty in what builds wrote that ran one server.
    pub(super) names: BTreeMap<u64, String>,
    /// The cluster; empty in what builds wrote that ran one server.
    pub(super) cluster: String,
}

impl Voters {
    pub(super) fn new(
        position: Option<Position>,
        membership: &Membership<u64, ServerNode>,
    ) -> Self {
        let nodes = || membership.nodes();
        Self {
            position,
            configs: membership.get_joint_config().clone(),
            addresses: nodes()
                .map(|(id, node)| (*id, node.address.clone()))
                .collect(),
            names: nodes().map(|(id, node)| (*id, node.name.clone())).collect(),
            cluster: nodes()
                .map(|(_, node)| node.cluster.clone())
                .find(|cluster| !cluster.is_empty())
                .unwrap_or_default(),
        }
    }

    pub(super) fn membership(self) -> Membership<u64, ServerNode> {
        let Self {
            configs,
            addresses,
            mut names,
            cluster,
            ..
        } = self;
        let nodes: BTreeMap<u64, ServerNode> = addresses
            .into_iter()
            .map(|(id, address)| {
                let node = ServerNode {
                    address,
                    name: names.remove(&id).unwrap_or_default(),
                    cluster: cluster.clone(),
                };
                (id, node)
            })
            .collect();
        Membership::new(configs, nodes)
    }
}

impl From<&StoredMembership<u64, ServerNode>> for Voters {
    fn from(stored: &StoredMembership<u64, ServerNode>) -> Self {
        Self::new(stored.log_id().map(Position::from), stored.membership())
    }
}

impl From<Voters> for StoredMembership<u64, ServerNode> {
    fn from(voters: Voters) -> Self {
        Self::new(voters.position.map(LogId::from), voters.membership())
    }
}

/// What an entry says, MessagePack after its position.
#[derive(Serialize, Deserialize)]
enum Body {
    /// Nothing: a new leader takes over.
    Blank,
    /// Commands.
    Commands(Batch),
    /// Who votes from here on.
    Voters(Voters),
}

/// The bytes of an entry in the log.
pub(super) fn encode_entry(entry: &Entry<Types>) -> io::Result<Vec<u8>> {
    let position = Position::from(entry.log_id);
    let body = match &entry.payload {
        EntryPayload::Blank => Body::Blank,
        // Commands are shared, so this copies little.
        EntryPayload::Normal(batch) => Body::Commands(batch.clone()),
        EntryPayload::Membership(membership) => Body::Voters(Voters::new(None, membership)),
    };
    let mut bytes = position.to_bytes().to_vec();
    rmp_serde::encode::write_named(&mut bytes, &body).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Reads what [`encode_entry`] wrote.
pub(super) fn decode_entry(bytes: &[u8]) -> io::Result<Entry<Types>> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let (position, body) = Position::from_bytes(bytes)
        .zip(bytes.get(POSITION_BYTES..))
        .ok_or_else(|| invalid("an entry is too short".into()))?;
    let body = rmp_serde::from_slice(body).map_err(|error| {
        invalid(format!(
            "entry {} holds something that this version of trivet does not know ({error}); run the \
             version that wrote it, or a newer one",
            position.index
        ))
    })?;
    Ok(Entry {
        log_id: position.into(),
        payload: match body {
            Body::Blank => EntryPayload::Blank,
            Body::Commands(batch) => EntryPayload::Normal(batch),
            Body::Voters(voters) => EntryPayload::Membership(voters.membership()),
        },
    })
}

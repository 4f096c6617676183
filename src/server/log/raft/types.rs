//! What the Raft library needs to know of our entries.

use bytes::Bytes;
use jobs::model::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, sync::Arc};

use super::carried::Carried;
use crate::state::{Command, Outcome, Row};

openraft::declare_raft_types!(
    /// Types of the one Raft group.
    pub(super) Types:
        D = Batch,
        R = Outcomes,
        NodeId = u64,
        Node = ServerNode,
        SnapshotData = Carried,
);

/// A server of the group, as it stands in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ServerNode {
    /// RPC address, host:port.
    pub(crate) address: String,
    /// Name of its agent; empty when nobody said it yet.
    pub(crate) name: String,
    /// The cluster that the group is; empty when the group has no name yet.
    pub(crate) cluster: String,
}

/// One log entry: the commands that were waiting while the entry before it was written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Batch {
    /// When it was formed; never below that of the entry before.
    pub(super) now: Timestamp,
    /// In order.
    pub(super) proposals: Vec<Proposal>,
}

/// What became of each command of a batch, in order; empty for entries without commands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcomes(pub(super) Vec<Outcome>);

/// A command together with its encoded form, so that it is encoded once and measured exactly.
///
/// The decoded form is taken out by apply, so that a log entry that stays readable costs only its
/// bytes.
#[derive(Clone)]
pub(crate) struct Proposal {
    encoded: Bytes,
    decoded: Arc<Mutex<Option<Box<Command>>>>,
    rows: Box<[Row]>,
}

impl Proposal {
    /// Encodes a command.
    pub(crate) fn new(command: Command) -> Result<Self, rmp_serde::encode::Error> {
        Ok(Self {
            encoded: rmp_serde::to_vec_named(&command)?.into(),
            rows: command.versioned_rows().into(),
            decoded: Arc::new(Mutex::new(Some(Box::new(command)))),
        })
    }

    /// Bytes in the log.
    pub(crate) fn len(&self) -> usize {
        self.encoded.len()
    }

    /// The rows whose versions it makes; at most one such command per row is in an entry.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The command; decoded again when it was taken before.
    pub(super) fn take(&self) -> Result<Command, rmp_serde::decode::Error> {
        match self.decoded.lock().take() {
            Some(command) => Ok(*command),
            None => rmp_serde::from_slice(&self.encoded),
        }
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.encoded.len())
    }
}

impl Serialize for Proposal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encoded)
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let encoded = serde_bytes::ByteBuf::deserialize(deserializer)?.into_vec();
        let command: Command = rmp_serde::from_slice(&encoded).map_err(D::Error::custom)?;
        Ok(Self {
            encoded: encoded.into(),
            decoded: Arc::new(Mutex::new(Some(Box::new(command)))),
            rows: Box::default(),
        })
    }
}

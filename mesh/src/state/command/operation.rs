//! The operations that a transaction has, and what becomes of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Check, Index, KvEntry, Node, Service, SessionId};
use crate::state::Rejected;

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// On a key.
    Key(KeyOperation),
    /// On a node.
    Node(Box<NodeOperation>),
    /// On an instance of a service.
    Service(Box<ServiceOperation>),
    /// On a check.
    Check(Box<CheckOperation>),
}

/// What to do with a node, an instance or a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowVerb {
    /// Write it.
    Set,
    /// Write it when it has that version; 0 for none yet.
    Cas,
    /// Read it; it must exist.
    #[default]
    Get,
    /// Remove it.
    Delete,
    /// Remove it when it has that version.
    DeleteCas,
}

/// An operation on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeOperation {
    /// What to do.
    pub verb: RowVerb,
    /// The node; `modify_index` is the version to compare with. It is found by its id, if one is
    /// given, when it is read.
    pub node: Node,
    /// Whether the node stays as it is, because an agent looks after it.
    pub keep: bool,
}

/// An operation on an instance of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceOperation {
    /// What to do.
    pub verb: RowVerb,
    /// The instance; `modify_index` is the version to compare with.
    pub service: Service,
}

/// An operation on a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckOperation {
    /// What to do.
    pub verb: RowVerb,
    /// The check; `modify_index` is the version to compare with.
    pub check: Check,
}

/// An operation on a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyOperation {
    /// What to do.
    pub verb: KeyVerb,
    /// The key, or the start of the keys.
    pub key: String,
    /// The value to write.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// The flags to write.
    pub flags: u64,
    /// The version to compare with.
    pub index: Index,
    /// Id of the session that locks, unlocks or is compared with; absent when none was named.
    #[serde(with = "crate::model::or_none")]
    pub session: Option<SessionId>,
}

/// What to do with a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyVerb {
    /// Write it.
    Set,
    /// Write it when it has that version.
    Cas,
    /// Write and lock it.
    Lock,
    /// Write and unlock it.
    Unlock,
    /// Read it; it must exist.
    #[default]
    Get,
    /// Read it; it need not exist.
    GetOrEmpty,
    /// Read every key that starts so.
    GetTree,
    /// It must have that version.
    CheckIndex,
    /// That session must hold it.
    CheckSession,
    /// It must not exist.
    CheckNotExists,
    /// Delete it.
    Delete,
    /// Delete it when it has that version.
    DeleteCas,
    /// Delete every key that starts so.
    DeleteTree,
}

impl KeyVerb {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_read(self) -> bool {
        match self {
            Self::Get
            | Self::GetOrEmpty
            | Self::GetTree
            | Self::CheckIndex
            | Self::CheckSession
            | Self::CheckNotExists => true,
            Self::Set
            | Self::Cas
            | Self::Lock
            | Self::Unlock
            | Self::Delete
            | Self::DeleteCas
            | Self::DeleteTree => false,
        }
    }
}

impl Operation {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            Self::Key(operation) => operation.verb.is_read(),
            Self::Node(operation) => operation.verb == RowVerb::Get,
            Self::Service(operation) => operation.verb == RowVerb::Get,
            Self::Check(operation) => operation.verb == RowVerb::Get,
        }
    }
}

/// What an operation gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationResult {
    /// An entry as it is after the operation; without its value unless the operation reads.
    Key(Arc<KvEntry>),
    /// A node as it is after the operation.
    Node(Arc<Node>),
    /// An instance as it is after the operation.
    Service(Arc<Service>),
    /// A check as it is after the operation, with the tags of its instance.
    Check(Arc<Check>, Vec<String>),
}

/// An operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationFailure {
    /// Its place in the transaction, from 0.
    pub ordinal: usize,
    /// Why it failed.
    pub failure: Failure,
}

/// Why an operation failed. The texts are those of the transaction API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The key to be written has another version.
    #[error("failed to set key {key:?}, index is stale")]
    StaleSet {
        /// The key.
        key: String,
    },
    /// The key to be deleted has another version.
    #[error("failed to delete key {key:?}, index is stale")]
    StaleDelete {
        /// The key.
        key: String,
    },
    /// Another session holds the key.
    #[error("failed to lock key {key:?}, lock is already held")]
    Held {
        /// The key.
        key: String,
    },
    /// The session that held the key was ended a moment ago.
    #[error("failed to lock key {key:?} due to lock delay")]
    Delayed {
        /// The key.
        key: String,
    },
    /// The session does not hold the key.
    #[error("failed to unlock key {key:?}, lock isn't held, or is held by another session")]
    NotHeld {
        /// The key.
        key: String,
    },
    /// A lock is to be taken or released, but for no session.
    #[error("missing session")]
    MissingSession,
    /// There is no such session.
    #[error("invalid session {id:?}")]
    UnknownSession {
        /// Id.
        id: SessionId,
    },
    /// There is no such key.
    #[error("key {key:?} doesn't exist")]
    Missing {
        /// The key.
        key: String,
    },
    /// There is such a key.
    #[error("key {key:?} exists")]
    Exists {
        /// The key.
        key: String,
    },
    /// The key has another version.
    #[error("failed index check for key {key:?}, current modify index {actual} != {expected}")]
    Index {
        /// The key.
        key: String,
        /// Its version.
        actual: Index,
        /// The version asked for.
        expected: Index,
    },
    /// Another session, or none, holds the key.
    #[error("failed session check for key {key:?}, current session {actual:?} != {expected:?}")]
    Session {
        /// The key.
        key: String,
        /// Id of its holder; empty for none.
        actual: SessionId,
        /// The id asked for.
        expected: SessionId,
    },
    /// There is no such row.
    #[error("{row} doesn't exist")]
    NoRow {
        /// Which, in words.
        row: String,
    },
    /// The row to be written has another version.
    #[error("failed to set {row}, index is stale")]
    StaleRow {
        /// Which, in words.
        row: String,
    },
    /// The row to be removed has another version, or does not exist.
    #[error("failed to delete {row}, index is stale")]
    StaleRemoval {
        /// Which, in words.
        row: String,
    },
    /// The node that the row is to be on does not exist.
    #[error("Missing node registration")]
    MissingNode,
    /// The instance that the check is of does not exist.
    #[error("Missing service registration")]
    MissingService,
    /// The operation is refused by itself.
    #[error("{0}")]
    Refused(Box<Rejected>),
}

//! The replicated catalog: tables in persistent maps, changed only by commands from the log.
//!
//! [`State::apply`] carries out one [`Command`]; [`State::snapshot`] is a cheap clone that shares
//! structure. The catalog tables themselves are a [`crate::view::View`], whose indexes watchers
//! compare.

mod command;
mod kv;
mod saved;
mod sessions;
mod snapshot;
mod transaction;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    CheckId, CheckKey, Index, NodeId, NodeName, QueryId, ServiceId, ServiceName, SessionId,
    Timestamp,
};
use crate::view::{Change, Table};

pub use command::{
    CheckOperation, CheckResult, Command, CreateSession, DeleteConfigEntry, DeleteKey,
    DeletePreparedQuery, Deregister, DeregisterService, DestroySession, DrainService, Failure,
    KeyCondition, KeyOperation, KeyVerb, NodeOperation, Operation, OperationFailure,
    OperationResult, PutConfigEntry, PutKey, PutPreparedQuery, Register, RegisterService,
    RemoveNode, RestoreCatalog, RowVerb, RunTransaction, ServiceOperation, SetAuthority,
    SetRouteOverrides, SetSplit, UpdateChecks, UpsertNode,
};
pub use kv::Tombstone;
pub use saved::{Loading, SavedRow};
pub use snapshot::Snapshot;

/// Largest number of checks of one service instance, or of node-level checks in one registration.
pub const CHECKS_PER_REGISTRATION_MAX: usize = 64;
/// Largest number of tags of one service instance.
pub const TAGS_PER_SERVICE_MAX: usize = 256;
/// Largest number of metadata pairs of a node or a service instance.
pub const META_PAIRS_MAX: usize = 256;
/// Largest number of results in one [`UpdateChecks`].
pub const CHECK_RESULTS_PER_COMMAND_MAX: usize = 10_000;
/// Longest route override text, bytes.
pub const ROUTE_OVERRIDES_BYTES_MAX: usize = 512 * 1024;
/// Largest number of splits.
pub const SPLITS_MAX: usize = 10_000;
/// Largest number of configuration entries.
pub const CONFIG_ENTRIES_MAX: usize = 10_000;
/// Longest configuration entry, bytes.
pub const CONFIG_ENTRY_BYTES_MAX: usize = 64 * 1024;
/// Largest number of prepared queries.
pub const PREPARED_QUERIES_MAX: usize = 10_000;
/// Longest value of a key, bytes.
pub const KV_VALUE_BYTES_MAX: usize = 512 * 1024;
/// Longest key, bytes.
pub const KEY_BYTES_MAX: usize = 8 * 1024;
/// Largest number of operations of one [`RunTransaction`].
pub const OPERATIONS_MAX: usize = 128;
/// Largest number of sessions.
pub const SESSIONS_MAX: usize = 100_000;
/// Longest time for which a key cannot be locked after its session ended.
pub const LOCK_DELAY_MAX: Duration = Duration::from_mins(1);
/// Longest node name, service name, service id, check id or tag, bytes.
pub const NAME_BYTES_MAX: usize = 2048;

/// When a command takes effect. Identical on every server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Place of the entry in the log.
    pub index: Index,
    /// Proposer's time.
    #[serde(rename = "now_ns")]
    pub now: Timestamp,
}

/// What a command changed; everything is empty when it changed nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Tables with at least one changed row.
    pub tables: BTreeSet<Table>,
    /// Names of services whose instances, checks or host nodes changed.
    pub services: BTreeSet<ServiceName>,
    /// Names of nodes whose row, services or checks changed.
    pub nodes: BTreeSet<NodeName>,
    /// Keys whose entry changed or went.
    pub keys: BTreeSet<String>,
    /// Ids of sessions that began or ended.
    pub sessions: BTreeSet<SessionId>,
    /// Whether the certificate authority changed.
    pub authority: bool,
    /// The rows of the view that changed, in order: what a view has to carry out to follow.
    pub changes: Vec<Change>,
    /// What the operations of a [`RunTransaction`] gave, in their order; operations that remove
    /// something give nothing.
    pub results: Vec<OperationResult>,
    /// Reported results for checks that do not exist (any more); they were ignored.
    pub unknown_checks: Vec<CheckKey>,
}

impl Applied {
    /// Whether the command left every row as it was.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.tables.is_empty()
            && self.keys.is_empty()
            && self.sessions.is_empty()
            && !self.authority
    }
}

/// The noun that a [`Rejected`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noun {
    /// Id of a node.
    NodeId,
    /// Name of a node.
    NodeName,
    /// Id of a service instance.
    ServiceId,
    /// Name of a service.
    ServiceName,
    /// Id of a check.
    CheckId,
    /// A tag of a service instance, or its tags.
    Tag,
    /// Metadata of a node or service instance.
    Meta,
    /// Checks in one registration.
    Check,
    /// Results in one [`UpdateChecks`].
    CheckResult,
    /// Bytes of the route overrides.
    RouteOverrides,
    /// Route of a split.
    Route,
    /// Splits of all routes.
    Split,
    /// A key of the key-value store.
    Key,
    /// The value of a key.
    Value,
    /// Operations in one [`RunTransaction`].
    Operation,
    /// Id of a session, or all sessions.
    Session,
    /// Kind of a configuration entry.
    ConfigKind,
    /// Name of a configuration entry.
    ConfigName,
    /// A configuration entry, or all of them.
    ConfigEntry,
    /// The certificate authority.
    Authority,
    /// Id or name of a prepared query, or all of them.
    PreparedQuery,
}

impl std::fmt::Display for Noun {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::NodeId => "node id",
            Self::NodeName => "node name",
            Self::ServiceId => "service id",
            Self::ServiceName => "service name",
            Self::CheckId => "check id",
            Self::Tag => "tag",
            Self::Meta => "metadata",
            Self::Check => "check",
            Self::CheckResult => "check result",
            Self::RouteOverrides => "route overrides",
            Self::Route => "route",
            Self::Split => "split",
            Self::Key => "key",
            Self::Value => "value",
            Self::Operation => "operation",
            Self::Session => "session",
            Self::ConfigKind => "kind of a configuration entry",
            Self::ConfigName => "name of a configuration entry",
            Self::ConfigEntry => "configuration entry",
            Self::Authority => "certificate authority",
            Self::PreparedQuery => "prepared query",
        })
    }
}

/// Why a command was not carried out; nothing was changed. An outcome, equal on every server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejected {
    /// A name or id is empty.
    #[error("{noun} is empty")]
    Empty {
        /// What is empty.
        noun: Noun,
    },
    /// A name or text is too long.
    #[error("{noun} has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// What is too long.
        noun: Noun,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// There are too many of something in one command.
    #[error("{count} of {noun} in one command, at most {count_max} are allowed")]
    TooMany {
        /// What there are too many of.
        noun: Noun,
        /// How many there are.
        count: usize,
        /// The limit.
        count_max: usize,
    },
    /// Two checks of one registration have the same id, or another instance has the id already.
    #[error("check id `{id}` on node `{node}` is taken")]
    CheckIdTaken {
        /// Name of the node.
        node: NodeName,
        /// The id.
        id: CheckId,
    },
    /// A service names a node that is not registered.
    #[error("node `{node}` is not registered")]
    UnknownNode {
        /// Name of the node.
        node: NodeName,
    },
    /// A node that is alive has the name already, under another id.
    #[error("node name `{name}` is taken by living node `{id}`")]
    NodeNameTaken {
        /// The name.
        name: NodeName,
        /// Id of the node that has it.
        id: NodeId,
    },
    /// A split has no share, or more than all.
    #[error("a share of {share_millionths} millionths is not above 0 and at most a million")]
    ShareOutOfRange {
        /// The share.
        share_millionths: u32,
    },
    /// A check-and-set write expected another version.
    #[error("expected version {expected}, but it is {actual}")]
    IndexMismatch {
        /// Version that the writer expected.
        expected: Index,
        /// Version that is stored.
        actual: Index,
    },
    /// Another session holds the key.
    #[error("key `{key}` is locked by another session")]
    KeyLocked {
        /// The key.
        key: String,
    },
    /// A session that held the key was ended by others a moment ago.
    #[error("key `{key}` cannot be locked yet: the session that held it was ended")]
    LockDelayed {
        /// The key.
        key: String,
    },
    /// The session does not hold the key.
    #[error("key `{key}` is not locked by session `{session}`")]
    KeyNotHeld {
        /// The key.
        key: String,
        /// Id of the session.
        session: SessionId,
    },
    /// A check names an instance that is not registered.
    #[error("service `{id}` is not registered on node `{node}`")]
    UnknownService {
        /// Name of the node.
        node: NodeName,
        /// Id of the instance.
        id: ServiceId,
    },
    /// An allocation's instance or check changes with its allocation only.
    #[error("`{id}` on node `{node}` belongs to an allocation")]
    OfAllocation {
        /// Name of the node.
        node: NodeName,
        /// Id of the instance or check.
        id: String,
    },
    /// There is no session of this id.
    #[error("session `{id}` does not exist")]
    UnknownSession {
        /// The id.
        id: SessionId,
    },
    /// A session of this id exists already.
    #[error("session id `{id}` is taken")]
    SessionIdTaken {
        /// The id.
        id: SessionId,
    },
    /// A session names a check that its node does not have.
    #[error("check `{id}` is not registered on node `{node}`")]
    UnknownCheck {
        /// Name of the node.
        node: NodeName,
        /// Id of the check.
        id: CheckId,
    },
    /// A session names a check that is critical.
    #[error("check `{id}` on node `{node}` is critical")]
    CheckCritical {
        /// Name of the node.
        node: NodeName,
        /// Id of the check.
        id: CheckId,
    },
    /// There is no prepared query of this id.
    #[error("prepared query `{id}` does not exist")]
    UnknownPreparedQuery {
        /// The id.
        id: QueryId,
    },
    /// Another prepared query answers to the name.
    #[error("name `{name}` is that of another prepared query")]
    QueryNameTaken {
        /// The name.
        name: String,
    },
    /// Operations of a transaction failed, in their order; none was carried out.
    #[error("{} operations of the transaction failed", failures.len())]
    Operations {
        /// Which, and why.
        failures: Vec<OperationFailure>,
    },
}

/// The catalog as one replica holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    current: Snapshot,
}

impl State {
    /// Takes over a snapshot, for example one that another replica sent.
    #[must_use]
    pub fn restore(snapshot: Snapshot) -> Self {
        Self { current: snapshot }
    }

    /// Carries out one command of the log.
    ///
    /// A command that changes nothing leaves every index as it is. Several commands may share a
    /// stamp; stamps must not go backwards.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the command does not fit the current state; nothing is changed then.
    pub fn apply(&mut self, at: Stamp, command: Command) -> Result<Applied, Rejected> {
        command.apply(&mut self.current, at)
    }

    /// Returns the tables as they are now; a cheap clone that shares structure.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.current.clone()
    }

    /// Returns the tables as they are now, borrowed.
    #[must_use]
    pub fn current(&self) -> &Snapshot {
        &self.current
    }
}

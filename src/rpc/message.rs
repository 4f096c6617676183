//! What servers and clients say to each other over one long-lived stream.
//!
//! Bodies are MessagePack with field names; unknown fields are ignored and missing ones take their
//! default, so that versions can be mixed during an upgrade.

use crate::{
    traffic::Traffic,
    watched::{Content, Subject},
};
use jobs::model::{AllocId, Allocation, Index, Job, Node, TaskName};
use jobs::state::AllocUpdate;
use mesh::local::Difference;
use mesh::model::CheckId;
use mesh::view::{Change, View};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// From an agent to a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToServer {
    /// First message of a stream.
    Hello(Box<Hello>),
    /// Renews the lease; sent every third of it.
    Heartbeat,
    /// Something to write to the log; answered by [`ToClient::Committed`] or [`ToClient::Refused`]
    /// with the same number.
    Report {
        /// Counts up per agent process.
        number: u64,
        /// What.
        report: Report,
    },
    /// What this agent's DNS view and proxy table show. Sent when a catalog message asks for it,
    /// and when other instances are busy than before.
    Confirmed(Confirmation),
    /// Asks for [`ToClient::Drained`] with the same number once every data plane with a live lease
    /// has confirmed `index` and none is busy with any of `instances`.
    Await {
        /// Counts up per agent process.
        number: u64,
        /// The entry in which the instances left.
        index: Index,
        /// Service ids.
        instances: Vec<String>,
    },
    /// Asks for [`ToClient::Watched`] with the same number: at once, and at every change until
    /// [`ToServer::Unwatch`].
    Watch {
        /// Counts up per agent process.
        number: u64,
        /// Of what.
        subject: Subject,
    },
    /// Ends what [`ToServer::Watch`] began.
    Unwatch {
        /// Number of the question.
        number: u64,
    },
    /// What the agent's ingress counted in an interval. Sent at the end of each, also if nothing
    /// happened in it, to servers that take it ([`ToClient::Welcome`]).
    Traffic(Traffic),
}

/// How far the speaker was when it spoke: the later of two is the one with the higher term, then
/// the one with the higher index. Whoever holds a later list or confirmation ignores an older one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Term in which the server spoke.
    pub term: u64,
    /// The last entry in what was said.
    pub index: Index,
}

/// Number of the rules by which catalog rows are derived from allocations; both ends of a stream
/// have to go by the same. A message without it comes from a build that knows the first only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RulesVersion(pub u32);

impl Default for RulesVersion {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for RulesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who speaks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Id of this agent's data plane, new at each start of the process.
    pub agent_id: String,
    /// Version of the program.
    pub version: String,
    /// The newest rules that it can derive instances by.
    pub rules: RulesVersion,
    /// The node, when this agent runs tasks.
    pub node: Option<Node>,
    /// True when this agent answers DNS or carries traffic, so that drains wait for it.
    pub data_plane: bool,
    /// Streams that this process opened before; of two, the one with the higher number lives.
    pub stream: u64,
    /// The last entry that this data plane has confirmed; 0 when it serves nothing yet.
    pub confirmed: Index,
    /// What the agent still holds from an earlier stream.
    pub held: Held,
    /// True when this agent has an ingress: it sends [`ToServer::Traffic`], as often as
    /// [`ToClient::Count`] asks.
    pub counts: bool,
    /// Name of the server that runs in the same process; none without one.
    pub server: Option<String>,
    /// The region of the agent; empty when it does not say.
    pub region: String,
}

/// What an agent holds, so that a server sends only what came later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// The history that the indexes below belong to, from [`ToClient::Welcome`]; 0 for none.
    pub history: u64,
    /// The catalog is complete up to here; 0 for none.
    pub catalog: Index,
    /// The node's allocations are complete up to here; 0 for none.
    pub allocs: Index,
}

/// Something that a client writes to the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// The node changed.
    Node(Box<Node>),
    /// Allocations changed.
    Allocs(Vec<AllocUpdate>),
    /// Checks changed status or output.
    Checks(Vec<CheckReport>),
    /// What was registered with this agent differs from the catalog.
    Local(Difference),
    /// Take the instances of an allocation (or of one of its tasks) out of DNS and routes, because
    /// it is about to be stopped or restarted here.
    Withdraw {
        /// Allocation.
        alloc_id: AllocId,
        /// Task; none for all of the allocation.
        task: Option<TaskName>,
    },
}

/// A changed check.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckReport {
    /// Check id, as [`crate`] derives it from the allocation.
    pub check_id: CheckId,
    /// `passing`, `warning` or `critical`.
    pub status: String,
    /// Output, already cut to its limit.
    pub output: String,
}

/// From a server to an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToClient {
    /// Answers [`ToServer::Hello`].
    Welcome {
        /// Lease in milliseconds.
        lease_ms: u64,
        /// Which history this server can continue; see [`Held`].
        history: u64,
        /// The rules that the cluster goes by; when they change, the stream ends.
        #[serde(default)]
        rules: RulesVersion,
        /// The server takes [`ToServer::Traffic`].
        #[serde(default)]
        takes_traffic: bool,
        /// RPC addresses of servers that the agent may go to as well.
        #[serde(default)]
        servers: Vec<String>,
    },
    /// From now on an interval of [`ToServer::Traffic`] is so long; a second until this is said on
    /// a stream. Sent to agents that count.
    Count {
        /// Milliseconds.
        interval_ms: u64,
    },
    /// Answers [`ToServer::Hello`] when the agent cannot be registered; the stream ends.
    Rejected {
        /// Why.
        reason: String,
    },
    /// A whole catalog; replaces the agent's replica. To be confirmed.
    Catalog {
        /// What it holds.
        at: Position,
        /// The catalog.
        view: Box<View>,
    },
    /// What changed in the catalog after what was sent before.
    CatalogDelta {
        /// The last entry in it.
        at: Position,
        /// Changes of one or more entries, in order; entries that changed nothing are left out.
        entries: Vec<CatalogEntry>,
        /// An instance leaves by these changes: confirm that nothing new is sent to it.
        confirm: bool,
    },
    /// Allocations of this node that are new or changed by a server.
    Allocs {
        /// Up to where it holds everything.
        at: Position,
        /// Ids of all allocations that the servers know of this node; what else it has, it stops
        /// and cleans up. None: only the allocations named below changed.
        known: Option<Vec<AllocId>>,
        /// New or changed.
        assignments: Vec<Assignment>,
        /// Forgotten by the servers: stop and clean up.
        removed: Vec<AllocId>,
    },
    /// A report is in the log.
    Committed {
        /// Number of the report.
        number: u64,
        /// Its index.
        index: Index,
    },
    /// A report was not taken.
    Refused {
        /// Number of the report.
        number: u64,
        /// Why.
        reason: String,
        /// Sending it again can help.
        retry: bool,
    },
    /// Answers [`ToServer::Await`].
    Drained {
        /// Number of the question.
        number: u64,
    },
    /// Answers [`ToServer::Watch`].
    Watched {
        /// Number of the question.
        number: u64,
        /// What there is.
        content: Content,
    },
}

/// What one log entry changed in the catalog.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// Its index.
    pub index: Index,
    /// The rows, in order.
    pub changes: Vec<Change>,
}

/// How far a data plane has followed the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confirmation {
    /// Term and routing-table index: no new request goes to an instance that left at or before it.
    pub at: Position,
    /// Service ids of instances that left and still have requests in flight, sorted.
    pub busy: Vec<String>,
}

/// An allocation with the version of the job that it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// The row; `job` inside it is empty on the wire.
    pub alloc: Allocation,
    /// Its job.
    pub job: Arc<Job>,
}

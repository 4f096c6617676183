//! What servers and clients say to each other over one long-lived stream.
//!
//! Bodies are MessagePack with field names; unknown fields are ignored and missing ones take their
//! default, so that versions can be mixed during an upgrade.

use jobs::model::{AllocId, Allocation, Index, Job, Node};
use jobs::state::AllocUpdate;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// From an agent to a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToServer {
    /// First message of a stream.
    Hello(Box<Hello>),
    /// Renews the lease; sent every third of it.
    Heartbeat,
    /// Something to write to the log; answered by [`ToClient::Committed`] or [`ToClient::Refused`] with
    /// the same number.
    Report {
        /// Counts up per agent process.
        number: u64,
        /// What.
        report: Report,
    },
    /// This agent's DNS view and proxy table show everything up to `index`.
    Confirmed(Confirmation),
}

/// Who speaks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Id of this agent's data plane, new at each start of the process.
    pub agent_id: String,
    /// Version of the program.
    pub version: String,
    /// The node, when this agent runs tasks.
    pub node: Option<Node>,
    /// True when this agent answers DNS or carries traffic, so that drains wait for it.
    pub data_plane: bool,
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
    /// Take the instances of an allocation (or of one of its tasks) out of DNS and routes, because it is
    /// about to be stopped or restarted here.
    Withdraw {
        /// Allocation.
        alloc_id: AllocId,
        /// Task; none for all of the allocation.
        task: Option<String>,
    },
}

/// A changed check.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckReport {
    /// Check id, as [`crate::rpc`] derives it from the allocation.
    pub check_id: String,
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
    },
    /// Answers [`ToServer::Hello`] when the agent cannot be registered; the stream ends.
    Rejected {
        /// Why.
        reason: String,
    },
    /// A whole catalog; replaces the agent's replica.
    Catalog {
        /// Index.
        index: Index,
        /// The catalog.
        state: Box<mesh::state::Snapshot>,
    },
    /// One log entry's changes of the catalog, in order.
    CatalogDelta {
        /// When they took effect.
        at: mesh::state::Stamp,
        /// The changes; empty when the entry touched other tables only.
        commands: Vec<mesh::state::Command>,
    },
    /// Allocations of this node that are new or changed by a server.
    Allocs {
        /// Index.
        index: Index,
        /// True when `assignments` is everything that this node should know.
        complete: bool,
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
    /// What every data plane with a live lease has confirmed: the lowest index, and whatever is busy at
    /// any of them.
    Drained(Confirmation),
}

/// How far a data plane has followed the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confirmation {
    /// Routing-table index: no new request goes to an instance that left at or before it.
    pub index: Index,
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

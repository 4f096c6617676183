//! The replicated log: durable entries, snapshots and the batching proposer.
//!
//! Nothing else names the Raft library. This version runs one voter; the connection to others says
//! that they cannot be reached.

mod log_store;
mod network;
mod proposer;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod tests;
mod types;

use openraft::{BasicNode, SnapshotPolicy};
use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use super::{
    super::state::{Command, Outcome},
    propose::ProposeError,
    published::Published,
};
use crate::sys;
use jobs::model::Index;
use log_store::LogStore;
use network::NoPeers;
use snapshot::SnapshotFile;
use state_machine::StateMachine;
use types::Types;

/// The one voter.
const NODE_ID: u64 = 1;
/// How long the start may take until this server leads.
const LEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Entries between two snapshots.
const SNAPSHOT_ENTRIES: u64 = 8192;
/// Entries kept before a snapshot's end.
const KEPT_ENTRIES: u64 = 128;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files cannot be read or written.
    #[error("cannot open the log in `{directory}`: {source}")]
    Files {
        /// Where.
        directory: String,
        /// Why.
        source: io::Error,
    },
    /// The machine gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The library refused to start.
    #[error("cannot start the log: {reason}")]
    Library {
        /// Why.
        reason: String,
    },
}

/// Where the log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// This server leads.
    pub is_leader: bool,
    /// Term.
    pub term: u64,
    /// Last entry in the log.
    pub last_log_index: Index,
    /// Last entry that the state holds.
    pub applied_index: Index,
    /// Last entry of the last snapshot; 0 for none.
    pub snapshot_index: Index,
    /// Last entry that was removed; 0 for none.
    pub purged_index: Index,
}

/// A voter of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// RPC address.
    pub address: String,
    /// It leads.
    pub is_leader: bool,
}

/// The running log.
#[derive(Clone)]
pub(crate) struct Raft {
    library: openraft::Raft<Types>,
    queue: proposer::Queue,
}

impl std::fmt::Debug for Raft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raft")
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

impl Raft {
    /// Opens the log in `directory` and leads; everything that was ever acknowledged is applied when
    /// this returns.
    pub(crate) async fn start(
        directory: &Path,
        address: &str,
        published: Arc<Published>,
    ) -> Result<Self, StartError> {
        let files = |source| StartError::Files {
            directory: directory.display().to_string(),
            source,
        };
        // It holds the nodes' secrets and the environment of every task.
        sys::files::create_dir(directory, 0o700).map_err(files)?;
        let log = LogStore::open(&directory.join("log.redb"))
            .await
            .map_err(files)?;
        let file = SnapshotFile::new(directory.to_owned());
        let machine = StateMachine::load(file, Arc::clone(&published)).map_err(files)?;
        let config = openraft::Config {
            cluster_name: "trivet".into(),
            heartbeat_interval: 250,
            election_timeout_min: 1000,
            election_timeout_max: 2000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_ENTRIES),
            max_in_snapshot_log_to_keep: KEPT_ENTRIES,
            // One voter has nobody to send heartbeats to, and elects itself below.
            enable_heartbeat: false,
            ..openraft::Config::default()
        };
        let config = config.validate().map_err(|error| library(&error))?;
        let log_bytes = log.appended_bytes();
        let library = openraft::Raft::new(NODE_ID, Arc::new(config), NoPeers, log, machine)
            .await
            .map_err(|error| library(&error))?;
        lead(&library, address).await?;
        let queue = proposer::start(library.clone(), log_bytes, published);
        Ok(Self { library, queue })
    }

    /// Writes a command; answers when it is durable and applied.
    pub(crate) async fn propose(&self, command: Command) -> Result<(Index, Outcome), ProposeError> {
        self.queue.propose(command).await
    }

    /// Returns once everything that was acknowledged anywhere before this call is in the state here.
    pub(crate) async fn read_barrier(&self) -> Result<(), ProposeError> {
        match self.library.ensure_linearizable().await {
            Ok(_) => Ok(()),
            Err(error) if error.forward_to_leader::<BasicNode>().is_some() => {
                Err(ProposeError::NotLeader)
            }
            Err(_) => Err(ProposeError::Stopped),
        }
    }

    /// Resolves with the reason when the log cannot be written any more; it does not recover by itself.
    pub(crate) async fn broken(&self) -> String {
        let mut metrics = self.library.metrics();
        match metrics.wait_for(|now| now.running_state.is_err()).await {
            Ok(now) => match &now.running_state {
                Err(fatal) => fatal.to_string(),
                Ok(()) => String::new(),
            },
            Err(_) => "its task is gone".into(),
        }
    }

    /// Where the log stands.
    pub(crate) fn metrics(&self) -> Metrics {
        let watched = self.library.metrics();
        let metrics = watched.borrow();
        Metrics {
            is_leader: metrics.current_leader == Some(NODE_ID),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or_default(),
            applied_index: metrics.last_applied.map_or(0, |id| id.index),
            snapshot_index: metrics.snapshot.map_or(0, |id| id.index),
            purged_index: metrics.purged.map_or(0, |id| id.index),
        }
    }

    /// The voters.
    pub(crate) fn configuration(&self) -> Vec<Voter> {
        let watched = self.library.metrics();
        let metrics = watched.borrow();
        metrics
            .membership_config
            .nodes()
            .map(|(id, node)| Voter {
                address: node.addr.clone(),
                is_leader: metrics.current_leader == Some(*id),
            })
            .collect()
    }

    /// Stops; what was acknowledged stays.
    pub(crate) async fn shutdown(&self) {
        if let Err(error) = self.library.shutdown().await {
            tracing::warn!(%error, "the log ended badly");
        }
    }
}

fn library(error: &dyn std::error::Error) -> StartError {
    StartError::Library {
        reason: error.to_string(),
    }
}

/// Makes this server the leader and waits until it has applied what was acknowledged before.
async fn lead(raft: &openraft::Raft<Types>, address: &str) -> Result<(), StartError> {
    if raft
        .is_initialized()
        .await
        .map_err(|error| library(&error))?
    {
        let election = raft.trigger().elect().await;
        election.map_err(|error| library(&error))?;
    } else {
        // The first election rides along with it.
        let voters = BTreeMap::from([(NODE_ID, BasicNode::new(address))]);
        let initialized = raft.initialize(voters).await;
        initialized.map_err(|error| library(&error))?;
    }
    raft.wait(Some(LEAD_TIMEOUT))
        .metrics(
            |metrics| metrics.current_leader == Some(NODE_ID),
            "leadership",
        )
        .await
        .map_err(|error| library(&error))?;
    raft.ensure_linearizable()
        .await
        .map_err(|error| library(&error))?;
    Ok(())
}

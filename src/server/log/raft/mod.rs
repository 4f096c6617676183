//! The replicated log: durable entries, snapshots and the batching proposer.
//!
//! Nothing else names the Raft library, and nothing of it stands in the files. This version runs
//! one voter; the connection to others says that they cannot be reached.
//!
//! Everything here runs on threads of its own: neither a slow disk nor applying a large entry holds
//! up others, and a storm of requests does not hold up the log.

mod compaction;
mod error;
mod files;
#[cfg(test)]
mod fixtures;
mod identity;
mod log_store;
mod network;
mod proposer;
mod segment;
mod snapshot;
mod state_machine;
mod stored;
#[cfg(test)]
mod tests;
mod types;

use openraft::{BasicNode, SnapshotPolicy};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::{
    runtime::{self, Runtime},
    time::timeout,
};

use super::{
    super::state::{Command, Outcome},
    clock,
    propose::ProposeError,
    published::Published,
};
use compaction::Compaction;
use jobs::model::Index;
use log_store::LogStore;
use network::NoPeers;
use snapshot::SnapshotFile;
use state_machine::StateMachine;
use types::Types;

pub use error::StartError;

/// The one voter.
const NODE_ID: u64 = 1;
/// How long the start may take until this server leads.
const LEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a read waits for a quorum.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);
/// Threads for the library, applying and the proposer; the writer of the files has its own.
const THREADS: usize = 2;

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
    _threads: Arc<Threads>,
}

/// The runtime of one log; it ends in the background when the last handle is gone.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Result<Self, StartError> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("log")
            .enable_all()
            .build()
            .map_err(|source| StartError::Threads { source })?;
        Ok(Self(Some(runtime)))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Raft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raft")
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

impl Raft {
    /// Opens the log in `directory` and leads; everything that was ever acknowledged is applied
    /// when this returns.
    pub(crate) async fn start(
        directory: &Path,
        address: &str,
        published: Arc<Published>,
    ) -> Result<Self, StartError> {
        let threads = Threads::start()?;
        let Some(runtime) = &threads.0 else {
            return Err(StartError::library(&ProposeError::Stopped));
        };
        let (directory, address) = (directory.to_owned(), address.to_owned());
        let handle = runtime.handle().clone();
        let starting = handle.spawn(async move {
            let opening = {
                let (directory, published) = (directory.clone(), Arc::clone(&published));
                tokio::task::spawn_blocking(move || open(&directory, published))
            };
            let opened = opening
                .await
                .map_err(|error| StartError::library(&error))??;
            start_library(opened, &directory, &address, &published).await
        });
        let started = starting
            .await
            .map_err(|error| StartError::library(&error))?;
        let (library, queue) = started?;
        Ok(Self {
            library,
            queue,
            _threads: Arc::new(threads),
        })
    }

    /// Writes a command; answers when it is durable and applied.
    pub(crate) async fn propose(&self, command: Command) -> Result<(Index, Outcome), ProposeError> {
        self.queue.propose(command).await
    }

    /// Writes commands that do not depend on each other; the answers are in the same order.
    pub(crate) async fn propose_all(
        &self,
        commands: Vec<Command>,
    ) -> Vec<Result<(Index, Outcome), ProposeError>> {
        self.queue.propose_all(commands).await
    }

    /// Returns once everything that was acknowledged anywhere before this call is in the state
    /// here.
    pub(crate) async fn read_barrier(&self) -> Result<(), ProposeError> {
        let barrier = timeout(BARRIER_TIMEOUT, self.library.ensure_linearizable()).await;
        let Ok(passed) = barrier else {
            return Err(ProposeError::NotLeader);
        };
        match passed {
            Ok(_) => Ok(()),
            Err(error) if error.forward_to_leader::<BasicNode>().is_some() => {
                Err(ProposeError::NotLeader)
            }
            Err(_) => Err(ProposeError::Stopped),
        }
    }

    /// Resolves with the reason when the log cannot be written any more; it does not recover by
    /// itself.
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

/// The files of a log, opened and checked.
struct Opened {
    store: LogStore,
    file: SnapshotFile,
    machine: StateMachine,
}

fn open(directory: &Path, published: Arc<Published>) -> Result<Opened, StartError> {
    // It holds the nodes' secrets and the environment of every task.
    sys::files::create_dir(directory, 0o700)
        .map_err(|error| StartError::files(directory, error))?;
    let store = LogStore::open(directory)?;
    let file = SnapshotFile::new(directory.to_owned());
    let machine = StateMachine::load(file.clone(), published)?;
    if store.purged_index() > machine.applied_index() {
        return Err(files::missing(directory, &directory.join("snapshot")));
    }
    Ok(Opened {
        store,
        file,
        machine,
    })
}

/// Settings of the library, with their reasons.
fn settings() -> openraft::Config {
    openraft::Config {
        cluster_name: "trivet".into(),
        // Also how long one append may take, so an entry has to travel and be written within it;
        // the bytes of one append are bounded for that.
        heartbeat_interval: 250,
        // A follower first waits out a lease of the maximum, then elects: together below 2 s.
        election_timeout_min: 700,
        election_timeout_max: 1000,
        // The last part of a snapshot is answered only when all of it is loaded.
        install_snapshot_timeout: 60_000,
        // Only as far behind may a new voter be when it starts to count.
        replication_lag_threshold: 100,
        // Both by bytes, not by entries: see `compaction`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // One voter has nobody to send heartbeats to, and elects itself.
        enable_heartbeat: false,
        ..openraft::Config::default()
    }
}

async fn start_library(
    opened: Opened,
    directory: &Path,
    address: &str,
    published: &Published,
) -> Result<(openraft::Raft<Types>, proposer::Queue), StartError> {
    let Opened {
        store,
        file,
        machine,
    } = opened;
    let config = settings()
        .validate()
        .map_err(|error| StartError::library(&error))?;
    let snapshot_index = machine.applied_index();
    let too_new = machine.too_new();
    let library = openraft::Raft::new(NODE_ID, Arc::new(config), NoPeers, store.clone(), machine)
        .await
        .map_err(|error| StartError::library(&error))?;
    if let Err(error) = lead(&library, address).await {
        // What it holds is let go, so that another try finds it free.
        library.shutdown().await.ok();
        let refused = *too_new.lock();
        return Err(match refused {
            Some((index, rules)) => {
                let path = store.path_of(index);
                files::too_new(&path.unwrap_or_else(|| directory.to_owned()), &rules)
            }
            None => error,
        });
    }
    clock::raise(published.current().now);
    let compaction = Compaction::new(library.clone(), store, file, snapshot_index);
    tokio::spawn(compaction.clone().purge());
    let queue = proposer::start(proposer::Proposer {
        raft: library.clone(),
        compaction,
    });
    Ok((library, queue))
}

/// Makes this server the leader and waits until it has applied what was acknowledged before.
async fn lead(raft: &openraft::Raft<Types>, address: &str) -> Result<(), StartError> {
    if raft
        .is_initialized()
        .await
        .map_err(|error| StartError::library(&error))?
    {
        let election = raft.trigger().elect().await;
        election.map_err(|error| StartError::library(&error))?;
    } else {
        // The first election rides along with it.
        let voters = BTreeMap::from([(NODE_ID, BasicNode::new(address))]);
        let initialized = raft.initialize(voters).await;
        initialized.map_err(|error| StartError::library(&error))?;
    }
    raft.wait(Some(LEAD_TIMEOUT))
        .metrics(
            |metrics| metrics.current_leader == Some(NODE_ID),
            "leadership",
        )
        .await
        .map_err(|error| StartError::library(&error))?;
    raft.ensure_linearizable()
        .await
        .map_err(|error| StartError::library(&error))?;
    Ok(())
}

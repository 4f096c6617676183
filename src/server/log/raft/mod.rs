//! The replicated log: durable entries, snapshots and the batching proposer.
//!
//! Nothing else names the Raft library, and nothing of it stands in the files or travels between
//! servers. `group` changes who votes, `network` is what the voters say to each other.
//!
//! Everything here runs on threads of its own: neither a slow disk nor applying a large entry
//! holds up others, and a storm of requests does not hold up the log.

mod carried;
mod compaction;
mod error;
mod files;
#[cfg(test)]
mod fixtures;
mod group;
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

use openraft::{EntryPayload, RaftLogReader as _, ServerState, SnapshotPolicy, error::RaftError};
use parking_lot::Mutex;
use rpc::{pool::Pool, security::Security};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use sys::simulation;
use tokio::{
    runtime::{self, Runtime},
    time::{Instant, timeout},
};

use super::{
    super::state::{Command, Outcome},
    clock,
    propose::ProposeError,
    published::Published,
};
use compaction::Compaction;
use jobs::model::Index;
use log_store::{LogStore, Resumed};
use network::{Contacts, Peers};
use snapshot::SnapshotFile;
use state_machine::StateMachine;
use types::{ServerNode, Types};

pub use error::StartError;
pub(crate) use group::{GroupError, Leadership};

/// How long the start may take until this server leads.
const LEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a read waits for a quorum.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bounds of the time without a word of the leader after which a server stands for election, ms.
const ELECTION_MIN_MS: u64 = 500;
const ELECTION_MAX_MS: u64 = 800;
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
    /// Term of that entry.
    pub snapshot_term: u64,
    /// The entry that says who the servers are; 0 for none.
    pub configuration_index: Index,
    /// Last entry that was removed; 0 for none.
    pub purged_index: Index,
}

/// A server of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voter {
    /// Id of its log.
    pub id: u64,
    /// Name of its agent; empty when nobody said it yet.
    pub name: String,
    /// RPC address.
    pub address: String,
    /// It leads.
    pub is_leader: bool,
    /// It counts for the quorum; one that does not is on its way to, or from there.
    pub votes: bool,
    /// Last entry that the leader knows to be there; none when this server does not lead.
    pub matched: Option<Index>,
    /// Term of that entry.
    pub matched_term: u64,
    /// How long ago it answered entries; none when it never did, or this server does not lead.
    pub silent_for: Option<Duration>,
    /// How long entries have been waiting for an answer, if only to say that there are none.
    pub unanswered_for: Duration,
}

/// How the log of one server is opened.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where its files are.
    pub(crate) directory: PathBuf,
    /// RPC address that others reach this server at.
    pub(crate) address: String,
    /// Name of the agent.
    pub(crate) name: String,
    /// An empty log begins a group of this one server.
    pub(crate) begins_alone: bool,
    /// How other servers are reached.
    pub(crate) security: Security,
    /// What the times of elections and heartbeats are multiplied by; at least 1.
    pub(crate) multiplier: u32,
}

/// The running log.
#[derive(Clone)]
pub(crate) struct Raft {
    id: u64,
    library: openraft::Raft<Types>,
    queue: proposer::Queue,
    /// What it took up again at its start, if it led before.
    resumed: Option<Resumed>,
    /// The cluster that this server belongs to; empty for none yet.
    cluster: Arc<Mutex<String>>,
    /// When the leader was heard of last.
    heard: Arc<Mutex<Instant>>,
    /// The leadership is on its way to another server: nothing is written meanwhile.
    transfers: Arc<AtomicBool>,
    pool: Pool,
    contacts: Contacts,
    /// The longest time without a word of the leader after which a server stands for election.
    election_max: Duration,
    _threads: Arc<Threads>,
}

/// The runtime of one log; it ends in the background when the last handle is gone. A simulated
/// process has none beside its own.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Result<Self, StartError> {
        if simulation::is_on() {
            return Ok(Self(None));
        }
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("log")
            .enable_all()
            .build()
            .map_err(|source| StartError::Threads { source })?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> runtime::Handle {
        match &self.0 {
            Some(runtime) => runtime.handle().clone(),
            None => runtime::Handle::current(),
        }
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
    /// Opens the log. A server that is all of its group leads when this returns, and has applied
    /// everything that was ever acknowledged.
    pub(crate) async fn start(
        options: Options,
        published: Arc<Published>,
    ) -> Result<Self, StartError> {
        let threads = Threads::start()?;
        let handle = threads.handle();
        let peers = Peers {
            pool: Pool::new(options.security.clone()),
            cluster: Arc::default(),
            contacts: Arc::default(),
        };
        let (pool, cluster) = (peers.pool.clone(), Arc::clone(&peers.cluster));
        let contacts = Arc::clone(&peers.contacts);
        let multiplier = options.multiplier.max(1);
        let starting = handle.spawn(async move {
            let opening = {
                let (directory, published) = (options.directory.clone(), Arc::clone(&published));
                sys::threads::blocking(move || open(&directory, published))
            };
            let mut opened = opening
                .await
                .map_err(|error| StartError::library(&error))??;
            let id = server_id(&mut opened, &options.directory).await?;
            let resumed = opened.store.resumes(id);
            let started = start_library(id, opened, &options, peers, &published).await?;
            Ok::<_, StartError>((started, resumed))
        });
        let started = starting
            .await
            .map_err(|error| StartError::library(&error))?;
        let ((id, library, queue), resumed) = started?;
        Ok(Self {
            id,
            library,
            queue,
            resumed,
            cluster,
            heard: Arc::new(Mutex::new(Instant::now())),
            transfers: Arc::default(),
            pool,
            contacts,
            election_max: Duration::from_millis(ELECTION_MAX_MS).saturating_mul(multiplier),
            _threads: Arc::new(threads),
        })
    }

    /// Writes a command; answers when it is durable and applied.
    pub(crate) async fn propose(&self, command: Command) -> Result<(Index, Outcome), ProposeError> {
        self.check_transfer()?;
        self.queue.propose(command).await
    }

    fn check_transfer(&self) -> Result<(), ProposeError> {
        if self.transfers.load(Ordering::Relaxed) {
            return Err(ProposeError::NotLeader);
        }
        Ok(())
    }

    /// Writes commands that do not depend on each other; the answers are in the same order.
    pub(crate) async fn propose_all(
        &self,
        commands: Vec<Command>,
    ) -> Vec<Result<(Index, Outcome), ProposeError>> {
        match self.check_transfer() {
            Ok(()) => self.queue.propose_all(commands).await,
            Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Returns once everything that was acknowledged anywhere before this call is in the state
    /// here.
    pub(crate) async fn read_barrier(&self) -> Result<(), ProposeError> {
        let term = self.metrics().term;
        let barrier = timeout(BARRIER_TIMEOUT, self.library.ensure_linearizable()).await;
        let Ok(passed) = barrier else {
            return Err(ProposeError::NotLeader);
        };
        match passed {
            Ok(_) => self.caught_up(term).await,
            // It does not lead, or not enough others say so.
            Err(RaftError::APIError(_)) => Err(ProposeError::NotLeader),
            Err(RaftError::Fatal(_)) => Err(ProposeError::Stopped),
        }
    }

    /// Returns once a leader that leads on after a restart has applied what it acknowledged before:
    /// it does not know how far that was, only that it is in its log. Any other begins its term
    /// with an entry of its own, behind all of that.
    async fn caught_up(&self, term: u64) -> Result<(), ProposeError> {
        let Some(resumed) = self.resumed.filter(|resumed| resumed.term == term) else {
            return Ok(());
        };
        let mut metrics = self.library.metrics();
        let caught_up = metrics.wait_for(|now| {
            now.current_term != term || now.last_applied.map_or(0, |id| id.index) >= resumed.last
        });
        match timeout(BARRIER_TIMEOUT, caught_up).await {
            Ok(Ok(now)) if now.current_term == term => Ok(()),
            Ok(Err(_)) => Err(ProposeError::Stopped),
            // It leads no more, or nobody takes what it has.
            Ok(Ok(_)) | Err(_) => Err(ProposeError::NotLeader),
        }
    }

    /// How long ago the leader was heard of.
    pub(crate) fn silence(&self) -> Duration {
        self.heard.lock().elapsed()
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
            is_leader: metrics.state == ServerState::Leader
                && metrics.current_leader == Some(self.id),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or_default(),
            applied_index: metrics.last_applied.map_or(0, |id| id.index),
            snapshot_index: metrics.snapshot.map_or(0, |id| id.index),
            snapshot_term: metrics.snapshot.map_or(0, |id| id.leader_id.term),
            configuration_index: (metrics.membership_config.log_id()).map_or(0, |id| id.index),
            purged_index: metrics.purged.map_or(0, |id| id.index),
        }
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

/// Which of its group this server is. When the file that says it is missing, the log tells where
/// there is no doubt.
async fn server_id(opened: &mut Opened, directory: &Path) -> Result<u64, StartError> {
    if let Some(id) = identity::server_id(directory)? {
        return Ok(id);
    }
    let mut members: BTreeSet<u64> = opened.machine.members().collect();
    let first = opened.store.purged_index().map_or(0, |index| index + 1);
    let entries = opened.store.try_get_log_entries(first..).await;
    for entry in entries.map_err(|error| StartError::library(&error))? {
        if let EntryPayload::Membership(membership) = entry.payload {
            members = membership.nodes().map(|(id, _)| *id).collect();
        }
    }
    let mut members = members.into_iter();
    let id = match (members.next(), members.next()) {
        (None, _) => identity::new_server_id(sys::random::seed()),
        (Some(id), None) => id,
        (Some(_), Some(_)) => return Err(identity::missing_server(directory)),
    };
    identity::write_server_id(directory, id)?;
    Ok(id)
}

/// Between which bounds the library draws the time after which a server stands for election. What a
/// simulated process draws must follow from its own randomness, so only one time is left there.
fn election_bounds_ms() -> (u64, u64) {
    if simulation::is_on() {
        let drawn = ELECTION_MIN_MS + sys::random::seed() % (ELECTION_MAX_MS - ELECTION_MIN_MS);
        return (drawn, drawn + 1);
    }
    (ELECTION_MIN_MS, ELECTION_MAX_MS)
}

/// Settings of the library, with their reasons.
fn settings(multiplier: u32) -> openraft::Config {
    let times = u64::from(multiplier.max(1));
    let (shortest, longest) = election_bounds_ms();
    openraft::Config {
        cluster_name: "trivet".into(),
        // Appends that take longer are waited for by `network`.
        heartbeat_interval: 150 * times,
        // A follower first waits out a lease of the maximum, then elects: together below 2 s.
        election_timeout_min: shortest * times,
        election_timeout_max: longest * times,
        // The last part of a snapshot is answered only when all of it is loaded.
        install_snapshot_timeout: 60_000,
        // Only as far behind may a new voter be when it starts to count.
        replication_lag_threshold: 100,
        // Both by bytes, not by entries: see `compaction`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // One voter has nobody to send heartbeats to; `group` turns them on for more.
        enable_heartbeat: false,
        ..openraft::Config::default()
    }
}

async fn start_library(
    id: u64,
    opened: Opened,
    options: &Options,
    peers: Peers,
    published: &Published,
) -> Result<(u64, openraft::Raft<Types>, proposer::Queue), StartError> {
    let Opened {
        store,
        file,
        machine,
    } = opened;
    let config = settings(options.multiplier)
        .validate()
        .map_err(|error| StartError::library(&error))?;
    let snapshot_index = machine.applied_index();
    let too_new = machine.too_new();
    let cluster = Arc::clone(&peers.cluster);
    // Entries are applied from here on, by the library's own start too: whatever step hears first
    // of one that this build does not know, the reason is the same.
    let explained = |error: StartError| match *too_new.lock() {
        Some((index, rules)) => {
            let path = store.path_of(index);
            files::too_new(&path.unwrap_or_else(|| options.directory.clone()), &rules)
        }
        None => error,
    };
    let library = openraft::Raft::new(id, Arc::new(config), peers, store.clone(), machine)
        .await
        .map_err(|error| explained(StartError::library(&error)))?;
    if let Err(error) = begin(&library, id, options, &cluster).await {
        // What it holds is let go, so that another try finds it free.
        library.shutdown().await.ok();
        return Err(explained(error));
    }
    clock::raise(published.current().now);
    tokio::spawn(group::follow(library.clone(), cluster));
    let compaction = Compaction {
        raft: library.clone(),
        store,
        file,
    };
    tokio::spawn(compaction.run(snapshot_index));
    let queue = proposer::start(proposer::Proposer {
        raft: library.clone(),
    });
    Ok((id, library, queue))
}

/// Makes a server that is all of its group the leader, and waits until it has applied what was
/// acknowledged before. Others wait for each other later.
async fn begin(
    raft: &openraft::Raft<Types>,
    id: u64,
    options: &Options,
    cluster: &Mutex<String>,
) -> Result<(), StartError> {
    let failed = |error: &dyn std::error::Error| StartError::library(error);
    // The library tells who is in the group once it has answered something.
    let answered = raft.is_initialized().await;
    let is_initialized = answered.map_err(|error| failed(&error))?;
    *cluster.lock() = group::cluster_of(raft);
    if is_initialized {
        if !group::is_alone(raft, id) {
            return Ok(());
        }
        let election = raft.trigger().elect().await;
        election.map_err(|error| failed(&error))?;
    } else if options.begins_alone {
        let name = group::new_cluster();
        let node = ServerNode {
            address: options.address.clone(),
            name: options.name.clone(),
            cluster: name.clone(),
        };
        // The first election rides along with it.
        let initialized = raft.initialize(BTreeMap::from([(id, node)])).await;
        initialized.map_err(|error| failed(&error))?;
        *cluster.lock() = name;
    } else {
        return Ok(());
    }
    raft.wait(Some(LEAD_TIMEOUT))
        .metrics(|metrics| metrics.current_leader == Some(id), "leadership")
        .await
        .map_err(|error| failed(&error))?;
    raft.ensure_linearizable()
        .await
        .map_err(|error| failed(&error))?;
    Ok(())
}

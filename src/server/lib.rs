//! The replicated control plane: one log, one state over jobs and catalog, and what acts on it.
//!
//! A write goes through the [`log`] into the [`state`]; readers see it there too. What only a
//! leader does is started by `cluster::leader`; agents are served by `sessions`. Start reading at
//! [`Handle`].

mod authority;
pub mod catalog_archive;
mod cluster;
mod data_planes;
pub mod events;
mod handle;
mod identities;
mod keyring;
mod launches;
pub mod log;
mod loops;
mod measures;
mod records;
mod scheduling;
mod sessions;
mod signing;
pub mod state;
mod supervise;
pub mod traffic;
mod variables;
mod webhooks;

use jobs::{
    control::{Broker, GcLimits, Heartbeats, Locks, Rhythm},
    model::{AutopilotConfig, SchedulerConfig},
};
use mesh::lifetimes::Lifetimes;
use parking_lot::Mutex;
use std::{
    fmt,
    future::{self, Future},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use cluster::{
    autopilot::Tracker,
    directory::Directory,
    gossip::{self, Gossiping, Speaker},
    leadership::{self, Role},
    regions::Regions,
    requests::{self, Tunnels},
};
use data_planes::DataPlanes;
use events::Events;
use keyring::Keyring;
use log::raft::Options;
use log::{gate::Gate, propose::ids, published::Published};
use loops::deployments::{Aborts, Standings};
use records::Records;
use rpc::{pool::Pool, security::Security, servers::Servers, transport::Listener};
use sessions::{history::History, streams::Streams};
use traffic::Counted;

use scheduling::DecisionThread;

pub use authority::certificate::CertificateError;
pub use authority::machines::{
    MachineAuthority, MachineKey, MachineRole, digest_of_secret, new_secret,
};
pub use authority::shown_config;
pub use authority::{AuthorityError, Leaf};
pub use cluster::{
    autopilot::{GroupHealth, ServerHealth},
    directory::{KnownServer, Status},
    presence::node_id,
    requests::{LEADER_TIMEOUT, Requested},
};
pub use handle::{ClusterError, Error, Handle, Stats, Tagging, Written};
pub use identities::{BadToken, PublicKey, check_token};
pub use keyring::KeyringError;
pub use launches::Launched;
pub use log::raft::{Metrics, StartError, Voter};
pub use registration::alloc_of;
pub use rpc::transport::Dialect;
pub use state::{Command, Outcome, Rejected, Snapshot};
pub use variables::Items;

/// How long the parts may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a log that broke is opened again; it doubles with each try.
const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(200);
/// A log that was open for this long is taken for healthy.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// Longest such pause.
const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How a server runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the log and the snapshots are kept, in the folder `raft`, and the key that encrypts
    /// other keys, in the folder `keyring`.
    pub data_dir: PathBuf,
    /// Name of the server.
    pub name: String,
    /// Datacenter.
    pub datacenter: String,
    /// Region.
    pub region: String,
    /// RPC address that others reach this server at, host:port.
    pub rpc_address: String,
    /// How long an agent may be silent before its node is down.
    pub lease: Duration,
    /// How long and how many finished rows are kept.
    pub gc: GcLimits,
    /// Who signs the tokens of tasks, as a URL; none to say nothing of it.
    pub oidc_issuer: Option<String>,
    /// Its place among other servers.
    pub cluster: ClusterConfig,
    /// The agent runs no tasks, so the servers tell the catalog of its node.
    pub serves_alone: bool,
    /// What is seldom set.
    pub tuning: Tuning,
}

/// What is seldom set.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// How often nodes are to be heard.
    pub rhythm: Rhythm,
    /// Entries of the log whose events are kept for those who follow along; at least 1.
    pub event_buffer: usize,
    /// What the times of elections and heartbeats of the log are multiplied by; at least 1.
    pub raft_multiplier: u32,
    /// How the servers schedule until somebody says otherwise: a leader writes it where the state
    /// has nothing of it yet; none for the usual.
    pub scheduler: Option<SchedulerConfig>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            rhythm: Rhythm::default(),
            event_buffer: events::BATCHES_MAX,
            raft_multiplier: 1,
            scheduler: None,
        }
    }
}

/// A server's place among others.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// With how many servers a new group begins; 0 to join one that there is.
    pub expect: u32,
    /// Addresses of servers to ask who is there, host:port each.
    pub join: Vec<String>,
    /// How servers reach each other.
    pub security: Security,
    /// What signs the keys of machines that join; none when this server signs none.
    pub joining: Option<Joining>,
    /// How the servers look after their group until somebody says otherwise: a leader writes it
    /// where the state has nothing of it yet.
    pub autopilot: AutopilotConfig,
    /// How servers of all regions hear of each other; none when this one does not.
    pub gossip: Option<GossipConfig>,
}

/// How a server hears of others.
#[derive(Clone, PartialEq, Eq)]
pub struct GossipConfig {
    /// Where others reach it.
    pub address: SocketAddr,
    /// The key that seals what is said, base64, unless others are kept already.
    pub key: Option<String>,
}

impl fmt::Debug for GossipConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GossipConfig({})", self.address)
    }
}

/// Files of a server that signs the keys of machines that join.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The certificate of the cluster's authority.
    pub authority: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Roles with digests of the secrets that give them, a line each.
    pub secrets: PathBuf,
}

impl Default for ClusterConfig {
    /// One server that is all of its cluster.
    fn default() -> Self {
        Self {
            expect: 1,
            join: Vec::new(),
            security: Security::Plain,
            joining: None,
            gossip: None,
            autopilot: AutopilotConfig::default(),
        }
    }
}

impl Config {
    /// How long an agent may be silent unless configured otherwise.
    pub const LEASE: Duration = Duration::from_secs(10);
}

/// What every part of the server shares.
#[derive(Debug)]
pub(crate) struct Core {
    config: Config,
    published: Arc<Published>,
    /// Where evaluations are decided about.
    decisions: DecisionThread,
    /// Where previews and other long looks at the state are taken.
    previews: DecisionThread,
    raft: Gate,
    broker: Mutex<Broker>,
    /// The broker may have something to work on.
    work: Notify,
    /// The broker's next tick may have moved.
    broker_moved: Notify,
    heartbeats: Mutex<Heartbeats>,
    /// The heartbeats' next tick may have moved.
    heartbeats_moved: Notify,
    /// When sessions of the catalog end.
    lifetimes: Mutex<Lifetimes>,
    /// The lifetimes' next tick may have moved.
    lifetimes_moved: Notify,
    /// When locks of variables end.
    locks: Mutex<Locks>,
    /// The locks' next tick may have moved.
    locks_moved: Notify,
    keyring: Keyring,
    data_planes: DataPlanes,
    /// What ingresses count.
    traffic: Counted,
    /// How judged canaries stand.
    standings: Standings,
    /// Rollouts that were given up while this server leads.
    aborts: Aborts,
    /// What judges saw.
    records: Records,
    /// Whoever has it moves rollouts: what a controller decided about is looked at again when it is
    /// its turn, because an operator may have moved one since.
    rollout_turn: tokio::sync::Mutex<()>,
    history: History,
    /// What changed lately.
    events: Arc<Events>,
    streams: Streams,
    /// The other servers.
    directory: Directory,
    /// It is about to leave the others.
    is_leaving: AtomicBool,
    /// What is heard of servers in all regions.
    gossip: OnceLock<Gossiping>,
    /// Connections to servers of other regions.
    regions: Regions,
    /// How long they have been as they are, while this server leads.
    autopilot: Mutex<Tracker>,
    /// Connections to them, but for those of the log.
    pool: Pool,
    /// What this server does at the moment.
    role: watch::Sender<Role>,
    /// The way to agents, while this server leads.
    tunnels: Tunnels,
    /// Where those go who ask an API of this agent over RPC.
    pipes: mpsc::Sender<Requested>,
    /// Where the servers are, for an agent that runs none.
    elsewhere: Option<Servers>,
}

/// Pipes that may wait for the API.
const PIPES_MAX: usize = 64;

impl Core {
    /// RPC addresses of the servers.
    fn addresses(&self) -> Vec<String> {
        let servers = self.raft.configuration().into_iter();
        servers.map(|server| server.address).collect()
    }

    fn options(config: &Config) -> Options {
        Options {
            directory: config.data_dir.join("raft"),
            address: config.rpc_address.clone(),
            name: config.name.clone(),
            begins_alone: config.cluster.expect == 1,
            security: config.cluster.security.clone(),
            multiplier: config.tuning.raft_multiplier,
        }
    }

    /// How long an agent that begins to be heard now may be silent.
    fn lease(&self) -> Duration {
        let Config { lease, tuning, .. } = &self.config;
        let nodes = self.heartbeats.lock().count();
        tuning.rhythm.lease(*lease, nodes)
    }

    fn new(
        config: Config,
        published: Arc<Published>,
        raft: Gate,
        keyring: Keyring,
    ) -> Result<(Self, mpsc::Receiver<Requested>), StartError> {
        let threads = |source| StartError::Threads { source };
        let (pipes, requested) = mpsc::channel(PIPES_MAX);
        let events = Arc::new(Events::new(config.tuning.event_buffer));
        let core = Self {
            heartbeats: Mutex::new(Heartbeats::new(config.lease, ids())),
            directory: Directory::new(&config.cluster.join),
            is_leaving: AtomicBool::new(false),
            gossip: OnceLock::new(),
            regions: Regions::default(),
            autopilot: Mutex::default(),
            pool: Pool::new(config.cluster.security.clone()),
            config,
            published,
            raft,
            decisions: DecisionThread::start("scheduler").map_err(threads)?,
            previews: DecisionThread::start("previews").map_err(threads)?,
            broker: Mutex::default(),
            work: Notify::new(),
            broker_moved: Notify::new(),
            heartbeats_moved: Notify::new(),
            lifetimes: Mutex::default(),
            lifetimes_moved: Notify::new(),
            locks: Mutex::default(),
            locks_moved: Notify::new(),
            keyring,
            data_planes: DataPlanes::default(),
            traffic: Counted::default(),
            standings: Standings::default(),
            aborts: Aborts::default(),
            records: Records::default(),
            rollout_turn: tokio::sync::Mutex::default(),
            history: History::default(),
            events,
            streams: Streams::default(),
            role: watch::Sender::default(),
            tunnels: Tunnels::default(),
            pipes,
            elsewhere: None,
        };
        Ok((core, requested))
    }
}

/// A server whose log is open, and that does not serve agents yet.
#[derive(Debug)]
pub struct Server {
    core: Arc<Core>,
    listener: Listener,
    requested: Option<mpsc::Receiver<Requested>>,
    speaker: Option<Box<Speaker>>,
}

impl Server {
    /// Opens the log. A server that is all of its cluster leads when this returns, and every write
    /// that was ever acknowledged is visible.
    ///
    /// # Errors
    /// [`StartError`] when the log cannot be used.
    pub async fn start(config: Config, listener: Listener) -> Result<Self, StartError> {
        let published = Arc::new(Published::default());
        let raft = Gate::open(Core::options(&config), Arc::clone(&published)).await?;
        let keyring = {
            let snapshot = published.current();
            let root_keys = snapshot.jobs.root_keys().map(|root_key| &**root_key);
            let path = config.data_dir.join("keyring/wrapping");
            let authority = snapshot.mesh.authority().map(|row| &**row);
            Keyring::open(path, root_keys, authority)?
        };
        let (core, requested) = Core::new(config, published, raft, keyring)?;
        if core.raft.leadership().is_own {
            core.role.send_replace(Role::Leads {
                until: CancellationToken::new(),
            });
        }
        Ok(Self {
            core: Arc::new(core),
            listener,
            requested: Some(requested),
            speaker: None,
        })
    }

    /// Hears of servers in all regions on this socket, if the configuration says so.
    ///
    /// # Errors
    /// [`StartError`] when the keys of gossip cannot be used.
    pub fn hear(&mut self, socket: UdpSocket) -> Result<(), StartError> {
        let id = self.core.raft.raft().map_or(0, |raft| raft.id());
        if let Some((speaker, gossiping)) = gossip::open(&self.core.config, id, socket)? {
            self.core.gossip.get_or_init(|| gossiping);
            self.speaker = Some(Box::new(speaker));
        }
        Ok(())
    }

    /// What others use of it.
    pub fn handle(&self) -> Handle {
        Handle {
            core: Arc::clone(&self.core),
        }
    }

    /// Where those come from who ask an API of this agent over RPC; once.
    pub fn take_requested(&mut self) -> Option<mpsc::Receiver<Requested>> {
        self.requested.take()
    }

    /// Serves agents and other servers until `shutdown`, and leads while the log says so. When the
    /// log breaks, or a part of the leader does not get well, the server stops leading, keeps its
    /// last known state for readers, and opens the log again as soon as that works.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let Self {
            core,
            mut listener,
            speaker,
            ..
        } = self;
        tokio::pin!(shutdown);
        // Others are heard whether or not the log can be written.
        let hearing = CancellationToken::new();
        let _deaf = hearing.clone().drop_guard();
        if let Some(speaker) = speaker {
            tokio::spawn(speaker.run(Arc::clone(&core), hearing.clone()));
            tokio::spawn(gossip::keep_joined(Arc::clone(&core), hearing));
        }
        let mut pause = REOPEN_PAUSE_MIN;
        // Nobody is served before the parts of the leader are there.
        core.role.send_replace(Role::Waits);
        loop {
            let started = Instant::now();
            let parts = TaskTracker::new();
            let stop = CancellationToken::new();
            parts.spawn(cluster::directory::run(Arc::clone(&core), stop.clone()));
            parts.spawn(cluster::bootstrap(Arc::clone(&core), stop.clone()));
            let mut leading = parts.spawn(leadership::run(Arc::clone(&core), stop.clone()));
            let reason = loop {
                tokio::select! {
                    asked = listener.next() => {
                        let Some(asked) = asked else { break None };
                        let answering = requests::answer(Arc::clone(&core), asked);
                        let stopped = stop.clone().cancelled_owned();
                        parts.spawn(async move {
                            tokio::select! {
                                () = answering => {}
                                () = stopped => {}
                            }
                        });
                    }
                    reason = core.raft.broken() => break Some(reason),
                    reason = &mut leading => {
                        let ended = || "the part that leads ended".to_owned();
                        break Some(reason.ok().flatten().unwrap_or_else(ended));
                    }
                    () = &mut shutdown => break None,
                }
            };
            if let Some(reason) = &reason {
                tracing::error!(
                    reason,
                    "the server stops leading; it tries again until the log is back"
                );
            }
            stop.cancel();
            parts.close();
            if let Some(reason) = &reason {
                // Parts that wait for a write end with it.
                core.raft.close(reason).await;
                // Who waits for a leader looks at the log.
                core.role.send_replace(Role::Waits);
            }
            if timeout(STOP_TIMEOUT, parts.wait()).await.is_err() {
                tracing::warn!("some parts of the server did not end in time");
            }
            if reason.is_none() {
                core.raft.close("the server is stopping").await;
                return;
            }
            // A disk that is nearly full lets the log come back for a moment again and again.
            pause = if started.elapsed() > WELL_AFTER {
                REOPEN_PAUSE_MIN
            } else {
                (pause * 2).min(REOPEN_PAUSE_MAX)
            };
            tokio::select! {
                () = reopen(&core.raft, &mut listener, pause) => {}
                () = &mut shutdown => return,
            }
            tracing::info!("the log is back");
        }
    }
}

/// Opens the log again, however long it takes. Agents that come meanwhile are sent away: they keep
/// what they know and come again.
async fn reopen(log: &Gate, listener: &mut Listener, mut pause: Duration) {
    let mut said = String::new();
    loop {
        let wait = sleep(pause);
        tokio::pin!(wait);
        loop {
            tokio::select! {
                asked = listener.next() => match asked {
                    Some(asked) => asked.refuse("the log of this server cannot be written"),
                    None => future::pending().await,
                },
                () = &mut wait => break,
            }
        }
        match log.reopen().await {
            Ok(()) => return,
            Err(error) => {
                let error = error.to_string();
                if error != said {
                    tracing::error!(error, "the log cannot be opened yet");
                }
                said = error;
            }
        }
        pause = (pause * 2).min(REOPEN_PAUSE_MAX);
    }
}

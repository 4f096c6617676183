//! The replicated control plane: one log, one state over jobs and catalog, and what acts on it.
//!
//! A write goes through the [`log`] into the [`state`]; readers see it there too. What only a leader does is
//! started by `cluster::leader`; agents are served by `sessions`.
//! Start reading at [`Handle`].

mod cluster;
mod data_planes;
mod handle;
pub mod log;
mod loops;
mod scheduling;
mod sessions;
pub mod state;

use jobs::control::{Broker, GcLimits, Heartbeats};
use parking_lot::Mutex;
use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::rpc::transport::Listener;
use data_planes::DataPlanes;
use log::{propose::ids, published::Published, raft::Raft};

use scheduling::DecisionThread;

pub use handle::{Error, Handle, Stats, Written};
pub use log::{
    published::Snapshot,
    raft::{Metrics, StartError, Voter},
};
pub use state::{Command, Outcome, Rejected};

/// How long the parts may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How a server runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the log and the snapshots are kept, in the folder `raft`.
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
    raft: Raft,
    /// Where evaluations are decided about.
    decisions: DecisionThread,
    /// Where previews and other long looks at the state are taken.
    previews: DecisionThread,
    broker: Mutex<Broker>,
    /// The broker may have something to work on.
    work: Notify,
    /// The broker's next tick may have moved.
    broker_moved: Notify,
    heartbeats: Mutex<Heartbeats>,
    /// The heartbeats' next tick may have moved.
    heartbeats_moved: Notify,
    data_planes: DataPlanes,
}

/// A server that leads and does not serve agents yet.
#[derive(Debug)]
pub struct Server {
    core: Arc<Core>,
    listener: Listener,
}

impl Server {
    /// Opens the log and leads; every write that was ever acknowledged is visible when this returns.
    ///
    /// # Errors
    /// [`StartError`] when the log cannot be used.
    pub async fn start(config: Config, listener: Listener) -> Result<Self, StartError> {
        let published = Arc::new(Published::default());
        let raft = Raft::start(
            &config.data_dir.join("raft"),
            &config.rpc_address,
            Arc::clone(&published),
        )
        .await?;
        let lease_ns = i64::try_from(config.lease.as_nanos()).unwrap_or(i64::MAX);
        let core = Core {
            heartbeats: Mutex::new(Heartbeats::new(lease_ns, ids())),
            config,
            published,
            raft,
            decisions: DecisionThread::start("scheduler").map_err(StartError::Thread)?,
            previews: DecisionThread::start("previews").map_err(StartError::Thread)?,
            broker: Mutex::default(),
            work: Notify::new(),
            broker_moved: Notify::new(),
            heartbeats_moved: Notify::new(),
            data_planes: DataPlanes::default(),
        };
        Ok(Self {
            core: Arc::new(core),
            listener,
        })
    }

    /// What others use of it.
    pub fn handle(&self) -> Handle {
        Handle {
            core: Arc::clone(&self.core),
        }
    }

    /// Leads and serves agents until `shutdown`, or until the log cannot be written any more.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let Self { core, mut listener } = self;
        let parts = TaskTracker::new();
        let stop = CancellationToken::new();
        cluster::leader::start(&core, &parts, &stop);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                link = listener.accept() => {
                    let Some(link) = link else { break };
                    parts.spawn(sessions::serve(Arc::clone(&core), link, stop.clone()));
                }
                reason = core.raft.broken() => {
                    tracing::error!(reason, "the log cannot be written; the server stops");
                    break;
                }
                () = &mut shutdown => break,
            }
        }
        stop.cancel();
        parts.close();
        if timeout(STOP_TIMEOUT, parts.wait()).await.is_err() {
            tracing::warn!("some parts of the server did not end in time");
        }
        core.raft.shutdown().await;
    }
}

//! What the HTTP API and the agent use of the server: reads of one snapshot, writes through the
//! log.

use jobs::{
    control::{
        Gc,
        launch::LaunchError,
        operator::{self, DrainWish, Registration, Scaling},
        rollout,
    },
    model::{
        AllocId, AutopilotConfig, DeploymentId, Eligibility, EvalId, GroupName, Index, Job, JobKey,
        NodeId, RolloutCause, SchedulerConfig, VersionTag,
    },
    scheduler,
    state::{Command as JobsCommand, TagVersion},
};
use mesh::{
    gossip::{KeyAnswer, KeyChange},
    state::{SetRouteOverrides, SetSplit},
};
use rpc::{
    pipe::Pipe,
    servers::Servers,
    transport::{Dialect, Kind},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    Config, Core,
    authority::AuthorityError,
    cluster::{
        autopilot::{self, GroupHealth},
        directory::{self, KnownServer, Status},
        leadership::Role,
        leaving, regions,
        requests::LEADER_TIMEOUT,
    },
    events::{Follower, Start},
    keyring::{Keyring, KeyringError},
    log::gate::Gate,
    log::propose::{ProposeError, ids, now, seed},
    log::published::Published,
    log::raft::StartError,
    log::raft::{GroupError, Metrics, Raft, Voter},
    log::watch::{Subscription, Topic},
    state::{Command, Outcome, Rejected, Snapshot, log_time},
    traffic::{Feed, Ingress, Row},
};

/// How often a rollout is tried to be moved that somebody else moves at the same time.
const ACTS_MAX: usize = 8;
/// Pause before a leader that could not be reached is tried again.
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state says no; trying again does not help.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The log could not take it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// It could not be encrypted or decrypted.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Nothing is launched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The certificate authority says no.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl From<jobs::state::Rejected> for Error {
    fn from(rejected: jobs::state::Rejected) -> Self {
        Self::Rejected(rejected.into())
    }
}

/// A write that is in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Its index; the state that readers see holds it.
    pub index: Index,
    /// Evaluation that it created.
    pub eval_id: Option<EvalId>,
    /// The `job_modify_index` that this write left; none when it is about no job or removed it.
    pub job_modify_index: Option<Index>,
    /// Version that the job went back to with it.
    pub reverted_version: Option<u64>,
}

/// A name for a version of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tagging {
    /// The name.
    pub name: String,
    /// What is special about the version.
    pub description: String,
    /// The version; none for the current one.
    pub version: Option<u64>,
}

/// Figures about the server.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Where the log stands.
    pub log: Metrics,
    /// RPC address of the leader; none while there is none.
    pub leader: Option<String>,
    /// Servers that vote, this one included.
    pub voters: usize,
    /// Evaluations that could be worked on now.
    pub ready_evals: usize,
    /// How long ago the leader was heard of.
    pub silence: Duration,
}

/// Why the servers were not changed, or could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Nobody leads.
    #[error("No cluster leader")]
    NoLeader,
    /// There is no such server.
    #[error("no server of the cluster is `{0}`")]
    Unknown(String),
    /// No server of that region can be reached.
    #[error("No path to region")]
    NoRegion,
    /// Something of the cluster could not be reached or changed.
    #[error("{0}")]
    Failed(String),
}

impl From<GroupError> for ClusterError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::NotLeader => Self::NoLeader,
            error => Self::Failed(error.to_string()),
        }
    }
}

/// A cheap handle on the running server.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) core: Arc<Core>,
}

impl Handle {
    /// How the server was configured.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// The newest state. It holds every write that was answered before the call.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.core.published.current()
    }

    /// What the ingresses of all agents counted since the server is there, by route, service,
    /// version and instance; of one service only, if it is given.
    pub fn traffic(&self, service: Option<&str>) -> Vec<Row> {
        self.core.traffic.total(service)
    }

    /// The same of the last `time`, at most [`RECENT_TIME`](crate::traffic::RECENT_TIME).
    pub fn recent_traffic(&self, time: Duration, service: Option<&str>) -> Vec<Row> {
        self.core.traffic.recent(time, service)
    }

    /// What ingresses told after a place; 0 for all that is kept.
    pub fn traffic_after(&self, place: u64) -> Feed {
        self.core.traffic.after(place)
    }

    /// The place of the interval that an ingress told last, and every change of it.
    pub fn traffic_heard(&self) -> watch::Receiver<u64> {
        self.core.traffic.heard()
    }

    /// The ingresses that count, with those that should have told something and did not.
    pub fn ingresses(&self) -> Vec<Ingress> {
        self.core.traffic.ingresses()
    }

    /// Asks all ingresses to tell what they count so often: from a tenth of a second to a second.
    pub fn set_traffic_interval(&self, interval: Duration) {
        self.core.traffic.set_interval(interval);
    }

    /// What changed lately and what changes from now on, from `start` on.
    pub fn events(&self, start: Start) -> Follower {
        self.core.events.follow(start)
    }

    /// Waits until the state holds everything that any server acknowledged before the call.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] and [`ProposeError::Stopped`].
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        // What was acknowledged by a server that leads alone is in its state.
        if self.leads() && self.core.raft.is_alone() {
            return Ok(());
        }
        self.core.raft.read_barrier().await
    }

    /// Subscribes to changes; none when too many readers wait already. Subscribe first, then read.
    pub fn subscribe(&self, topics: impl IntoIterator<Item = Topic>) -> Option<Subscription> {
        self.core.published.watch().subscribe(topics)
    }

    /// Writes a command. The outcome is the state's answer; it is in the log either way.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(
        &self,
        command: impl Into<Command>,
    ) -> Result<(Index, Outcome), ProposeError> {
        self.core.raft.propose(command.into()).await
    }

    async fn write(
        &self,
        command: impl Into<Command>,
        eval_id: Option<EvalId>,
    ) -> Result<Written, Error> {
        let (index, outcome) = self.propose(command).await?;
        let effect = outcome?;
        Ok(Written {
            index,
            eval_id,
            job_modify_index: effect.job_modify_index,
            reverted_version: None,
        })
    }

    /// Where the log stands.
    pub fn raft_metrics(&self) -> Metrics {
        self.core.raft.metrics()
    }

    /// The voters of the log.
    pub fn voters(&self) -> Vec<Voter> {
        self.core.raft.configuration()
    }

    /// A handle for an agent that runs no server: it knows nothing, refuses every write with
    /// `reason`, and finds the leader through `servers`.
    ///
    /// # Errors
    /// When the system has no room for threads.
    pub fn absent(config: Config, servers: Servers, reason: &str) -> Result<Self, StartError> {
        let published = Arc::new(Published::default());
        let raft = Gate::absent(Core::options(&config), reason, Arc::clone(&published));
        let keyring = Keyring::open(PathBuf::new(), std::iter::empty(), None)?;
        let (core, _) = Core::new(config, published, raft, keyring)?;
        let core = Core {
            elsewhere: Some(servers),
            ..core
        };
        Ok(Self {
            core: Arc::new(core),
        })
    }

    /// Whether this server leads: what needs the leader is answered here.
    pub fn leads(&self) -> bool {
        matches!(*self.core.role.borrow(), Role::Leads { .. })
    }

    /// Whether there is a copy of the state here, however old.
    pub fn has_copy(&self) -> bool {
        self.core.elsewhere.is_none()
    }

    /// RPC addresses of servers that this agent may go to.
    pub fn server_addresses(&self) -> Vec<String> {
        match &self.core.elsewhere {
            Some(servers) => servers.all(),
            None => self.core.addresses(),
        }
    }

    /// How long ago this server heard of the leader; nothing for the leader itself.
    pub fn silence(&self) -> Duration {
        if self.leads() {
            return Duration::ZERO;
        }
        self.core
            .raft
            .raft()
            .map_or(Duration::MAX, |raft| raft.silence())
    }

    /// Opens a pipe to an API of the leader; none when this server leads. Waits a moment for a
    /// leader.
    ///
    /// # Errors
    /// [`ClusterError::NoLeader`], also when the leader cannot be reached.
    pub async fn open_leader(&self, dialect: Dialect) -> Result<Option<Pipe>, ClusterError> {
        if let Some(servers) = &self.core.elsewhere {
            return self.open_any(servers, dialect).await.map(Some);
        }
        let mut roles = self.core.role.subscribe();
        let opened = timeout(LEADER_TIMEOUT, async {
            loop {
                let role = roles.borrow_and_update().clone();
                match role {
                    Role::Leads { .. } => return None,
                    Role::Follows { leader, .. } => {
                        let opening = self.core.pool.open(&leader, Kind::Http(dialect));
                        tokio::select! {
                            opened = opening => match opened {
                                Ok(pipe) => return Some(pipe),
                                Err(error) => {
                                    tracing::debug!(leader, %error, "the leader cannot be asked");
                                    sleep(OPEN_PAUSE).await;
                                }
                            },
                            _ = roles.changed() => {}
                        }
                    }
                    // A log that cannot be written: the answer is the reason.
                    Role::Waits if self.core.raft.is_closed_alone() => return None,
                    Role::Waits => {
                        // The sender lives as long as this handle.
                        drop(roles.changed().await);
                    }
                }
            }
        });
        opened.await.map_err(|_| ClusterError::NoLeader)
    }

    /// Opens a pipe through any server, which passes it on to the leader.
    async fn open_any(&self, servers: &Servers, dialect: Dialect) -> Result<Pipe, ClusterError> {
        let opened = timeout(LEADER_TIMEOUT, async {
            loop {
                for server in servers.all() {
                    let opening = self.core.pool.open(&server, Kind::Http(dialect));
                    match opening.await {
                        Ok(pipe) => return pipe,
                        Err(error) => {
                            tracing::debug!(server, %error, "a server cannot be asked");
                        }
                    }
                }
                sleep(OPEN_PAUSE).await;
            }
        });
        opened.await.map_err(|_| ClusterError::NoLeader)
    }

    /// Opens a pipe to an API of the agent of a node, which the leader can.
    ///
    /// # Errors
    /// [`ClusterError::Unknown`] when the agent is not connected.
    pub async fn open_agent(&self, id: NodeId, dialect: Dialect) -> Result<Pipe, ClusterError> {
        let tunnel = self.core.tunnels.of(id);
        let tunnel = tunnel.ok_or_else(|| ClusterError::Unknown(id.to_string()))?;
        let opened = tunnel.open(dialect).await;
        opened.map_err(|error| ClusterError::Failed(error.to_string()))
    }

    /// This server and the others that it knows of, in all regions.
    pub fn known_servers(&self) -> Vec<KnownServer> {
        let mut known = directory::all(&self.core);
        known.extend(regions::servers(&self.core));
        known
    }

    /// The region of this agent.
    pub fn region(&self) -> &str {
        &self.core.config.region
    }

    /// The datacenter of this agent.
    pub fn datacenter(&self) -> &str {
        &self.core.config.datacenter
    }

    /// The regions whose servers are known, that of this one among them.
    pub fn regions(&self) -> BTreeSet<String> {
        let own = self.core.config.region.clone();
        let elsewhere = regions::servers(&self.core).map(|known| known.member.region);
        elsewhere.chain([own]).collect()
    }

    /// Opens a pipe to an API of another region, where its leader answers.
    ///
    /// # Errors
    /// [`ClusterError::NoRegion`] when no server of it can be reached.
    pub async fn open_region(&self, region: &str, dialect: Dialect) -> Result<Pipe, ClusterError> {
        let opened = regions::open(&self.core, region, dialect).await;
        opened.ok_or(ClusterError::NoRegion)
    }

    /// Changes the keys that seal gossip, or lists them; what became of it at each server.
    pub async fn change_keys(&self, change: KeyChange) -> Vec<KeyAnswer> {
        match self.core.gossip.get() {
            Some(gossip) => gossip.change(change).await,
            None => {
                let Config { name, region, .. } = &self.core.config;
                vec![KeyAnswer::without_keys(format!("{name}.{region}"))]
            }
        }
    }

    /// Asks at these addresses who is there, now and from now on; answers with how many answered.
    pub async fn join(&self, addresses: &[String]) -> usize {
        self.core.directory.join(addresses);
        let asked = addresses.iter().map(async |address| {
            let heard = async {
                match self.core.gossip.get() {
                    Some(gossip) => gossip.join(address).await,
                    None => false,
                }
            };
            let (answered, heard) = tokio::join!(directory::ask(&self.core, address), heard);
            answered || heard
        });
        let answered = futures_util::future::join_all(asked).await;
        answered.into_iter().filter(|answered| *answered).count()
    }

    /// Asks at these addresses too who is there, from now on, instead of those that were said here
    /// before. Unlike [`Handle::join`] it makes no servers of other regions known.
    pub fn find(&self, addresses: Vec<String>) {
        self.core.directory.find(addresses);
    }

    /// Leaves the other servers, which go on without this one; bounded in time. It is to be stopped
    /// afterwards.
    pub async fn leave(&self) {
        leaving::leave(&self.core).await;
    }

    fn group(&self) -> Result<Raft, ClusterError> {
        self.core.raft.raft().map_err(|_| ClusterError::NoLeader)
    }

    /// Takes a server that does not answer any more, by name, for one that left.
    ///
    /// # Errors
    /// [`ClusterError::Unknown`].
    pub async fn force_leave(&self, name: &str) -> Result<(), ClusterError> {
        let region = &self.core.config.region;
        let known = self.known_servers().into_iter().skip(1).find(|known| {
            let full = format!("{}.{}", known.member.name, known.member.region);
            known.member.name == name && known.member.region == *region || full == name
        });
        let known = known.ok_or_else(|| ClusterError::Unknown(name.to_owned()))?;
        if known.status == Status::Alive {
            // It would say so itself: whoever answers is there.
            return Ok(());
        }
        if let Some(gossip) = self.core.gossip.get() {
            gossip.force_leave(known.member.id).await;
        }
        self.core.directory.mark_left(known.member.id);
        Ok(())
    }

    /// The server of the group with this id, address or name.
    fn server_of_group(&self, id_or_address: &str) -> Result<u64, ClusterError> {
        let id = u64::from_str_radix(id_or_address, 16).ok();
        let servers = self.voters();
        let mut servers = servers.iter();
        servers
            .find(|server| {
                let named = [&server.address, &server.name];
                Some(server.id) == id || named.contains(&&id_or_address.to_owned())
            })
            .map(|server| server.id)
            .ok_or_else(|| ClusterError::Unknown(id_or_address.to_owned()))
    }

    /// Takes a server out of the group, by id, address or name. One that answers comes back by
    /// itself.
    ///
    /// # Errors
    /// [`ClusterError`]; only the leader can.
    pub async fn remove_server(&self, id_or_address: &str) -> Result<(), ClusterError> {
        let id = self.server_of_group(id_or_address)?;
        if self.voters().len() == 1 {
            let reason = "the only server cannot be removed: nobody would lead";
            return Err(ClusterError::Failed(reason.into()));
        }
        Ok(self.group()?.remove(id).await?)
    }

    /// Lets another server lead, by id, address or name; the one with most of the log when none is
    /// named.
    ///
    /// # Errors
    /// [`ClusterError`]; only the leader can.
    pub async fn transfer_leadership(&self, to: Option<&str>) -> Result<(), ClusterError> {
        let id = match to {
            Some(to) => self.server_of_group(to)?,
            None => {
                let alone = "cannot find peer: there is one server, and it leads";
                let next = self.group().ok().and_then(|group| group.successor());
                next.ok_or_else(|| ClusterError::Failed(alone.into()))?
            }
        };
        Ok(self.group()?.transfer(id).await?)
    }

    /// RPC address of the leader; none while there is none. A server whose log says that it leads
    /// stopped when the others did not answer any more: they may have another leader by then.
    pub fn leader(&self) -> Option<String> {
        if self.core.raft.leadership().is_own && !self.leads() {
            return None;
        }
        let voters = self.voters();
        voters
            .into_iter()
            .find(|voter| voter.is_leader)
            .map(|voter| voter.address)
    }

    /// Resolves when another than `leader` leads, or other servers are known than before.
    pub async fn servers_after(&self, leader: Option<&str>) {
        let mut roles = self.core.role.subscribe();
        let mut news = self.core.directory.changed();
        while self.leader().as_deref() == leader {
            tokio::select! {
                // The senders live as long as this handle.
                _ = roles.changed() => {}
                _ = news.changed() => return,
            }
        }
    }

    /// Figures about this server.
    pub fn stats(&self) -> Stats {
        Stats {
            log: self.raft_metrics(),
            leader: self.leader(),
            voters: self.voters().len(),
            silence: self.silence(),
            ready_evals: self.core.broker.lock().ready_len(),
        }
    }

    /// Registers a job or a new version of it, with the evaluation that looks at it.
    ///
    /// # Errors
    /// [`Error`]; a wrong `enforce_index` and a job of another kind under that id are
    /// [`Error::Rejected`].
    pub async fn register_job(&self, registration: Registration) -> Result<Written, Error> {
        let command = operator::register(registration, now(), &mut ids());
        self.write_jobs(command).await
    }

    /// Stops a job, or removes it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn deregister_job(
        &self,
        key: &JobKey,
        purge: bool,
        eval_priority: Option<i32>,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command =
            operator::deregister(&snapshot.jobs, now(), key, purge, eval_priority, &mut ids());
        self.write_jobs(command).await
    }

    /// Looks at a job again. With `force_reschedule`, failed allocations are replaced whatever
    /// their policy says.
    ///
    /// # Errors
    /// [`Error`]; an unknown job is [`Error::Rejected`].
    pub async fn evaluate_job(
        &self,
        key: &JobKey,
        force_reschedule: bool,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::evaluate(&snapshot.jobs, now(), key, force_reschedule, &mut ids())?;
        self.write_jobs(command).await
    }

    /// Changes a group's count, or records why it was not changed.
    ///
    /// # Errors
    /// [`Error`]; refused while a deployment of the job is active.
    pub async fn scale_job(&self, key: &JobKey, scaling: Scaling) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::scale(&snapshot.jobs, now(), key, scaling, &mut ids())?;
        self.write_jobs(command).await
    }

    /// Registers an older version as the next one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revert_job(
        &self,
        key: &JobKey,
        version: u64,
        enforce_prior: Option<u64>,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::revert(
            &snapshot.jobs,
            now(),
            key,
            version,
            enforce_prior,
            &mut ids(),
        )?;
        self.write_jobs(command).await
    }

    /// Marks a version of a job as stable or not.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn mark_stable(
        &self,
        key: &JobKey,
        version: u64,
        stable: bool,
    ) -> Result<Written, Error> {
        let key = key.clone();
        self.write_jobs(JobsCommand::MarkStable {
            key,
            version,
            stable,
        })
        .await
    }

    /// Names a version of a job.
    ///
    /// # Errors
    /// [`Error`]; a missing version and a name of another version are [`Error::Rejected`].
    pub async fn tag_version(
        &self,
        key: &JobKey,
        tagging: Tagging,
    ) -> Result<(Written, VersionTag), Error> {
        let tag = VersionTag {
            name: tagging.name,
            description: tagging.description,
            tagged_time: now(),
        };
        let command = TagVersion {
            namespace: key.namespace.clone(),
            id: key.id.clone(),
            name: tag.name.clone(),
            version: tagging.version,
            tag: Some(tag.clone()),
        };
        let written = self
            .write_jobs(JobsCommand::TagVersion(Box::new(command)))
            .await?;
        Ok((written, tag))
    }

    /// Takes the name of a version of a job away.
    ///
    /// # Errors
    /// [`Error`]; an unknown name is [`Error::Rejected`].
    pub async fn untag_version(&self, key: &JobKey, name: &str) -> Result<Written, Error> {
        let command = TagVersion {
            namespace: key.namespace.clone(),
            id: key.id.clone(),
            name: name.to_owned(),
            version: None,
            tag: None,
        };
        self.write_jobs(JobsCommand::TagVersion(Box::new(command)))
            .await
    }

    /// Stops an allocation and has another placed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stop_alloc(
        &self,
        alloc_id: AllocId,
        no_shutdown_delay: bool,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::stop_alloc(
            &snapshot.jobs,
            now(),
            alloc_id,
            no_shutdown_delay,
            &mut ids(),
        )?;
        self.write_jobs(command).await
    }

    /// Promotes canaries; `groups` empty is all.
    ///
    /// # Errors
    /// [`Error`]; refused while a group has too few healthy canaries.
    pub async fn promote_deployment(
        &self,
        id: DeploymentId,
        groups: &[GroupName],
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::promote(&snapshot.jobs, now(), id, groups, &mut ids())?;
        self.write_jobs(command).await
    }

    /// Gives a deployment up, and goes back when its groups say so.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn fail_deployment(&self, id: DeploymentId) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::fail(&snapshot.jobs, now(), id, &mut ids())?;
        self.write_jobs(command).await
    }

    /// Pauses or resumes a deployment.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pause_deployment(&self, id: DeploymentId, pause: bool) -> Result<Written, Error> {
        let _turn = self.core.rollout_turn.lock().await;
        let snapshot = self.snapshot();
        let command = operator::pause(&snapshot.jobs, now(), id, pause, &mut ids())?;
        self.write_jobs(command).await
    }

    /// Moves the rollout of a group of a deployment: from where it is when this is called, to where
    /// that leads and not beyond, whatever the judge does meanwhile.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn move_rollout(
        &self,
        id: DeploymentId,
        group: Option<&GroupName>,
        act: rollout::Act,
        asked: &rollout::Asked,
    ) -> Result<Written, Error> {
        let aim = rollout::aim(&self.snapshot().jobs, id, group, act, asked.revision)?;
        let _turn = self.core.rollout_turn.lock().await;
        for _ in 1..ACTS_MAX {
            match self.try_move_rollout(&aim, asked).await {
                Err(Error::Rejected(Rejected::Jobs(jobs::state::Rejected::RolloutMoved {
                    ..
                }))) => {}
                written => return written,
            }
        }
        self.try_move_rollout(&aim, asked).await
    }

    async fn try_move_rollout(
        &self,
        aim: &rollout::Aim,
        asked: &rollout::Asked,
    ) -> Result<Written, Error> {
        let command = rollout::act(&self.snapshot().jobs, now(), aim, asked)?;
        self.write_jobs(command).await
    }

    /// What the judge saw of a group's canaries, to be judged again; none if this server did not
    /// judge them, or forgot it.
    pub fn rollout_record(&self, id: DeploymentId, group: Option<&GroupName>) -> Option<String> {
        self.core.records.text(id, group)
    }

    /// How many rollouts were given up since this server leads, by what it came from.
    pub fn rollout_aborts(&self) -> BTreeMap<RolloutCause, u64> {
        self.core.aborts.counts()
    }

    /// How the canaries of a group stand; none if they are not judged, or not by this server.
    pub fn rollout_standing(
        &self,
        id: DeploymentId,
        group: &GroupName,
    ) -> Option<rollout::Standing> {
        self.core.standings.of(id, group)
    }

    /// Sets the health of allocations by hand.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_alloc_health(
        &self,
        deployment_id: DeploymentId,
        healthy: Vec<AllocId>,
        unhealthy: Vec<AllocId>,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command = operator::set_health(
            &snapshot.jobs,
            now(),
            deployment_id,
            healthy,
            unhealthy,
            &mut ids(),
        )?;
        self.write_jobs(command).await
    }

    pub(super) async fn write_jobs(&self, command: JobsCommand) -> Result<Written, Error> {
        let eval_id = command.eval_id();
        let revert = command.revert().cloned();
        let written = self.write(command, eval_id).await?;
        let reverted_version = revert.and_then(|revert| {
            operator::reverted_version(&self.snapshot().jobs, written.index, &revert)
        });
        Ok(Written {
            reverted_version,
            ..written
        })
    }

    /// Changes whether a node takes new allocations.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_eligibility(
        &self,
        node_id: NodeId,
        eligibility: Eligibility,
    ) -> Result<Written, Error> {
        let snapshot = self.snapshot();
        let command =
            operator::set_eligibility(&snapshot.jobs, now(), node_id, eligibility, &mut ids())?;
        let written = self.write_jobs(command).await?;
        Ok(Written {
            index: written.index,
            ..Written::default()
        })
    }

    /// Notes something of a node, in a build for tests.
    ///
    /// # Errors
    /// [`Error`]; an unknown node is [`Error::Rejected`].
    #[cfg(feature = "next")]
    pub async fn set_node_note(&self, node_id: NodeId, note: String) -> Result<Index, Error> {
        let command = JobsCommand::SetNodeNote { node_id, note };
        Ok(self.write_jobs(command).await?.index)
    }

    /// Begins to empty a node, changes how, or ends it.
    ///
    /// # Errors
    /// [`Error`]; an unknown node is [`Error::Rejected`].
    pub async fn drain_node(&self, node_id: NodeId, wish: DrainWish) -> Result<Index, Error> {
        let snapshot = self.snapshot();
        let command = operator::drain_node(&snapshot.jobs, now(), node_id, wish, &mut ids())?;
        Ok(self.write_jobs(command).await?.index)
    }

    /// Forgets a node; what it ran counts as lost. A client that lives registers it again.
    ///
    /// # Errors
    /// [`Error`]; an unknown node is [`Error::Rejected`].
    pub async fn purge_node(&self, node_id: NodeId) -> Result<Index, Error> {
        let snapshot = self.snapshot();
        let command = operator::purge_node(&snapshot.jobs, now(), node_id, &mut ids())?;
        Ok(self.write_jobs(command).await?.index)
    }

    /// Looks at every job of a node again.
    ///
    /// # Errors
    /// [`Error`]; an unknown node is [`Error::Rejected`].
    pub async fn evaluate_node(&self, node_id: NodeId) -> Result<(Index, Vec<EvalId>), Error> {
        let snapshot = self.snapshot();
        let evals = operator::evaluate_node(&snapshot.jobs, now(), node_id, &mut ids())?;
        let eval_ids = evals.iter().map(|eval| eval.id).collect();
        let written = self.write_jobs(JobsCommand::UpsertEvals(evals)).await?;
        Ok((written.index, eval_ids))
    }

    /// Deletes terminal rows, whatever their age.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn collect_garbage(&self) -> Result<(), Error> {
        let snapshot = self.snapshot();
        let actions = self
            .core
            .previews
            .run(move || Gc::force(now(), &snapshot.jobs))
            .await
            .ok_or(ProposeError::Stopped)?;
        for action in actions {
            if let jobs::control::Action::Propose(command) = action {
                self.write(command, None).await?;
            }
        }
        Ok(())
    }

    /// Changes how the servers schedule, when that still has the index `expected` (if given).
    ///
    /// # Errors
    /// [`Error`]; another index is [`Error::Rejected`].
    pub async fn set_scheduler_config(
        &self,
        config: SchedulerConfig,
        expected: Option<Index>,
    ) -> Result<Index, Error> {
        let command = JobsCommand::SetSchedulerConfig { config, expected };
        Ok(self.write_jobs(command).await?.index)
    }

    /// Changes how the servers look after their group, when that still has the index `expected` (if
    /// given).
    ///
    /// # Errors
    /// [`Error`]; another index is [`Error::Rejected`].
    pub async fn set_autopilot_config(
        &self,
        config: AutopilotConfig,
        expected: Option<Index>,
    ) -> Result<Index, Error> {
        let command = JobsCommand::SetAutopilotConfig { config, expected };
        Ok(self.write_jobs(command).await?.index)
    }

    /// How the servers are: the whole truth only where this server leads.
    pub fn health(&self) -> GroupHealth {
        autopilot::health(&self.core)
    }

    /// What registering `job` now would do; nothing is changed.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] when the decision could not be made.
    pub async fn preview(&self, job: Job) -> Result<scheduler::Preview, ProposeError> {
        let snapshot = self.snapshot();
        let preview = move || {
            let mut cx = scheduler::Context::new(now(), seed());
            scheduler::preview(&snapshot.jobs, job, &mut cx)
        };
        let decided = self.core.previews.run(preview).await;
        decided.ok_or(ProposeError::Stopped)
    }

    /// Gives a session of the catalog a whole lifetime from now on; none when there is no such
    /// session.
    pub fn renew_session(&self, id: &str) -> Option<Arc<mesh::model::Session>> {
        let snapshot = self.snapshot();
        let session = snapshot.mesh.session(id)?;
        self.core
            .lifetimes
            .lock()
            .renew(log_time(now()), &session.id, &snapshot.mesh);
        self.core.lifetimes_moved.notify_one();
        Some(Arc::clone(session))
    }

    /// Replaces the operator's route text, when it still has version `expected` (if given).
    ///
    /// # Errors
    /// [`Error`]; another version is [`Error::Rejected`].
    pub async fn set_route_overrides(
        &self,
        text: String,
        expected: Option<Index>,
    ) -> Result<Written, Error> {
        let command = SetRouteOverrides {
            text,
            expected_index: expected,
        };
        let command = mesh::state::Command::SetRouteOverrides(command);
        self.write(command, None).await
    }

    /// Fixes or frees the share of some targets of a route.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_split(&self, split: SetSplit) -> Result<Written, Error> {
        let command = mesh::state::Command::SetSplit(split);
        self.write(command, None).await
    }
}

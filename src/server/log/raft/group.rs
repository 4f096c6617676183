//! Who is in the group, who leads it, and changes of both.

use openraft::{
    ChangeMembers, RaftMetrics, ServerState,
    error::{ClientWriteError, RaftError},
};
use parking_lot::Mutex;
use rpc::transport::Call;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{sleep, timeout};

use super::{
    Raft, Voter,
    types::{ServerNode, Types},
};

/// How long a change of the group may take until a quorum has it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long another server may take to lead.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(3);

type Watched = RaftMetrics<u64, ServerNode>;

/// Who leads, as this server knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The term.
    pub(crate) term: u64,
    /// RPC address of another server that leads; none while none is known.
    pub(crate) leader: Option<String>,
    /// This server leads.
    pub(crate) is_own: bool,
}

/// Why the group was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupError {
    /// Only the leader changes it.
    #[error("this server does not lead")]
    NotLeader,
    /// There is no such server.
    #[error("no server of the group is {0}")]
    Unknown(String),
    /// A quorum did not agree in time.
    #[error("the servers did not agree within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The library says no.
    #[error("{0}")]
    Library(String),
}

impl From<RaftError<u64, ClientWriteError<u64, ServerNode>>> for GroupError {
    fn from(error: RaftError<u64, ClientWriteError<u64, ServerNode>>) -> Self {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => Self::NotLeader,
            error => Self::Library(error.to_string()),
        }
    }
}

/// A name that no other cluster has.
pub(super) fn new_cluster() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The cluster that the group of `raft` is; empty for none yet.
pub(super) fn cluster_of(raft: &openraft::Raft<Types>) -> String {
    let watched = raft.metrics();
    let metrics = watched.borrow();
    let mut nodes = metrics.membership_config.nodes();
    let named = nodes.find(|(_, node)| !node.cluster.is_empty());
    named.map_or_else(String::new, |(_, node)| node.cluster.clone())
}

/// Whether the server `id` is all of the group.
pub(super) fn is_alone(raft: &openraft::Raft<Types>, id: u64) -> bool {
    let watched = raft.metrics();
    let metrics = watched.borrow();
    metrics.membership_config.voter_ids().eq([id])
}

/// Keeps `cluster` as the group says it, and heartbeats on as long as there is somebody to send
/// them to, until the log is closed.
pub(super) async fn follow(raft: openraft::Raft<Types>, cluster: Arc<Mutex<String>>) {
    let mut metrics = raft.metrics();
    let mut known = None;
    loop {
        {
            let now = metrics.borrow_and_update();
            let membership = *now.membership_config.log_id();
            if known != Some(membership) {
                known = Some(membership);
                let has_others = now.membership_config.nodes().count() > 1;
                raft.runtime_config().heartbeat(has_others);
                let mut nodes = now.membership_config.nodes();
                let named = nodes.find(|(_, node)| !node.cluster.is_empty());
                if let Some((_, node)) = named {
                    cluster.lock().clone_from(&node.cluster);
                }
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

impl Raft {
    /// The id of this server.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The cluster that this server belongs to; empty for none yet.
    pub(crate) fn cluster(&self) -> String {
        self.cluster.lock().clone()
    }

    /// Whether the log has a group already.
    pub(crate) fn has_group(&self) -> bool {
        let watched = self.library.metrics();
        let metrics = watched.borrow();
        metrics.membership_config.nodes().next().is_some()
    }

    /// Belongs to `cluster` from now on, and takes its log from its leader. A server with a group
    /// stays in its own.
    pub(crate) fn join(&self, cluster: &str) {
        if !self.has_group() {
            cluster.clone_into(&mut self.cluster.lock());
        }
    }

    /// Begins the group with these servers, this one among them. Nobody else does.
    pub(crate) async fn initialize(
        &self,
        cluster: &str,
        servers: impl IntoIterator<Item = (u64, String, String)>,
    ) -> Result<(), GroupError> {
        let nodes: BTreeMap<u64, ServerNode> = servers
            .into_iter()
            .map(|(id, name, address)| (id, node(cluster, name, address)))
            .collect();
        let initialized = self.library.initialize(nodes).await;
        initialized.map_err(|error| GroupError::Library(error.to_string()))
    }

    fn leadership_in(&self, metrics: &Watched) -> Leadership {
        let leader = metrics.current_leader;
        let mut nodes = metrics.membership_config.nodes();
        let other = nodes.find(|(id, _)| Some(**id) == leader && **id != self.id);
        Leadership {
            term: metrics.current_term,
            leader: other.map(|(_, node)| node.address.clone()),
            is_own: metrics.state == ServerState::Leader && leader == Some(self.id),
        }
    }

    /// Whether this server is all of its group, so that no other can lead.
    pub(crate) fn is_alone(&self) -> bool {
        let watched = self.library.metrics();
        let metrics = watched.borrow();
        metrics.membership_config.voter_ids().eq([self.id])
    }

    /// Who leads.
    pub(crate) fn leadership(&self) -> Leadership {
        let watched = self.library.metrics();
        let metrics = watched.borrow();
        self.leadership_in(&metrics)
    }

    /// Waits until it is not as `known` any more; for ever when the log is closed.
    pub(crate) async fn leadership_after(&self, known: &Leadership) -> Leadership {
        let mut watched = self.library.metrics();
        let changed = watched.wait_for(|metrics| self.leadership_in(metrics) != *known);
        let now = changed.await.map(|metrics| self.leadership_in(&metrics));
        match now {
            Ok(now) => now,
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether this server is to be one of the group after all changes that it knows of.
    pub(crate) fn stays(&self) -> bool {
        let watched = self.library.metrics();
        let metrics = watched.borrow();
        let membership = metrics.membership_config.membership();
        let last = membership.get_joint_config().last();
        last.is_some_and(|voters| voters.contains(&self.id))
    }

    /// The other server that has most of the log, if there is one that votes.
    pub(crate) fn successor(&self) -> Option<u64> {
        let others = self.configuration().into_iter();
        let others = others.filter(|server| server.votes && !server.is_leader);
        let next = others.max_by_key(|server| server.matched);
        next.map(|server| server.id)
    }

    /// The servers of the group.
    pub(crate) fn configuration(&self) -> Vec<Voter> {
        let watched = self.library.metrics();
        let metrics = watched.borrow();
        let steps = metrics.membership_config.membership().get_joint_config();
        let replication = metrics.replication.as_ref();
        let contacts = self.contacts.lock();
        let nodes = metrics.membership_config.nodes();
        nodes
            .map(|(id, node)| {
                let replicated = replication.and_then(|replication| replication.get(id));
                let matched = replicated.copied().flatten();
                let contact = replicated.and_then(|_| contacts.get(id).copied());
                let contact = contact.unwrap_or_default();
                Voter {
                    id: *id,
                    name: node.name.clone(),
                    address: node.address.clone(),
                    is_leader: metrics.current_leader == Some(*id),
                    votes: steps.iter().all(|voters| voters.contains(id)),
                    matched: replicated.map(|_| matched.map_or(0, |at| at.index)),
                    matched_term: matched.map_or(0, |at| at.leader_id.term),
                    silent_for: contact.answered.map(|at| at.elapsed()),
                    unanswered_for: contact.unanswered.map_or(Duration::ZERO, |at| at.elapsed()),
                }
            })
            .collect()
    }

    async fn change(
        &self,
        change: ChangeMembers<u64, ServerNode>,
        keeps_others: bool,
    ) -> Result<(), GroupError> {
        let changed = self.library.change_membership(change, keeps_others);
        match timeout(CHANGE_TIMEOUT, changed).await {
            Ok(changed) => Ok(changed.map(drop)?),
            Err(_) => Err(GroupError::Timeout(CHANGE_TIMEOUT)),
        }
    }

    /// Says where a server of the group is from now on, and what its name is.
    pub(crate) async fn describe(
        &self,
        id: u64,
        name: String,
        address: String,
    ) -> Result<(), GroupError> {
        let cluster = {
            let mut own = self.cluster.lock();
            if own.is_empty() {
                *own = new_cluster();
            }
            own.clone()
        };
        let nodes = BTreeMap::from([(id, node(&cluster, name, address))]);
        self.change(ChangeMembers::SetNodes(nodes), true).await
    }

    /// Takes a server into the group: it gets the log, and does not count yet.
    pub(crate) async fn add(
        &self,
        id: u64,
        name: String,
        address: String,
    ) -> Result<(), GroupError> {
        let node = node(&self.cluster(), name, address);
        let nodes = BTreeMap::from([(id, node)]);
        self.change(ChangeMembers::AddNodes(nodes), true).await
    }

    /// Lets a server of the group count.
    pub(crate) async fn promote(&self, id: u64) -> Result<(), GroupError> {
        self.change(ChangeMembers::AddVoterIds([id].into()), true)
            .await
    }

    /// Whether a change of who votes was begun, and its second step is not in the log: the servers
    /// before and after it have to agree to everything as long as that is so.
    pub(crate) fn is_changing(&self) -> bool {
        let watched = self.library.metrics();
        let metrics = watched.borrow();
        let steps = metrics.membership_config.membership().get_joint_config();
        steps.len() > 1
    }

    /// Takes the second step of a change that whoever began it did not live to see, or gave up.
    pub(crate) async fn finish_change(&self) -> Result<(), GroupError> {
        self.change(ChangeMembers::AddVoterIds(BTreeSet::new()), false)
            .await
    }

    /// Takes a server out of the group.
    pub(crate) async fn remove(&self, id: u64) -> Result<(), GroupError> {
        let counts = {
            let watched = self.library.metrics();
            let metrics = watched.borrow();
            let membership = metrics.membership_config.membership();
            if membership.get_node(&id).is_none() {
                return Err(GroupError::Unknown(format!("{id:x}")));
            }
            membership.voter_ids().any(|voter| voter == id)
        };
        if counts {
            self.change(ChangeMembers::RemoveVoters([id].into()), false)
                .await
        } else {
            self.change(ChangeMembers::RemoveNodes([id].into()), true)
                .await
        }
    }

    /// Lets another server lead. Nothing is written meanwhile: the other servers vote for it once
    /// they have heard nothing of this one for as long as its lease lasts.
    pub(crate) async fn transfer(&self, to: u64) -> Result<(), GroupError> {
        let servers = self.configuration();
        let server = servers
            .iter()
            .find(|server| server.id == to && server.votes);
        let server = server.ok_or_else(|| GroupError::Unknown(format!("{to:x}")))?;
        let before = self.leadership();
        if !before.is_own {
            return Err(GroupError::NotLeader);
        }
        if to == self.id {
            return Ok(());
        }
        self.transfers.store(true, Ordering::Relaxed);
        let runtime = self.library.runtime_config();
        runtime.heartbeat(false);
        runtime.elect(false);
        sleep(self.election_max + Duration::from_millis(20)).await;
        let asked = self
            .pool
            .call(&server.address, Call::Elect, Vec::new(), TRANSFER_TIMEOUT);
        let asked = asked.await;
        let moved = timeout(TRANSFER_TIMEOUT, self.leadership_after(&before)).await;
        runtime.heartbeat(true);
        runtime.elect(true);
        self.transfers.store(false, Ordering::Relaxed);
        asked.map_err(|error| GroupError::Library(error.to_string()))?;
        moved
            .map(drop)
            .map_err(|_| GroupError::Timeout(TRANSFER_TIMEOUT))
    }
}

fn node(cluster: &str, name: String, address: String) -> ServerNode {
    ServerNode {
        address,
        name,
        cluster: cluster.to_owned(),
    }
}

//! How the servers of the group are, and what follows from it: which new one begins to vote, and
//! which dead one is taken out. `voters` carries that out.

use jobs::model::{AutopilotConfig, Index, Timestamp};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

use super::directory::{self, KnownServer, Status};
use crate::{Core, Voter, log::propose::now};

/// A server that was silent for so long does not come back soon.
const DEAD_AFTER: Duration = Duration::from_secs(15);

/// How a server of the group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHealth {
    /// Its place in the group.
    pub server: Voter,
    /// Whether it is there.
    pub status: Status,
    /// The version of its program; empty when it was never heard of.
    pub version: String,
    /// How long it owes the leader an answer; where another server leads, how long ago it was heard
    /// of.
    pub last_contact: Duration,
    /// It is there, answers in time, and has nearly all of the log.
    pub is_healthy: bool,
    /// Since when it has been as healthy or not as it is.
    pub stable_since: Timestamp,
    /// How long that is.
    pub stable_for: Duration,
    /// For how long nothing at all was heard of it, while this server led.
    pub(super) silent_for: Duration,
}

/// How the servers of the group are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupHealth {
    /// Each of them.
    pub servers: Vec<ServerHealth>,
}

impl GroupHealth {
    /// Whether there is a leader and every server is well.
    pub fn is_healthy(&self) -> bool {
        self.servers.iter().any(|one| one.server.is_leader)
            && self.servers.iter().all(|one| one.is_healthy)
    }

    /// How many more servers may fail before nothing can be written.
    pub fn tolerance(&self) -> usize {
        self.tolerance_of(|one| one.server.votes)
    }

    /// The same once those vote that are about to.
    pub fn optimistic_tolerance(&self) -> usize {
        self.tolerance_of(|one| one.server.votes || one.is_healthy)
    }

    fn tolerance_of(&self, votes: impl Fn(&ServerHealth) -> bool) -> usize {
        let voters = self.servers.iter().filter(|one| votes(one));
        let healthy = voters.clone().filter(|one| one.is_healthy).count();
        let quorum = voters.count() / 2 + 1;
        healthy.saturating_sub(quorum)
    }
}

/// Since when each server has been as it is. Only a leader looks often enough to know.
#[derive(Debug)]
pub(crate) struct Tracker {
    begun: Instant,
    looked: Instant,
    by_id: BTreeMap<u64, Since>,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    is_healthy: bool,
    at: Instant,
    shown: Timestamp,
}

impl Default for Tracker {
    fn default() -> Self {
        let begun = Instant::now();
        Self {
            begun,
            looked: begun,
            by_id: BTreeMap::new(),
        }
    }
}

impl Tracker {
    /// Forgets what was before.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }

    /// Takes note of how the servers are. Whoever did not look for long stood still itself, and
    /// cannot say how long others have been silent.
    fn note(&mut self, at: Instant, shown: Timestamp, seen: &Seen) {
        if at - self.looked >= DEAD_AFTER {
            self.begun = at;
            self.by_id.clear();
        }
        self.looked = at;
        let servers = seen.servers.iter();
        let now = servers.map(|server| {
            let is_healthy = seen.is_healthy(server, self.begun, at);
            let before = self.by_id.get(&server.id);
            let before = before.filter(|before| before.is_healthy == is_healthy);
            let since = Since {
                is_healthy,
                at,
                shown,
            };
            (server.id, before.copied().unwrap_or(since))
        });
        self.by_id = now.collect();
    }

    fn since(&self, id: u64, now: Since) -> Since {
        let known = self.by_id.get(&id);
        let known = known.filter(|known| known.is_healthy == now.is_healthy);
        known.copied().unwrap_or(now)
    }
}

/// What a server knows of the servers at one moment.
#[derive(Clone, Debug, Default)]
struct Seen {
    config: AutopilotConfig,
    servers: Vec<Voter>,
    known: Vec<KnownServer>,
    own: u64,
    /// This server leads.
    leads: bool,
    term: u64,
    last_index: Index,
}

impl Seen {
    fn of(core: &Core) -> Self {
        let metrics = core.raft.metrics();
        Self {
            config: *core.published.current().jobs.autopilot_config(),
            servers: core.raft.configuration(),
            known: directory::all(core),
            own: core.raft.raft().map_or(0, |raft| raft.id()),
            leads: metrics.is_leader,
            term: metrics.term,
            last_index: metrics.last_log_index,
        }
    }

    fn known(&self, id: u64) -> Option<&KnownServer> {
        self.known.iter().find(|known| known.member.id == id)
    }

    fn status(&self, id: u64) -> Status {
        self.known(id).map_or(Status::Failed, |known| known.status)
    }

    /// How long ago a server was heard of, in whatever way.
    fn heard(&self, server: &Voter) -> Option<Duration> {
        let known = self.known(server.id).and_then(|known| known.silent_for);
        known.into_iter().chain(server.silent_for).min()
    }

    /// How long a server owes the leader an answer. The time since its last answer would say more
    /// of how often the leader asks.
    fn last_contact(&self, server: &Voter, begun: Instant, at: Instant) -> Duration {
        if server.id == self.own {
            return Duration::ZERO;
        }
        let answers = self.leads && server.silent_for.is_some();
        let own = answers.then_some(server.unanswered_for);
        let contact = own.or_else(|| self.heard(server));
        contact.unwrap_or_else(|| at - begun)
    }

    fn is_healthy(&self, server: &Voter, begun: Instant, at: Instant) -> bool {
        if self.status(server.id) != Status::Alive {
            return false;
        }
        if server.is_leader || !self.leads {
            return true;
        }
        let limit = self.config.last_contact_threshold.to_std();
        let matched = server.matched.unwrap_or(0);
        self.last_contact(server, begun, at) <= limit
            && server.matched_term == self.term
            && matched.saturating_add(self.config.max_trailing_logs) >= self.last_index
    }

    fn health(&self, tracker: &Tracker, at: Instant, shown: Timestamp) -> GroupHealth {
        let health = |server: &Voter| {
            let known = self.known(server.id);
            let is_healthy = self.is_healthy(server, tracker.begun, at);
            let now = Since {
                is_healthy,
                at,
                shown,
            };
            let since = tracker.since(server.id, now);
            let led = at - tracker.begun;
            ServerHealth {
                status: self.status(server.id),
                version: known.map_or_else(String::new, |known| known.member.version.clone()),
                last_contact: self.last_contact(server, tracker.begun, at),
                is_healthy,
                stable_since: since.shown,
                stable_for: at - since.at,
                silent_for: self.heard(server).map_or(led, |silent| silent.min(led)),
                server: server.clone(),
            }
        };
        GroupHealth {
            servers: self.servers.iter().map(health).collect(),
        }
    }
}

/// How the servers are, as this one sees it.
pub(crate) fn health(core: &Core) -> GroupHealth {
    Seen::of(core).health(&core.autopilot.lock(), Instant::now(), now())
}

/// The same, and takes note of it.
pub(super) fn look(core: &Core) -> GroupHealth {
    let seen = Seen::of(core);
    let (at, shown) = (Instant::now(), now());
    let mut tracker = core.autopilot.lock();
    tracker.note(at, shown, &seen);
    seen.health(&tracker, at, shown)
}

/// The server that is to be taken out because it is dead: one that does not vote first, and voters
/// as long as the others are a majority and as many as are wanted at least. The leader is alive.
pub(super) fn dead(config: &AutopilotConfig, servers: &[ServerHealth]) -> Option<u64> {
    if !config.cleanup_dead_servers {
        return None;
    }
    let is_dead = |one: &&ServerHealth| {
        one.status == Status::Failed && one.silent_for >= DEAD_AFTER && !one.server.is_leader
    };
    let dead = servers.iter().filter(is_dead);
    let mut aside = dead.clone().filter(|one| !one.server.votes);
    if let Some(learner) = aside.next() {
        return Some(learner.server.id);
    }
    let voters = servers.iter().filter(|one| one.server.votes).count();
    let left = u64::try_from(voters).unwrap_or(u64::MAX).checked_sub(1)?;
    // Where a majority seems dead and entries are still written, it is this view that is wrong.
    if dead.clone().count() > voters.checked_sub(1)? / 2 || left < config.min_quorum {
        return None;
    }
    dead.map(|one| one.server.id).next()
}

/// The server that is to vote from now on: it was healthy for long enough.
pub(super) fn stable(config: &AutopilotConfig, servers: &[ServerHealth]) -> Option<u64> {
    let wanted = config.server_stabilization_time.to_std();
    let mut stable = servers
        .iter()
        .filter(|one| !one.server.votes && one.is_healthy && one.stable_for >= wanted);
    stable.next().map(|one| one.server.id)
}

#[cfg(test)]
mod tests;

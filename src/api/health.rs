//! How the servers are, as the leader knows it.

use server::{KnownServer, Status, Voter};
use std::time::Duration;

/// Entries that a healthy server is behind at most.
const BEHIND_MAX: u64 = 250;

/// What is known of the servers at one moment.
#[derive(Debug)]
pub(super) struct Health {
    known: Vec<KnownServer>,
    last_index: u64,
}

impl Health {
    pub(super) fn new(server: &server::Handle) -> Self {
        Self {
            known: server.known_servers(),
            last_index: server.raft_metrics().last_log_index,
        }
    }

    fn known(&self, voter: &Voter) -> Option<&KnownServer> {
        self.known.iter().find(|known| known.member.id == voter.id)
    }

    /// Its status among the members.
    pub(super) fn status(&self, voter: &Voter) -> &'static str {
        self.known(voter)
            .map_or("failed", |known| name(known.status))
    }

    /// The version of its program; empty when it was never heard of.
    pub(super) fn version(&self, voter: &Voter) -> &str {
        self.known(voter)
            .map_or("", |known| known.member.version.as_str())
    }

    /// How many entries it is behind; none when this server does not lead.
    pub(super) fn behind(&self, voter: &Voter) -> Option<u64> {
        let matched = if voter.is_leader {
            Some(self.last_index)
        } else {
            voter.matched
        };
        matched.map(|at| self.last_index.saturating_sub(at))
    }

    /// How long ago it was heard of.
    pub(super) fn last_contact(&self, voter: &Voter) -> String {
        let silent = self.known(voter).and_then(|known| known.silent_for);
        match silent {
            Some(Duration::ZERO) => "0s".to_owned(),
            Some(silent) => format!("{}ms", silent.as_millis()),
            None => "never".to_owned(),
        }
    }

    /// Whether it answers and has nearly all of the log.
    pub(super) fn of(&self, voter: &Voter) -> bool {
        let is_there = self
            .known(voter)
            .is_some_and(|known| known.status == Status::Alive);
        let is_close = |at: u64| at + BEHIND_MAX >= self.last_index;
        is_there && (voter.is_leader || voter.matched.is_none_or(is_close))
    }

    /// Whether there is a leader and every server is well.
    pub(super) fn is_healthy(&self, voters: &[Voter]) -> bool {
        voters.iter().any(|voter| voter.is_leader) && voters.iter().all(|voter| self.of(voter))
    }

    /// How many more servers may fail before nothing can be written.
    pub(super) fn tolerance(&self, voters: &[Voter]) -> usize {
        let votes = voters.iter().filter(|voter| voter.votes);
        let well = votes.clone().filter(|voter| self.of(voter)).count();
        let quorum = votes.count() / 2 + 1;
        well.saturating_sub(quorum)
    }
}

/// A status under its usual name.
pub(super) fn name(status: Status) -> &'static str {
    match status {
        Status::Alive => "alive",
        Status::Failed => "failed",
        Status::Left => "left",
    }
}

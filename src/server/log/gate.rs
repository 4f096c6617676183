//! The log as the parts of a server use it: open, or closed with the reason why.
//!
//! A log that broke, for example on a full disk, is closed and later opened again in the same
//! process. Meanwhile writes are refused with the reason, and readers keep the last known state.

use jobs::model::Index;
use parking_lot::RwLock;
use registration::Version;
use std::sync::Arc;

use super::{
    super::state::{Command, Outcome},
    propose::ProposeError,
    published::Published,
    raft::{Leadership, Metrics, Options, Raft, StartError, Voter},
};

/// The log, open or closed.
#[derive(Debug)]
pub(crate) struct Gate {
    options: Options,
    published: Arc<Published>,
    now: RwLock<Result<Raft, Closed>>,
}

/// What is known of a closed log.
#[derive(Clone, Debug)]
struct Closed {
    reason: Arc<str>,
    metrics: Metrics,
    voters: Vec<Voter>,
}

impl Gate {
    /// Opens the log; see [`Raft::start`].
    pub(crate) async fn open(
        options: Options,
        published: Arc<Published>,
    ) -> Result<Self, StartError> {
        let raft = Raft::start(options.clone(), Arc::clone(&published)).await?;
        Ok(Self {
            options,
            published,
            now: RwLock::new(Ok(raft)),
        })
    }

    /// Closes the log; what was acknowledged stays. Writes are refused with `reason` from now on.
    pub(crate) async fn close(&self, reason: &str) {
        let Ok(raft) = self.raft() else { return };
        let metrics = Metrics {
            is_leader: false,
            ..raft.metrics()
        };
        let mut voters = raft.configuration();
        for voter in &mut voters {
            voter.is_leader = false;
        }
        *self.now.write() = Err(Closed {
            reason: reason.into(),
            metrics,
            voters,
        });
        raft.shutdown().await;
    }

    /// Opens a closed log again. Readers see nothing older than what they saw before.
    pub(crate) async fn reopen(&self) -> Result<(), StartError> {
        let raft = Raft::start(self.options.clone(), Arc::clone(&self.published)).await?;
        *self.now.write() = Ok(raft);
        Ok(())
    }

    /// The log of an agent that runs no server: closed, and never opened.
    pub(crate) fn absent(options: Options, reason: &str, published: Arc<Published>) -> Self {
        let closed = Closed {
            reason: reason.into(),
            metrics: Metrics::default(),
            voters: Vec::new(),
        };
        Self {
            options,
            published,
            now: RwLock::new(Err(closed)),
        }
    }

    /// The log while it is open.
    pub(crate) fn raft(&self) -> Result<Raft, ProposeError> {
        match &*self.now.read() {
            Ok(raft) => Ok(raft.clone()),
            Err(closed) => Err(ProposeError::Storage {
                reason: Arc::clone(&closed.reason),
            }),
        }
    }

    /// True when the log is closed and no other server has it.
    pub(crate) fn is_closed_alone(&self) -> bool {
        let now = self.now.read();
        matches!(&*now, Err(closed) if closed.voters.len() == 1)
    }

    /// Writes a command; answers when it is durable and applied.
    pub(crate) async fn propose(&self, command: Command) -> Result<(Index, Outcome), ProposeError> {
        self.may_propose(&command)?;
        let answer = self.raft()?.propose(command).await;
        answer.map_err(|error| self.explain(error))
    }

    /// Goes over to the rules of `version` when they are newer than those in force.
    pub(crate) async fn raise_version(&self, to: Version) -> Result<(), ProposeError> {
        if to <= self.published.current().version {
            return Ok(());
        }
        // The state never refuses it.
        self.propose(Command::RaiseVersion { to }).await.map(drop)
    }

    /// The reason why the log was closed meanwhile, for what ended because of that.
    fn explain(&self, error: ProposeError) -> ProposeError {
        match &*self.now.read() {
            Err(closed) if error == ProposeError::Stopped => ProposeError::Storage {
                reason: Arc::clone(&closed.reason),
            },
            _ => error,
        }
    }

    /// Refuses what not every server of the cluster may know.
    fn may_propose(&self, command: &Command) -> Result<(), ProposeError> {
        check_version(command.version(), self.published.current().version)?;
        Ok(command.check_rules()?)
    }

    /// Writes commands that do not depend on each other, in few entries: all of them are handed in
    /// before the first is waited for. The answers are in the same order.
    pub(crate) async fn propose_all(
        &self,
        commands: Vec<Command>,
    ) -> Vec<Result<(Index, Outcome), ProposeError>> {
        let raft = commands
            .iter()
            .try_for_each(|command| self.may_propose(command))
            .and_then(|()| self.raft());
        match raft {
            Ok(raft) => {
                let answers = raft.propose_all(commands).await.into_iter();
                let answers = answers.map(|answer| answer.map_err(|error| self.explain(error)));
                answers.collect()
            }
            Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Returns once everything that was acknowledged anywhere before this call is in the state
    /// here.
    pub(crate) async fn read_barrier(&self) -> Result<(), ProposeError> {
        self.raft()?.read_barrier().await
    }

    /// Whether the log is open and no other server can lead.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(&*self.now.read(), Ok(raft) if raft.is_alone())
    }

    /// Resolves with the reason when the log cannot be written any more.
    pub(crate) async fn broken(&self) -> String {
        match self.raft() {
            Ok(raft) => raft.broken().await,
            Err(closed) => closed.to_string(),
        }
    }

    /// Who leads; nobody as far as a server with a closed log knows.
    pub(crate) fn leadership(&self) -> Leadership {
        self.raft()
            .map_or_else(|_| Leadership::default(), |raft| raft.leadership())
    }

    /// Where the log stands, or stood when it was closed.
    pub(crate) fn metrics(&self) -> Metrics {
        match &*self.now.read() {
            Ok(raft) => raft.metrics(),
            Err(closed) => closed.metrics,
        }
    }

    /// The voters.
    pub(crate) fn configuration(&self) -> Vec<Voter> {
        match &*self.now.read() {
            Ok(raft) => raft.configuration(),
            Err(closed) => closed.voters.clone(),
        }
    }
}

/// Whether a command of rules `needed` may be proposed while those of `current` are in force.
fn check_version(needed: Version, current: Version) -> Result<(), ProposeError> {
    if needed > current {
        return Err(ProposeError::Version { needed, current });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_newer_rules_is_refused_until_they_are_in_force() {
        let next = Version::FIRST.next();
        for (needed, current, refused) in [
            (Version::FIRST, Version::FIRST, false),
            (Version::FIRST, next, false),
            (next, next, false),
            (next, Version::FIRST, true),
        ] {
            let error = check_version(needed, current).err();
            let error = error.map(|error| error.to_string());
            assert_eq!(error.is_some(), refused, "{error:?}");
            if let Some(error) = error {
                assert!(error.contains("version 1 of its rules"), "{error}");
                assert!(error.contains("needs 2"), "{error}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_raises_the_rules_to_what_this_server_does_not_know() {
        let directory = tempfile::tempdir().unwrap();
        let published = Arc::new(Published::default());
        let options = Options {
            directory: directory.path().to_owned(),
            address: "127.0.0.1:4647".into(),
            name: "one".into(),
            begins_alone: true,
            security: rpc::security::Security::Plain,
            multiplier: 1,
        };
        let gate = Gate::open(options, Arc::clone(&published)).await.unwrap();
        let unknown = Version::SUPPORTED.next();
        let refused = gate.raise_version(unknown).await.unwrap_err();
        assert!(
            refused.to_string().contains(&format!("version {unknown}")),
            "{refused}"
        );
        assert!(!refused.is_retryable());
        let hidden = Command::Sequence(vec![Command::RaiseVersion { to: unknown }]);
        let answers = gate.propose_all(vec![hidden]).await;
        assert!(
            matches!(answers[..], [Err(ProposeError::Rules(_))]),
            "{answers:?}"
        );
        // Known ones are taken, also again, after the log was closed and opened.
        let known = || Command::RaiseVersion {
            to: Version::SUPPORTED,
        };
        gate.propose(known()).await.unwrap().1.unwrap();
        assert_eq!(published.current().version, Version::SUPPORTED);
        gate.close("a test").await;
        let error = gate.propose(known()).await.unwrap_err();
        assert_eq!(error.to_string(), "the log cannot be written: a test");
        gate.reopen().await.unwrap();
        gate.propose(known()).await.unwrap().1.unwrap();
    }
}

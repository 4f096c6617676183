//! The replicated state machine as the Raft library sees it: apply, snapshot, restore.

use openraft::{
    BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot,
    SnapshotMeta, StorageError, StorageIOError, StoredMembership, storage::RaftStateMachine,
};
use std::{io, sync::Arc};
use tokio::{fs::File, task::spawn_blocking};

use super::super::{
    super::state::{Changes, Stamp, State},
    published::Published,
};
use super::{
    snapshot::{self, SnapshotFile},
    types::{Batch, Outcomes, Types},
};

type Failure = StorageError<u64>;

/// The state with its place in the log.
pub(super) struct StateMachine {
    state: State,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    file: SnapshotFile,
    published: Arc<Published>,
}

impl StateMachine {
    /// The state of the last snapshot.
    pub(super) fn load(file: SnapshotFile, published: Arc<Published>) -> io::Result<Self> {
        let (meta, state) = file.read()?.unwrap_or_default();
        let machine = Self {
            state,
            applied: meta.last_log_id,
            membership: meta.last_membership,
            file,
            published,
        };
        machine
            .published
            .commit(Changes::default(), machine.state.stamp(), &machine.state);
        Ok(machine)
    }

    fn apply_batch(
        &mut self,
        log_id: LogId<u64>,
        batch: &Batch,
    ) -> Result<Outcomes, rmp_serde::decode::Error> {
        let at = Stamp {
            index: log_id.index,
            now_ns: batch.now,
        };
        let mut changes = Changes::default();
        let mut outcomes = Vec::with_capacity(batch.proposals.len());
        for proposal in &batch.proposals {
            outcomes.push(self.state.apply(at, proposal.take()?, &mut changes));
        }
        self.state.advance(at);
        self.published.commit(changes, at, &self.state);
        Ok(Outcomes(outcomes))
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), Failure> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, Failure>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        for entry in entries {
            self.applied = Some(entry.log_id);
            answers.push(match entry.payload {
                EntryPayload::Blank => Outcomes::default(),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Outcomes::default()
                }
                EntryPayload::Normal(batch) => self
                    .apply_batch(entry.log_id, &batch)
                    .map_err(|error| StorageIOError::apply(entry.log_id, &error))?,
            });
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            state: self.state.clone(),
            applied: self.applied,
            membership: self.membership.clone(),
            file: self.file.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<File>, Failure> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.file.received_path())
            .await
            .map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        Ok(Box::new(file))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<File>,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| StorageIOError::read_snapshot(None, &error);
        snapshot.sync_all().await.map_err(failed)?;
        let file = self.file.clone();
        let state = spawn_blocking(move || {
            let path = file.received_path();
            let (_, state) = snapshot::read_from(std::fs::File::open(&path)?)?;
            file.put_in_place(&path)?;
            Ok(state)
        })
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(failed)?;
        self.state = state;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.published
            .commit(Changes::default(), self.state.stamp(), &self.state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        let failed = |error: io::Error| StorageIOError::read_snapshot(None, &error);
        let file = self.file.clone();
        let opened = spawn_blocking(move || file.open_with_meta())
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed)?;
        Ok(opened.map(|(meta, file)| Snapshot {
            meta,
            snapshot: Box::new(File::from_std(file)),
        }))
    }
}

/// Writes one state to the snapshot file while the machine goes on.
pub(super) struct Builder {
    state: State,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    file: SnapshotFile,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let failed = |error: io::Error| StorageIOError::write_snapshot(None, &error);
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: self
                .applied
                .map_or_else(String::new, |id| format!("{}-{}", id.leader_id, id.index)),
        };
        let (file, state, of_file) = (self.file.clone(), self.state.clone(), meta.clone());
        let written = spawn_blocking(move || {
            file.write(&of_file, &state)?;
            file.open_with_meta()
        })
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(failed)?;
        let (_, opened) = written.ok_or_else(|| {
            failed(io::Error::other(
                "the snapshot vanished after it was written",
            ))
        })?;
        Ok(Snapshot {
            meta,
            snapshot: Box::new(File::from_std(opened)),
        })
    }
}

//! The replicated state machine as the Raft library sees it: apply, snapshot, restore.

use openraft::{
    Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StorageIOError, StoredMembership, storage::RaftStateMachine,
};
use parking_lot::Mutex;
use std::{io, sync::Arc};
use sys::threads::blocking;

use super::super::{
    super::state::{Changes, Stamp, State},
    published::Published,
};
use super::{
    StartError,
    carried::Carried,
    snapshot::{self, Meta, SnapshotFile},
    types::{Batch, Outcomes, ServerNode, Types},
};
use registration::UnknownRules;

type Failure = StorageError<u64>;

/// The state with its place in the log.
pub(super) struct StateMachine {
    state: State,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, ServerNode>,
    file: SnapshotFile,
    published: Arc<Published>,
    too_new: TooNew,
}

/// The first entry that a newer build is needed for, when the machine came upon one; it applied
/// nothing from there on.
pub(super) type TooNew = Arc<Mutex<Option<(u64, UnknownRules)>>>;

/// Why an entry cannot be applied.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error(transparent)]
    Undecodable(#[from] rmp_serde::decode::Error),
    #[error(transparent)]
    Rules(#[from] UnknownRules),
}

impl StateMachine {
    /// The state of the last snapshot.
    pub(super) fn load(file: SnapshotFile, published: Arc<Published>) -> Result<Self, StartError> {
        let (meta, state) = file.read()?.unwrap_or_default();
        let machine = Self {
            state,
            applied: meta.last_log_id,
            membership: meta.last_membership,
            file,
            published,
            too_new: TooNew::default(),
        };
        machine.published.replace(&machine.state);
        Ok(machine)
    }

    /// The servers of the group, as far as the state knows them.
    pub(super) fn members(&self) -> impl Iterator<Item = u64> + '_ {
        self.membership.nodes().map(|(id, _)| *id)
    }

    /// The last entry in the state.
    pub(super) fn applied_index(&self) -> Option<u64> {
        self.applied.map(|id| id.index)
    }

    /// Where it says that it came upon an entry of newer rules.
    pub(super) fn too_new(&self) -> TooNew {
        Arc::clone(&self.too_new)
    }

    fn apply_batch(&mut self, log_id: LogId<u64>, batch: &Batch) -> Result<Outcomes, ApplyError> {
        let at = Stamp {
            index: log_id.index,
            now: batch.now,
        };
        let mut changes = Changes::default();
        let mut outcomes = Vec::with_capacity(batch.proposals.len());
        for proposal in &batch.proposals {
            let command = proposal.take()?;
            if let Err(error) = command.check_rules() {
                *self.too_new.lock() = Some((log_id.index, error));
                return Err(error.into());
            }
            outcomes.push(self.state.apply(at, command, &mut changes));
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
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, ServerNode>), Failure> {
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

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Carried>, Failure> {
        let received = Carried::create(self.file.received_path()).await;
        let received = received.map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        Ok(Box::new(received))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, ServerNode>,
        snapshot: Box<Carried>,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| StorageIOError::read_snapshot(None, &error);
        snapshot.sync_all().await.map_err(failed)?;
        let (file, of_file) = (self.file.clone(), meta.clone());
        let state = blocking(move || {
            let path = file.received_path();
            let (_, state) = snapshot::read_from(std::fs::File::open(&path)?)?;
            file.put_in_place(&path, &of_file)?;
            Ok(state)
        })
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(failed)?;
        self.state = state;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.published.replace(&self.state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        let failed = |error: io::Error| StorageIOError::read_snapshot(None, &error);
        let file = self.file.clone();
        let opened = blocking(move || file.open_with_meta())
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed)?;
        Ok(opened.map(|(meta, file)| Snapshot {
            meta,
            snapshot: Box::new(Carried::from(file)),
        }))
    }
}

/// Writes one state to the snapshot file while the machine goes on.
pub(super) struct Builder {
    state: State,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, ServerNode>,
    file: SnapshotFile,
}

/// Where nothing is, for a snapshot that is not there.
const NO_FILE: &str = "/dev/null";

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: snapshot::snapshot_id(self.applied),
        };
        let (file, state) = (self.file.clone(), self.state.clone());
        let (meta, file) = blocking(move || write_or_keep(&file, meta, &state))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        Ok(Snapshot {
            meta,
            snapshot: Box::new(Carried::from(file)),
        })
    }
}

/// Writes a snapshot. When that fails, for example on a full disk, the log goes on and only stays
/// as long as it is: the library is handed the snapshot from before, which it takes note of without
/// purging.
fn write_or_keep(
    file: &SnapshotFile,
    meta: Meta,
    state: &State,
) -> io::Result<(Meta, std::fs::File)> {
    if let Err(error) = file.write(&meta, state) {
        tracing::error!(%error, "cannot write a snapshot; the log keeps growing until one succeeds");
    }
    match file.open_with_meta()? {
        Some(opened) => Ok(opened),
        None => Ok((Meta::default(), std::fs::File::open(NO_FILE)?)),
    }
}

//! What was acknowledged is there after every kind of end.

use super::*;
use crate::server::state::Command;
use log_store::LogStore;
use mesh::state::{Command as MeshCommand, SetRouteOverrides};
use openraft::{
    CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogReader, Vote,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use parking_lot::Mutex;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use redb::{Database, StorageBackend};
use types::{Batch, Proposal};

/// A disk in memory that knows what is synced.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    synced: Vec<u8>,
    current: Vec<u8>,
    /// Since the last sync, in order.
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    fn carry_out(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl DiskState {
    fn change(&mut self, change: Change) {
        change.carry_out(&mut self.current);
        self.unsynced.push(change);
    }
}

impl Disk {
    /// What a power cut leaves: all that is synced, and any part of the rest, the last write torn.
    fn after_power_cut(&self, random: &mut ChaCha8Rng) -> Self {
        let state = self.0.lock();
        let mut bytes = state.synced.clone();
        for change in &state.unsynced {
            match (change, random.next_u32() % 3) {
                (_, 0) => {}
                (Change::Write(offset, data), 1) => {
                    let kept = usize::try_from(random.next_u32()).unwrap() % data.len().max(1);
                    Change::Write(*offset, data[..kept].to_vec()).carry_out(&mut bytes);
                }
                (change, _) => change.carry_out(&mut bytes),
            }
        }
        Self(Arc::new(Mutex::new(DiskState {
            synced: bytes.clone(),
            current: bytes,
            unsynced: Vec::new(),
        })))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let state = self.0.lock();
        let end = offset + out.len();
        let bytes = state.current.get(offset..end);
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let length = usize::try_from(len).unwrap();
        self.0.lock().change(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.synced = state.current.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.0.lock().change(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}

fn store_on(disk: &Disk) -> LogStore {
    let database = Database::builder()
        .create_with_backend(disk.clone())
        .unwrap();
    LogStore::with_database(database).unwrap()
}

fn routes(text: &str) -> Command {
    Command::from(MeshCommand::SetRouteOverrides(SetRouteOverrides {
        text: text.to_owned(),
        expected_index: None,
    }))
}

fn log_id(index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(1, NODE_ID), index)
}

fn entry(index: u64) -> Entry<Types> {
    let proposals = vec![Proposal::new(routes(&format!("route {index}"))).unwrap()];
    Entry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(Batch {
            now: i64::try_from(index).unwrap(),
            proposals,
        }),
    }
}

async fn indexes(store: &mut LogStore) -> Vec<u64> {
    let entries = store.try_get_log_entries(0..u64::MAX).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

#[tokio::test]
async fn every_acknowledged_entry_and_vote_survives_a_power_cut() {
    for seed in 0..48 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let disk = Disk::default();
        let mut store = store_on(&disk);
        let count = u64::from(random.next_u32() % 40);
        let vote = Vote::new(7 + seed, NODE_ID);
        store.save_vote(&vote).await.unwrap();
        for index in 0..count {
            store.blocking_append([entry(index)]).await.unwrap();
        }
        store.blocking_append([entry(count)]).await.unwrap();
        for _ in 0..4 {
            let mut reopened = store_on(&disk.after_power_cut(&mut random));
            assert_eq!(
                reopened.read_vote().await.unwrap(),
                Some(vote),
                "seed {seed}"
            );
            assert_eq!(
                indexes(&mut reopened).await,
                (0..=count).collect::<Vec<_>>(),
                "seed {seed}"
            );
        }
    }
}

#[tokio::test]
async fn a_write_cut_off_half_way_leaves_the_entries_before_it() {
    for seed in 0..48 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let disk = Disk::default();
        let mut store = store_on(&disk);
        for index in 0..5 {
            store.blocking_append([entry(index)]).await.unwrap();
        }
        // The same writes as an append makes, but without its sync.
        let before = disk.0.lock().current.clone();
        let replica = Disk(Arc::new(Mutex::new(DiskState {
            synced: before.clone(),
            current: before.clone(),
            unsynced: Vec::new(),
        })));
        store.blocking_append([entry(5)]).await.unwrap();
        let after = disk.0.lock().current.clone();
        for (offset, page) in after.chunks(512).enumerate() {
            let offset = offset * 512;
            if before.get(offset..offset + page.len()) != Some(page) && random.next_u32() % 2 == 0 {
                replica
                    .0
                    .lock()
                    .change(Change::Write(offset, page.to_vec()));
            }
        }
        let mut reopened = store_on(&replica.after_power_cut(&mut random));
        let found = indexes(&mut reopened).await;
        assert!(
            found.starts_with(&[0, 1, 2, 3, 4]) && found.len() <= 6,
            "seed {seed}: {found:?}"
        );
    }
}

#[tokio::test]
async fn truncated_and_purged_entries_stay_away_after_a_restart() {
    let disk = Disk::default();
    let mut store = store_on(&disk);
    store
        .blocking_append((0..10).map(entry).collect::<Vec<_>>())
        .await
        .unwrap();
    store.truncate(log_id(8)).await.unwrap();
    store.purge(log_id(2)).await.unwrap();
    assert_eq!(indexes(&mut store).await, [3, 4, 5, 6, 7]);
    let mut reopened = store_on(&disk);
    assert_eq!(indexes(&mut reopened).await, [3, 4, 5, 6, 7]);
    let state = reopened.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(2)));
    assert_eq!(state.last_log_id, Some(log_id(7)));
    reopened.purge(log_id(7)).await.unwrap();
    let state = store_on(&disk).get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(7)));
}

async fn raft_in(directory: &Path) -> (Raft, Arc<Published>) {
    let published = Arc::new(Published::default());
    let raft = Raft::start(directory, "127.0.0.1:4647", Arc::clone(&published))
        .await
        .unwrap();
    (raft, published)
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_and_snapshot_with_replay_give_the_same_state() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, published) = raft_in(directory.path()).await;
    for number in 0..20 {
        let (_, outcome) = raft.propose(routes(&number.to_string())).await.unwrap();
        outcome.unwrap();
    }
    let before = published.current();
    raft.shutdown().await;
    drop(raft);

    // Replay alone.
    let (raft, published) = raft_in(directory.path()).await;
    assert_eq!(published.current().mesh, before.mesh);
    assert_eq!(published.current().index, before.index);
    raft.library.trigger().snapshot().await.unwrap();
    let has_snapshot = |metrics: &openraft::RaftMetrics<u64, BasicNode>| metrics.snapshot.is_some();
    raft.library
        .wait(Some(LEAD_TIMEOUT))
        .metrics(has_snapshot, "a snapshot")
        .await
        .unwrap();
    let (_, outcome) = raft.propose(routes("after the snapshot")).await.unwrap();
    outcome.unwrap();
    let before = published.current();
    raft.shutdown().await;
    drop(raft);

    // The snapshot, then what came after it.
    let (raft, published) = raft_in(directory.path()).await;
    assert!(raft.metrics().snapshot_index > 0);
    assert_eq!(published.current().mesh, before.mesh);
    assert_eq!(published.current().index, before.index);
    assert_eq!(
        published.current().mesh.route_overrides().text,
        "after the snapshot"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_wait_share_an_entry_and_each_gets_its_answer() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, published) = raft_in(directory.path()).await;
    let first = raft.metrics().last_log_index;
    let conditional = |number: u64| {
        Command::from(MeshCommand::SetRouteOverrides(SetRouteOverrides {
            text: format!("route {number}"),
            // Every second one expects a version that never was.
            expected_index: (number % 2 == 1).then_some(u64::MAX),
        }))
    };
    let proposals = (0..400).map(|number| raft.propose(conditional(number)));
    let results = futures_util::future::join_all(proposals).await;
    for (number, result) in results.into_iter().enumerate() {
        let (index, outcome) = result.unwrap();
        assert!(index > first);
        assert_eq!(outcome.is_err(), number % 2 == 1);
    }
    let entries = published.current().index - first;
    assert!(entries < 100, "{entries} entries for 400 commands");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_longer_than_an_entry_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, _) = raft_in(directory.path()).await;
    let long = "x".repeat(proposer::COMMAND_BYTES_MAX + 1);
    let refused = raft.propose(routes(&long)).await;
    assert!(matches!(refused, Err(ProposeError::TooLong { .. })));
    assert!(raft.propose(routes("short")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_voter_leads_at_once() {
    let directory = tempfile::tempdir().unwrap();
    for when in ["first start", "restart"] {
        let (raft, _) = raft_in(directory.path()).await;
        raft.read_barrier().await.unwrap();
        assert!(raft.metrics().is_leader, "{when}");
        assert_eq!(raft.configuration().len(), 1);
        raft.shutdown().await;
    }
}

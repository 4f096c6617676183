//! What was acknowledged is there after every kind of end.

use super::*;
use crate::state::Command;
use bytes::Bytes;
use futures_util::FutureExt as _;
use jobs::model::Timestamp;
use log_store::LogStore;
use mesh::state::{Command as MeshCommand, SetRouteOverrides, UpsertNode};
use openraft::{
    ChangeMembers, CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogReader, Vote,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use registration::Version;
use rpc::transport::{Kind, Listener};
use types::{Batch, Proposal};

/// What a power cut leaves of a directory: everything that `before` has, and any sectors of what
/// `after` has more.
fn after_power_cut(before: &Path, after: &Path, random: &mut ChaCha8Rng) -> tempfile::TempDir {
    let left = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(before).unwrap() {
        let name = entry.unwrap().file_name();
        let mut bytes = std::fs::read(before.join(&name)).unwrap();
        let newer = std::fs::read(after.join(&name)).unwrap();
        for (at, sector) in newer.chunks(512).enumerate() {
            if random.next_u32().is_multiple_of(2) {
                bytes[at * 512..][..sector.len()].copy_from_slice(sector);
            }
        }
        std::fs::write(left.path().join(&name), bytes).unwrap();
    }
    left
}

fn copy(from: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        std::fs::copy(from.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

fn routes(text: &str) -> Command {
    Command::from(MeshCommand::SetRouteOverrides(SetRouteOverrides {
        text: text.to_owned(),
        expected_index: None,
    }))
}

fn log_id(index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(1, identity::FIRST_ID), index)
}

fn entry(index: u64) -> Entry<Types> {
    let proposals = vec![Proposal::new(routes(&format!("route {index}"))).unwrap()];
    Entry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(Batch {
            now: Timestamp::from_nanos(i64::try_from(index).unwrap()),
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
    for seed in 0..6 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let directory = tempfile::tempdir().unwrap();
        let mut store = LogStore::open(directory.path()).unwrap();
        let count = u64::from(random.next_u32() % 40);
        let vote = Vote::new(7 + seed, identity::FIRST_ID);
        store.save_vote(&vote).await.unwrap();
        for index in 0..=count {
            store.blocking_append([entry(index)]).await.unwrap();
        }
        let before = copy(directory.path());
        // Not acknowledged any more when the power is cut.
        let more: Vec<_> = (count + 1..count + 20).map(entry).collect();
        store.blocking_append(more).await.unwrap();
        for _ in 0..4 {
            let left = after_power_cut(before.path(), directory.path(), &mut random);
            let mut reopened = LogStore::open(left.path()).unwrap();
            assert_eq!(
                reopened.read_vote().await.unwrap(),
                Some(vote),
                "seed {seed}"
            );
            let found = indexes(&mut reopened).await;
            let expected: Vec<u64> = (0..found.len() as u64).collect();
            assert!(
                found == expected && found.len() as u64 > count,
                "seed {seed}: {found:?}"
            );
            // What was cut off does not come back behind what is written now.
            let next = found.len() as u64;
            reopened.blocking_append([entry(next)]).await.unwrap();
            drop(reopened);
            let mut again = LogStore::open(left.path()).unwrap();
            assert_eq!(
                indexes(&mut again).await.len() as u64,
                next + 1,
                "seed {seed}"
            );
        }
    }
}

#[tokio::test]
async fn a_log_of_many_segments_reads_back_and_gives_room_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(directory.path()).unwrap();
    let long = |index: u64, bytes: usize| Entry {
        payload: EntryPayload::Normal(Batch {
            now: Timestamp::default(),
            proposals: vec![Proposal::new(routes(&"x".repeat(bytes))).unwrap()],
        }),
        ..entry(index)
    };
    for index in 0..30 {
        // One of them is longer than a whole segment.
        let bytes = if index == 17 { 5 << 20 } else { 600_000 };
        store.blocking_append([long(index, bytes)]).await.unwrap();
    }
    let segments = || {
        let names = std::fs::read_dir(directory.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".log")).count()
    };
    assert!(segments() > 4);
    assert_eq!(indexes(&mut store).await, (0..30).collect::<Vec<_>>());
    // Entries go out in parts that fit a message.
    let first = store.limited_get_log_entries(0, 30).await.unwrap();
    assert_eq!(first.len(), 1);
    store.purge(log_id(25)).await.unwrap();
    // The vote waits its turn behind the purge.
    store
        .save_vote(&Vote::new(9, identity::FIRST_ID))
        .await
        .unwrap();
    assert!(segments() <= 2);
    drop(store);
    let mut reopened = LogStore::open(directory.path()).unwrap();
    assert_eq!(indexes(&mut reopened).await.last(), Some(&29));
    assert_eq!(
        reopened.read_vote().await.unwrap(),
        Some(Vote::new(9, identity::FIRST_ID))
    );
}

#[tokio::test]
async fn truncated_and_purged_entries_stay_away_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(directory.path()).unwrap();
    store
        .blocking_append((0..10).map(entry).collect::<Vec<_>>())
        .await
        .unwrap();
    store.truncate(log_id(8)).await.unwrap();
    assert_eq!(indexes(&mut store).await, (0..8).collect::<Vec<_>>());
    drop(store);
    let mut store = LogStore::open(directory.path()).unwrap();
    assert_eq!(indexes(&mut store).await, (0..8).collect::<Vec<_>>());
    store.purge(log_id(2)).await.unwrap();
    assert_eq!(indexes(&mut store).await, [3, 4, 5, 6, 7]);
    // A snapshot of another server is ahead of the whole log.
    store.purge(log_id(20)).await.unwrap();
    store.blocking_append([entry(21)]).await.unwrap();
    drop(store);
    let mut store = LogStore::open(directory.path()).unwrap();
    assert_eq!(indexes(&mut store).await, [21]);
    let state = store.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(20)));
    assert_eq!(state.last_log_id, Some(log_id(21)));
}

/// What becomes of every file of a log when it is damaged: the start refuses with its name, or
/// everything is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_or_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, _) = raft_in(directory.path()).await;
    for number in 0..20 {
        raft.propose(routes(&number.to_string()))
            .await
            .unwrap()
            .1
            .unwrap();
    }
    snapshot(&raft).await;
    raft.propose(routes("the last one"))
        .await
        .unwrap()
        .1
        .unwrap();
    raft.shutdown().await;
    drop(raft);
    let mut refused = 0;
    for file in ["identity", "snapshot", "lock", "00000000000000000001.log"] {
        let length = std::fs::metadata(directory.path().join(file))
            .unwrap()
            .len();
        let length = usize::try_from(length).unwrap();
        let mut damages: Vec<Damage> =
            vec![Damage::Remove, Damage::Cut(0), Damage::Cut(length / 2)];
        damages.extend((0..length.min(6000)).step_by(199).map(Damage::Flip));
        for damage in damages {
            let copy = copy(directory.path());
            damage.carry_out(&copy.path().join(file));
            let published = Arc::new(Published::default());
            let started = Raft::start(fixtures::alone(copy.path()), Arc::clone(&published)).await;
            match started {
                Ok(raft) => {
                    let snapshot = published.current();
                    let text = &snapshot.mesh.route_overrides().text;
                    assert_eq!(text, "the last one", "{file}: {damage:?}");
                    raft.shutdown().await;
                }
                Err(error) => {
                    refused += 1;
                    let error = error.to_string();
                    let names = error.contains(&format!("{file}`"));
                    let way_out = error.contains("backup") || error.contains("Remove");
                    assert!(names && way_out, "{file}: {damage:?}: {error}");
                }
            }
        }
    }
    assert!(refused > 12, "only {refused} refused");
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Remove,
    Cut(usize),
    Flip(usize),
}

impl Damage {
    fn carry_out(self, path: &Path) {
        let mut bytes = std::fs::read(path).unwrap();
        match self {
            Self::Remove => return std::fs::remove_file(path).unwrap(),
            Self::Cut(length) => bytes.truncate(length),
            Self::Flip(at) => bytes[at] ^= 0x10,
        }
        std::fs::write(path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_snapshot_is_gone_is_refused_when_it_does_not_reach_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(directory.path()).unwrap();
    store.purge(log_id(20)).await.unwrap();
    store.blocking_append([entry(21)]).await.unwrap();
    drop(store);
    let published = Arc::new(Published::default());
    let started = Raft::start(fixtures::alone(directory.path()), published).await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("snapshot` is missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_the_old_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("log.redb"), "redb").unwrap();
    let error = LogStore::open(directory.path()).err().unwrap().to_string();
    assert!(
        error.contains("log.redb` was written by a version before"),
        "{error}"
    );
}

#[test]
fn an_older_snapshot_never_replaces_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = SnapshotFile::new(directory.path().to_owned());
    let meta = |index| snapshot::Meta {
        last_log_id: Some(log_id(index)),
        ..snapshot::Meta::default()
    };
    let state = crate::state::State::default();
    file.write(&meta(9), &state).unwrap();
    file.write(&meta(5), &state).unwrap();
    let (kept, _) = file.read().unwrap().unwrap();
    assert_eq!(kept.last_log_id, Some(log_id(9)));
}

async fn raft_in(directory: &Path) -> (Raft, Arc<Published>) {
    let published = Arc::new(Published::default());
    let raft = Raft::start(fixtures::alone(directory), Arc::clone(&published))
        .await
        .unwrap();
    (raft, published)
}

async fn snapshot(raft: &Raft) {
    raft.library.trigger().snapshot().await.unwrap();
    let has_snapshot =
        |metrics: &openraft::RaftMetrics<u64, ServerNode>| metrics.snapshot.is_some();
    raft.library
        .wait(Some(LEAD_TIMEOUT))
        .metrics(has_snapshot, "a snapshot")
        .await
        .unwrap();
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
    snapshot(&raft).await;
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

/// On one thread: most of the commands wait before the first entry is written, however long that
/// takes.
#[tokio::test]
async fn commands_that_wait_share_an_entry_and_each_gets_its_answer() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, published) = raft_in(directory.path()).await;
    let first = raft.metrics().last_log_index;
    let node = |number: u64| {
        let node = mesh::model::Node {
            id: format!("id-{number}").into(),
            // Every second one has no name.
            name: if number % 2 == 1 {
                mesh::model::NodeName::default()
            } else {
                format!("node-{number}").into()
            },
            ..mesh::model::Node::default()
        };
        Command::from(MeshCommand::UpsertNode(UpsertNode {
            node,
            checks: Vec::new(),
        }))
    };
    let results = raft.propose_all((0..400).map(node).collect()).await;
    for (number, result) in results.into_iter().enumerate() {
        let (index, outcome) = result.unwrap();
        assert!(index > first);
        assert_eq!(outcome.is_err(), number % 2 == 1);
    }
    let entries = published.current().index - first;
    assert!(entries < 20, "{entries} entries for 400 commands");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_tells_one_version_of_a_row() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, published) = raft_in(directory.path()).await;
    let register = |number: i32| {
        let job = jobs::model::Job {
            id: "web".into(),
            priority: number,
            ..jobs::model::Job::default()
        };
        let command = jobs::state::RegisterJob {
            job,
            ..Default::default()
        };
        Command::from(jobs::state::Command::RegisterJob(Box::new(command)))
    };
    let results = raft.propose_all((1..9).map(register).collect()).await;
    let mut seen = BTreeSet::new();
    for result in results {
        let (index, outcome) = result.unwrap();
        // The answer is about this write, and nobody else has its index.
        assert_eq!(outcome.unwrap().job_modify_index, Some(index));
        assert!(seen.insert(index));
    }
    let snapshot = published.current();
    let key = jobs::model::JobKey {
        namespace: "".into(),
        id: "web".into(),
    };
    let versions = snapshot.jobs.versions(&key);
    assert!(
        versions
            .iter()
            .all(|job| seen.contains(&job.job_modify_index))
    );
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

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_over_to_newer_rules_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, published) = raft_in(directory.path()).await;
    raft.propose(routes("known")).await.unwrap().1.unwrap();
    let before = published.current();
    // As a newer build writes it; this one neither applies it nor goes on.
    let newer = Version::SUPPORTED.next();
    let raised = Command::Sequence(vec![Command::RaiseVersion { to: newer }]);
    raft.propose(raised).await.unwrap_err();
    let reason = timeout(LEAD_TIMEOUT, raft.broken()).await.unwrap();
    assert!(reason.contains("version of trivet"), "{reason}");
    assert_eq!(published.current().index, before.index);
    raft.shutdown().await;
    drop(raft);
    let published = Arc::new(Published::default());
    let started = Raft::start(fixtures::alone(directory.path()), published).await;
    let error = started.err().unwrap().to_string();
    let segment = files::segment_path(directory.path(), 1);
    let parts = [
        format!("`{}` was written by a newer version", segment.display()),
        format!("version {newer} of the cluster's rules is needed"),
        "Run the version of trivet that wrote it, or a newer one".into(),
    ];
    for part in parts {
        assert!(error.contains(&part), "{error}");
    }
}

/// A server with an empty log that takes what others send it.
async fn second_in(directory: &Path) -> (Raft, String) {
    let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let address = listener.local_addr().to_string();
    let options = Options {
        address: address.clone(),
        name: "two".into(),
        begins_alone: false,
        ..fixtures::alone(directory)
    };
    let raft = Raft::start(options, Arc::default()).await.unwrap();
    let answering = raft.clone();
    tokio::spawn(async move {
        while let Some(asked) = listener.next().await {
            let raft = answering.clone();
            let Kind::Call(call) = asked.kind() else {
                panic!("only calls are expected");
            };
            let answer = async move |question: Bytes| raft.answer(call, &question).await;
            tokio::spawn(asked.answer(1 << 20, answer));
        }
    });
    (raft, address)
}

/// Begins a change of who votes, and gives it up before its second step.
async fn change_half_way(raft: &Raft, change: ChangeMembers<u64, ServerNode>) {
    let changed = raft.library.change_membership(change, false);
    assert!(changed.now_or_never().is_none());
    let is_half_way = |metrics: &openraft::RaftMetrics<u64, ServerNode>| {
        let membership = &metrics.membership_config;
        let steps = membership.membership().get_joint_config().len();
        steps == 2 && metrics.last_applied >= *membership.log_id()
    };
    raft.library
        .wait(Some(LEAD_TIMEOUT))
        .metrics(is_half_way, "the first step")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_who_votes_that_was_given_up_half_way_is_finished() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, _) = raft_in(here.path()).await;
    let (second, address) = second_in(there.path()).await;
    second.join(&first.cluster());
    let added = first.add(second.id(), "two".into(), address);
    added.await.unwrap();
    let votes = || {
        let votes = first.configuration().into_iter();
        votes
            .map(|server| (server.name, server.votes))
            .collect::<BTreeMap<_, _>>()
    };
    let named = |servers: &[(&str, bool)]| {
        let servers = servers.iter();
        servers
            .map(|(name, votes)| ((*name).to_owned(), *votes))
            .collect::<BTreeMap<_, _>>()
    };
    assert!(!first.is_changing());
    assert_eq!(votes(), named(&[("one", true), ("two", false)]));

    change_half_way(&first, ChangeMembers::AddVoterIds([second.id()].into())).await;
    assert!(first.is_changing());
    assert_eq!(votes(), named(&[("one", true), ("two", false)]));
    first.finish_change().await.unwrap();
    assert!(!first.is_changing());
    assert_eq!(votes(), named(&[("one", true), ("two", true)]));

    change_half_way(&first, ChangeMembers::RemoveVoters([second.id()].into())).await;
    assert!(first.is_changing());
    assert_eq!(votes(), named(&[("one", true), ("two", false)]));
    first.finish_change().await.unwrap();
    assert!(!first.is_changing());
    assert_eq!(votes(), named(&[("one", true)]));
    let alone = first.propose(routes("route a /a http://127.0.0.1:1"));
    alone.await.unwrap().1.unwrap();
}

//! Batches are bounded, come in order, and a follower that cannot go on is told.

use super::*;
use crate::state::{Changes, Command, Stamp, State};
use jobs::{
    model::{Task, TaskGroup, Timestamp},
    state::{Command as JobsCommand, RegisterJob},
};
use mesh::state::{Command as MeshCommand, KeyCondition, PutKey};
use tokio::time::{Duration, timeout};

/// A state whose entries are recorded.
#[derive(Default)]
struct World {
    state: State,
    events: Arc<Events>,
    index: Index,
}

impl World {
    fn apply(&mut self, command: impl Into<Command>) {
        self.index += 1;
        let at = Stamp {
            index: self.index,
            now: Timestamp::from_nanos(i64::try_from(self.index).unwrap()),
        };
        let mut changes = Changes::default();
        self.state.apply(at, command.into(), &mut changes).unwrap();
        self.state.advance(at);
        self.events.record(&Commit {
            at,
            changes,
            snapshot: Arc::new(self.state.snapshot()),
        });
    }

    fn put_key(&mut self, key: &str) {
        self.apply(MeshCommand::PutKey(PutKey {
            key: key.to_owned(),
            value: b"value".to_vec(),
            flags: 0,
            condition: KeyCondition::Always,
        }));
    }
}

fn job(id: &str) -> RegisterJob {
    RegisterJob {
        job: Job {
            id: id.into(),
            namespace: "default".into(),
            task_groups: vec![TaskGroup {
                name: "web".into(),
                tasks: vec![Task {
                    name: "server".into(),
                    ..Task::default()
                }],
                ..TaskGroup::default()
            }]
            .into(),
            ..Job::default()
        },
        ..RegisterJob::default()
    }
}

async fn next(follower: &mut Follower) -> Option<Arc<Batch>> {
    let next = timeout(Duration::from_secs(60), follower.next());
    next.await.expect("a batch or an end")
}

fn told(batch: &Batch) -> Vec<(Topic, &'static str, String)> {
    let events = batch.events.iter();
    events
        .map(|event| (event.topic(), event.kind, event.key()))
        .collect()
}

#[tokio::test]
async fn an_entry_is_a_batch_with_what_it_changed() {
    let mut world = World::default();
    world.events.reset(Arc::default());
    let mut follower = world.events.follow(Start::Next);
    world.apply(JobsCommand::RegisterJob(Box::new(job("web"))));
    let batch = next(&mut follower).await.unwrap();
    assert_eq!(batch.index, 1);
    assert!(told(&batch).contains(&(Topic::Job, "JobRegistered", "web".to_owned())));
    world.put_key("a/b");
    let batch = next(&mut follower).await.unwrap();
    let expected = (Topic::Key, "KeyUpdated", "a/b".to_owned());
    assert_eq!(told(&batch), [expected]);
}

#[tokio::test]
async fn a_follower_begins_where_it_wants_as_far_as_that_is_kept() {
    let mut world = World::default();
    for key in ["a", "b", "c"] {
        world.put_key(key);
    }
    for (start, first) in [
        (Start::Oldest, 1),
        (Start::At(0), 1),
        (Start::At(2), 2),
        (Start::At(3), 3),
        // All are before it: the newest comes first.
        (Start::At(9), 3),
    ] {
        let mut follower = world.events.follow(start);
        let batch = next(&mut follower).await.unwrap();
        assert_eq!(batch.index, first, "{start:?}");
    }
    let mut follower = world.events.follow(Start::Next);
    world.put_key("d");
    assert_eq!(next(&mut follower).await.unwrap().index, 4);
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_who_is_too_slow_is_told() {
    let mut world = World::default();
    world.put_key("first");
    let mut slow = world.events.follow(Start::Oldest);
    for at in 0..BATCHES_MAX {
        world.put_key(&at.to_string());
    }
    assert_eq!(world.events.kept.lock().batches.len(), BATCHES_MAX);
    assert!(next(&mut slow).await.is_none());
    let mut oldest = world.events.follow(Start::At(1));
    assert_eq!(next(&mut oldest).await.unwrap().index, 2);
}

#[tokio::test]
async fn as_many_entries_are_kept_as_the_operator_wants() {
    for most in [1, 3, BATCHES_MAX + 2] {
        let mut world = World {
            events: Arc::new(Events::new(most)),
            ..World::default()
        };
        for at in 0..BATCHES_MAX + 5 {
            world.put_key(&at.to_string());
        }
        assert_eq!(world.events.kept.lock().batches.len(), most);
        let mut oldest = world.events.follow(Start::Oldest);
        let first = (BATCHES_MAX + 6 - most) as u64;
        assert_eq!(next(&mut oldest).await.unwrap().index, first);
    }
}

#[tokio::test]
async fn events_of_few_large_entries_are_bounded_too() {
    let mut world = World::default();
    for at in 0..4 {
        let key = |number: usize| {
            Command::from(MeshCommand::PutKey(PutKey {
                key: format!("{at}/{number}"),
                value: Vec::new(),
                flags: 0,
                condition: KeyCondition::Always,
            }))
        };
        world.apply(Command::Sequence((0..EVENTS_MAX / 2).map(key).collect()));
    }
    let kept = world.events.kept.lock();
    assert!(kept.events <= EVENTS_MAX, "{}", kept.events);
    assert_eq!(kept.batches.len(), 2);
}

#[tokio::test]
async fn a_gap_ends_those_who_followed_before_it() {
    let mut world = World::default();
    world.put_key("a");
    let mut waiting = world.events.follow(Start::Next);
    world.events.reset(Arc::new(world.state.snapshot()));
    assert!(next(&mut waiting).await.is_none());
    let mut follower = world.events.follow(Start::Oldest);
    world.put_key("b");
    assert_eq!(next(&mut follower).await.unwrap().index, 2);
}

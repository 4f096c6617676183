//! What the catalog went through lately, as messages that are encoded once for all agents.
//!
//! A stream holds a place in the history and takes what came after it when it has room; so a slow
//! agent gets more at a time, and one that comes back goes on where it was. Who is behind the
//! oldest message gets the whole catalog, which is encoded once too.

use jobs::model::Index;
use mesh::view::Change;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

use crate::Snapshot;
use rpc::{
    frame::Frame,
    message::{CatalogEntry, Position, ToClient},
};

/// Messages that are kept for those who are behind.
const MESSAGES_MAX: usize = 4096;
/// Bytes of them.
const BYTES_MAX: usize = 64 << 20;

#[derive(Debug)]
struct Message {
    index: Index,
    frame: Frame,
}

#[derive(Debug, Default)]
struct Inner {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Who is complete up to here, or to a later place, can go on.
    oldest: Index,
    /// The state with the last entry that was followed.
    snapshot: Arc<Snapshot>,
    /// Entries that are in no message yet.
    pending: Vec<CatalogEntry>,
    /// The last catalog that was encoded as a whole, and the place of those who have it.
    whole: Option<(Index, Frame)>,
}

/// What a stream has to send.
#[derive(Debug)]
pub(super) enum Missing {
    /// These, in order; then it is at this place.
    Messages(Vec<Frame>, Index),
    /// Everything: it is too far behind.
    Whole,
}

/// The history, shared by all streams.
#[derive(Debug)]
pub(crate) struct History {
    id: AtomicU64,
    /// Bytes of messages that are kept.
    bytes_max: usize,
    inner: Mutex<Inner>,
    newest: watch::Sender<Index>,
    /// Held by whoever encodes a whole catalog; the others wait for it.
    encoding: tokio::sync::Mutex<()>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            // 0 means none.
            id: AtomicU64::new(sys::random::seed().max(1)),
            bytes_max: BYTES_MAX,
            inner: Mutex::default(),
            newest: watch::Sender::new(0),
            encoding: tokio::sync::Mutex::default(),
        }
    }
}

impl History {
    /// Tells this history from that of another server or another time.
    pub(super) fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    /// All servers of a cluster go through the same catalog: whoever held it up to a place goes on
    /// from there with any of them.
    pub(crate) fn is_of(&self, cluster: &str) {
        let digest = Sha256::digest(cluster.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        self.id
            .store(u64::from_le_bytes(id).max(1), Ordering::Relaxed);
    }

    /// The place of the newest message, and every later one.
    pub(super) fn newest(&self) -> watch::Receiver<Index> {
        self.newest.subscribe()
    }

    /// The state with the last entry that was followed.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.lock().snapshot)
    }

    /// Begins anew from a state: nobody can go on from an earlier place.
    pub(super) fn reset(&self, snapshot: Arc<Snapshot>) {
        let place = snapshot.mesh.index();
        let mut inner = self.inner.lock();
        *inner = Inner {
            oldest: place,
            snapshot,
            ..Inner::default()
        };
        drop(inner);
        self.newest.send_replace(place);
    }

    /// Takes note of the state after an entry, and of what the entry changed in the catalog.
    pub(super) fn record(&self, snapshot: Arc<Snapshot>, changes: Vec<Change>) {
        let mut inner = self.inner.lock();
        if !changes.is_empty() {
            let index = snapshot.index;
            inner.pending.push(CatalogEntry { index, changes });
        }
        inner.snapshot = snapshot;
    }

    /// Makes a message of what was recorded since the last one.
    pub(super) fn publish(&self, term: u64) {
        let entries = std::mem::take(&mut self.inner.lock().pending);
        let Some(index) = entries.last().map(|entry| entry.index) else {
            return;
        };
        let mut changes = entries.iter().flat_map(|entry| &entry.changes);
        let confirm = changes.any(Change::is_departure);
        let frame = Frame::from(ToClient::CatalogDelta {
            at: Position { term, index },
            entries,
            confirm,
        });
        let mut inner = self.inner.lock();
        inner.bytes += frame.len();
        inner.messages.push_back(Message { index, frame });
        while inner.messages.len() > MESSAGES_MAX || inner.bytes > self.bytes_max {
            let Some(gone) = inner.messages.pop_front() else {
                break;
            };
            inner.bytes -= gone.frame.len();
            inner.oldest = gone.index;
        }
        drop(inner);
        self.newest.send_replace(index);
    }

    /// What somebody who is complete up to `place` does not have.
    pub(super) fn after(&self, place: Index) -> Missing {
        let inner = self.inner.lock();
        if place < inner.oldest {
            return Missing::Whole;
        }
        let first = inner.messages.partition_point(|one| one.index <= place);
        let missing = inner.messages.range(first..);
        let frames: Vec<Frame> = missing.map(|one| one.frame.clone()).collect();
        let newest = inner.messages.back().map_or(place, |last| last.index);
        Missing::Messages(frames, newest.max(place))
    }

    /// A whole catalog, and the place of those who have it. It may be as old as the oldest message:
    /// what follows it is in the messages.
    pub(super) async fn whole(&self, term: u64) -> (Frame, Index) {
        let _encoding = self.encoding.lock().await;
        let snapshot = {
            let inner = self.inner.lock();
            let after: usize = match &inner.whole {
                Some((place, _)) => {
                    let first = inner.messages.partition_point(|one| one.index <= *place);
                    inner
                        .messages
                        .range(first..)
                        .map(|one| one.frame.len())
                        .sum()
                }
                None => 0,
            };
            match &inner.whole {
                Some((place, frame)) if *place >= inner.oldest && after <= frame.len() => {
                    return (frame.clone(), *place);
                }
                _ => Arc::clone(&inner.snapshot),
            }
        };
        let place = snapshot.mesh.index();
        // Of a large cluster it is megabytes: not on a thread that serves others.
        let encoded = sys::threads::blocking(move || {
            Frame::from(ToClient::Catalog {
                at: Position { term, index: place },
                view: Box::new(snapshot.mesh.view().clone()),
            })
        });
        let frame = match encoded.await {
            Ok(frame) => frame,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.inner.lock().whole = Some((place, frame.clone()));
        (frame, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh::{
        model::{Node, Timestamp},
        state::{Command, Stamp, State, UpsertNode},
    };

    /// A history that follows a catalog in which every entry adds a node.
    struct World {
        history: History,
        catalog: State,
        index: Index,
    }

    impl World {
        fn new() -> Self {
            let history = History::default();
            history.reset(Arc::default());
            Self {
                history,
                catalog: State::default(),
                index: 0,
            }
        }

        fn entry(&mut self, name_bytes: usize) {
            self.index += 1;
            let node = Node {
                id: self.index.to_string().into(),
                name: format!("{:0>name_bytes$}", self.index).into(),
                ..Node::default()
            };
            let command = Command::UpsertNode(UpsertNode {
                node,
                checks: Vec::new(),
            });
            let at = Stamp {
                index: self.index,
                now: Timestamp::default(),
            };
            let applied = self.catalog.apply(at, command).unwrap();
            let snapshot = Snapshot {
                index: self.index,
                mesh: self.catalog.snapshot(),
                ..Snapshot::default()
            };
            self.history.record(Arc::new(snapshot), applied.changes);
        }

        fn missing(&self, place: Index) -> Option<(usize, Index)> {
            match self.history.after(place) {
                Missing::Messages(frames, place) => Some((frames.len(), place)),
                Missing::Whole => None,
            }
        }
    }

    #[tokio::test]
    async fn entries_of_one_moment_are_one_message() {
        let mut world = World::new();
        let newest = world.history.newest();
        for _ in 0..3 {
            world.entry(1);
        }
        assert_eq!(world.missing(0), Some((0, 0)));
        world.history.publish(1);
        world.entry(1);
        world.history.publish(1);
        world.history.publish(1);
        assert_eq!(*newest.borrow(), 4);
        assert_eq!(world.missing(0), Some((2, 4)));
        assert_eq!(world.missing(3), Some((1, 4)));
        assert_eq!(world.missing(4), Some((0, 4)));
    }

    #[tokio::test]
    async fn who_is_too_far_behind_gets_everything_and_then_what_follows() {
        let mut world = World::new();
        for _ in 0..=MESSAGES_MAX {
            world.entry(1);
            world.history.publish(1);
        }
        assert_eq!(world.missing(0), None);
        let (whole, place) = world.history.whole(1).await;
        assert_eq!(place, world.index);
        world.entry(1);
        world.history.publish(1);
        let (again, same) = world.history.whole(1).await;
        assert_eq!(
            (again.len(), same),
            (whole.len(), place),
            "it is not made anew"
        );
        assert_eq!(world.missing(place), Some((1, world.index)));
        // A whole one that is shorter than what follows it is made anew.
        for _ in 0..200 {
            world.entry(2000);
            world.history.publish(1);
        }
        let (_, place) = world.history.whole(1).await;
        assert_eq!(place, world.index);
    }

    #[tokio::test]
    async fn the_messages_are_bounded_in_bytes() {
        let mut world = World::new();
        world.history.bytes_max = 64 << 10;
        for _ in 0..100 {
            world.entry(2000);
            world.history.publish(1);
        }
        let inner = world.history.inner.lock();
        assert!(inner.bytes <= world.history.bytes_max);
        assert!(inner.oldest > 0 && !inner.messages.is_empty());
    }

    #[tokio::test]
    async fn after_a_new_beginning_nobody_goes_on_from_before() {
        let mut world = World::new();
        for _ in 0..3 {
            world.entry(1);
            world.history.publish(1);
        }
        let snapshot = world.history.snapshot();
        world.history.reset(snapshot);
        assert_eq!(world.missing(2), None);
        assert_eq!(world.missing(3), Some((0, 3)));
    }
}

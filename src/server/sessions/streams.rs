//! The open streams: one per agent and node, and what each has to be told of its node's
//! allocations.

use jobs::model::{AllocId, Index, NodeId};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use registration::Version;
use rpc::message::Hello;

/// What changed for a node since its stream looked last; as large as the node has allocations.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// Ids of allocations that were created, changed or removed.
    pub(super) allocs: BTreeSet<AllocId>,
    /// Up to where that is everything.
    pub(super) index: Index,
    /// Changes were missed: everything is to be sent.
    pub(super) complete: bool,
}

/// One open stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its agent's process.
    agent_id: String,
    /// Counts the streams of that process.
    number: u64,
    /// The newest rules that the agent knows.
    rules: Version,
    /// Canceled when a newer stream of the same agent or node is there.
    pub(super) fenced: CancellationToken,
    unsent: Mutex<Unsent>,
    woken: Notify,
}

impl Stream {
    /// Resolves when there is something unsent.
    pub(super) async fn changed(&self) {
        self.woken.notified().await;
    }

    /// What is unsent; it counts as sent from now on. `index` is where the follower is.
    pub(super) fn take(&self) -> Unsent {
        std::mem::take(&mut *self.unsent.lock())
    }
}

/// A newer stream of the same agent is open already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a newer stream of this agent is open")]
pub(super) struct Fenced;

/// All open streams, by node id; those of agents without a node by agent id.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    by_key: Mutex<BTreeMap<Key, Arc<Stream>>>,
    count: AtomicUsize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Node(NodeId),
    Agent(String),
}

impl Key {
    pub(super) fn new(agent_id: &str, node_id: Option<NodeId>) -> Self {
        match node_id {
            Some(id) => Self::Node(id),
            None => Self::Agent(agent_id.to_owned()),
        }
    }
}

impl Streams {
    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes a stream in and fences the one that the agent or the node had before.
    ///
    /// # Errors
    /// [`Fenced`] when that one is the newer of the two.
    pub(super) fn open(&self, key: &Key, hello: &Hello) -> Result<Arc<Stream>, Fenced> {
        let stream = Arc::new(Stream {
            agent_id: hello.agent_id.clone(),
            number: hello.stream,
            rules: Version::new(hello.rules.0),
            fenced: CancellationToken::new(),
            unsent: Mutex::default(),
            woken: Notify::new(),
        });
        let mut by_key = self.by_key.lock();
        if let Some(old) = by_key.get(key) {
            if old.agent_id == stream.agent_id && old.number > stream.number {
                return Err(Fenced);
            }
            old.fenced.cancel();
        }
        by_key.insert(key.clone(), Arc::clone(&stream));
        self.count.store(by_key.len(), Ordering::Relaxed);
        Ok(stream)
    }

    /// The newest rules that every agent with a stream knows; none as long as one of `nodes` has no
    /// stream.
    pub(crate) fn common_rules(&self, mut nodes: impl Iterator<Item = NodeId>) -> Option<Version> {
        let by_key = self.by_key.lock();
        let are_here = nodes.all(|id| by_key.contains_key(&Key::Node(id)));
        let rules = by_key.values().map(|stream| stream.rules);
        are_here.then(|| rules.min().unwrap_or(Version::SUPPORTED))
    }

    /// A stream ended.
    pub(super) fn close(&self, key: &Key, stream: &Arc<Stream>) {
        let mut by_key = self.by_key.lock();
        if by_key
            .get(key)
            .is_some_and(|open| Arc::ptr_eq(open, stream))
        {
            by_key.remove(key);
        }
        self.count.store(by_key.len(), Ordering::Relaxed);
    }

    /// Takes note of what the entry at `index` changed for each node.
    pub(super) fn changed(&self, index: Index, of_node: &BTreeMap<NodeId, BTreeSet<AllocId>>) {
        if of_node.is_empty() {
            return;
        }
        let by_key = self.by_key.lock();
        for (node_id, allocs) in of_node {
            let Some(stream) = by_key.get(&Key::Node(*node_id)) else {
                continue;
            };
            let mut unsent = stream.unsent.lock();
            unsent.allocs.extend(allocs);
            unsent.index = index;
            drop(unsent);
            stream.woken.notify_one();
        }
    }

    /// Takes note that changes up to `index` were missed.
    pub(super) fn missed(&self, index: Index) {
        for stream in self.by_key.lock().values() {
            let mut unsent = stream.unsent.lock();
            unsent.index = index;
            unsent.complete = true;
            drop(unsent);
            stream.woken.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::message::RulesVersion;

    fn hello(agent_id: &str, stream: u64, rules: u32) -> Hello {
        Hello {
            agent_id: agent_id.into(),
            stream,
            rules: RulesVersion(rules),
            ..Hello::default()
        }
    }

    #[test]
    fn the_rules_of_agents_are_those_that_each_of_them_knows() {
        let streams = Streams::default();
        let [one, two] = ["one", "two"].map(NodeId::named);
        let common = |nodes: &[NodeId]| streams.common_rules(nodes.iter().copied());
        assert_eq!(common(&[]), Some(Version::SUPPORTED), "nobody objects");
        assert_eq!(common(&[one]), None, "it was not heard of");
        let open = |id, rules| {
            let key = Key::new("a", Some(id));
            let stream = streams.open(&key, &hello("a", 0, rules)).unwrap();
            (key, stream)
        };
        open(one, 3);
        let (key, old) = open(two, 2);
        assert_eq!(common(&[one, two]), Some(Version::new(2)));
        streams.close(&key, &old);
        assert_eq!(common(&[one]), Some(Version::new(3)));
        assert_eq!(common(&[one, two]), None);
    }

    #[test]
    fn the_newer_stream_fences_the_older() {
        let streams = Streams::default();
        let node_id = NodeId::named("node");
        let key = Key::new("a", Some(node_id));
        let first = streams.open(&key, &hello("a", 0, 1)).unwrap();
        let second = streams.open(&key, &hello("a", 1, 1)).unwrap();
        assert!(first.fenced.is_cancelled() && !second.fenced.is_cancelled());
        // A registration that was under way for long.
        assert_eq!(streams.open(&key, &hello("a", 0, 1)).unwrap_err(), Fenced);
        // Another process of the same node.
        let third = streams.open(&key, &hello("b", 0, 1)).unwrap();
        assert!(second.fenced.is_cancelled());
        streams.close(&key, &second);
        assert_eq!(streams.count(), 1);
        streams.changed(7, &[(node_id, [AllocId::default()].into())].into());
        let unsent = third.take();
        assert_eq!((unsent.index, unsent.allocs.len()), (7, 1));
        assert!(third.take().allocs.is_empty());
        streams.close(&key, &third);
        assert_eq!(streams.count(), 0);
    }
}

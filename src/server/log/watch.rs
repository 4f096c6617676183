//! Wakes readers whose tables or rows changed.
//!
//! A reader subscribes to topics, reads a snapshot, and waits when the snapshot is not new enough.
//! The subscription comes first, so no change is missed. Waking costs one look-up per changed
//! topic, however many readers wait for other things.

use jobs::model::{AllocId, DeploymentId, EvalId, JobKey, NodeId};
use mesh::model::{NodeName, ServiceName};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::Notify;

use super::super::state::Changes;

/// Readers that may wait at the same time; further ones are answered at once.
pub const WAITERS_MAX: usize = 65_536;

/// Something that readers wait for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Any row of a jobs table.
    Jobs(jobs::state::Table),
    /// Any row of a catalog table.
    Mesh(mesh::view::Table),
    /// A job, its evaluations, allocations and deployments.
    Job(JobKey),
    /// An evaluation, and the allocations that it placed.
    Eval(EvalId),
    /// An allocation.
    Alloc(AllocId),
    /// A deployment.
    Deployment(DeploymentId),
    /// A node and the allocations on it.
    Node(NodeId),
    /// Instances and checks of a service, by name.
    Service(ServiceName),
    /// A catalog node with what is on it, by name.
    MeshNode(NodeName),
    /// A key of the key-value store.
    Key(String),
    /// The keys that start so.
    KeysBelow(String),
    /// Any session.
    Sessions,
    /// The certificate authority.
    Authority,
}

#[derive(Debug, Default)]
struct Readers {
    next_id: u64,
    count: usize,
    by_topic: BTreeMap<Topic, BTreeMap<u64, Arc<Notify>>>,
    /// Lengths of the starts of keys that are waited for, with the number of readers.
    prefixes: BTreeMap<usize, usize>,
}

impl Readers {
    fn wake(&self, topic: &Topic) {
        let of_topic = self.by_topic.get(topic).into_iter();
        for woken in of_topic.flat_map(BTreeMap::values) {
            woken.notify_one();
        }
    }

    /// Wakes those who wait for the key, or for keys that start as it does.
    fn wake_key(&self, key: &str) {
        self.wake(&Topic::Key(key.to_owned()));
        let lengths = self.prefixes.range(..=key.len());
        for prefix in lengths.filter_map(|(length, _)| key.get(..*length)) {
            self.wake(&Topic::KeysBelow(prefix.to_owned()));
        }
    }
}

/// Who waits for what.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Readers>>);

/// One reader's wish; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    id: u64,
    topics: Vec<Topic>,
    woken: Arc<Notify>,
    watch: Watch,
}

impl Watch {
    /// Subscribes to every change of any of `topics`; none when too many readers wait already.
    pub fn subscribe(&self, topics: impl IntoIterator<Item = Topic>) -> Option<Subscription> {
        let topics: Vec<Topic> = topics.into_iter().collect();
        let woken = Arc::new(Notify::new());
        let mut readers = self.0.lock();
        if readers.count >= WAITERS_MAX {
            return None;
        }
        readers.count += 1;
        readers.next_id += 1;
        let id = readers.next_id;
        for topic in &topics {
            let of_topic = readers.by_topic.entry(topic.clone()).or_default();
            of_topic.insert(id, Arc::clone(&woken));
            if let Topic::KeysBelow(prefix) = topic {
                *readers.prefixes.entry(prefix.len()).or_default() += 1;
            }
        }
        drop(readers);
        Some(Subscription {
            id,
            topics,
            woken,
            watch: self.clone(),
        })
    }

    /// Wakes those who wait for something that changed.
    pub(super) fn wake(&self, changes: &Changes) {
        let readers = self.0.lock();
        if readers.count == 0 {
            return;
        }
        for topic in touched(changes) {
            readers.wake(&topic);
        }
        for key in changes.mesh.iter().flat_map(|applied| &applied.keys) {
            readers.wake_key(key);
        }
    }
}

impl Watch {
    /// Wakes everybody, because anything may have changed.
    pub(super) fn wake_all(&self) {
        let readers = self.0.lock();
        for woken in readers.by_topic.values().flat_map(BTreeMap::values) {
            woken.notify_one();
        }
    }
}

impl Subscription {
    /// Waits for a change since the subscription or since the last call.
    pub async fn changed(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut readers = self.watch.0.lock();
        readers.count = readers.count.saturating_sub(1);
        for topic in &self.topics {
            if let Some(of_topic) = readers.by_topic.get_mut(topic) {
                of_topic.remove(&self.id);
                if of_topic.is_empty() {
                    readers.by_topic.remove(topic);
                }
            }
            if let Topic::KeysBelow(prefix) = topic
                && let Some(count) = readers.prefixes.get_mut(&prefix.len())
            {
                *count -= 1;
                if *count == 0 {
                    readers.prefixes.remove(&prefix.len());
                }
            }
        }
    }
}

fn touched(changes: &Changes) -> BTreeSet<Topic> {
    let mut topics = BTreeSet::new();
    for applied in &changes.jobs {
        topics.extend(applied.tables.iter().copied().map(Topic::Jobs));
        topics.extend(
            applied
                .jobs
                .iter()
                .map(|change| Topic::Job(change.key.clone())),
        );
        for eval in &applied.evals {
            topics.insert(Topic::Eval(eval.id));
            topics.insert(Topic::Job(eval.job_key()));
        }
        for alloc in applied.allocs.iter().filter_map(|change| change.row()) {
            topics.insert(Topic::Alloc(alloc.id));
            topics.insert(Topic::Node(alloc.node_id));
            topics.insert(Topic::Eval(alloc.eval_id));
            topics.insert(Topic::Job(alloc.job_key()));
            topics.extend(alloc.deployment_id.map(Topic::Deployment));
        }
        for deployment in &applied.deployments {
            topics.insert(Topic::Deployment(deployment.id));
            topics.insert(Topic::Job(deployment.job_key()));
        }
        topics.extend(
            applied
                .nodes
                .iter()
                .filter_map(|change| Some(Topic::Node(change.row()?.id))),
        );
    }
    for applied in &changes.mesh {
        topics.extend(applied.tables.iter().copied().map(Topic::Mesh));
        topics.extend(applied.services.iter().cloned().map(Topic::Service));
        topics.extend(applied.nodes.iter().cloned().map(Topic::MeshNode));
        if !applied.sessions.is_empty() {
            topics.insert(Topic::Sessions);
        }
        if applied.authority {
            topics.insert(Topic::Authority);
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::{AllocId, EvalId, Topic, Watch};
    use crate::state::Changes;
    use jobs::state::{Applied, Table};

    fn change_of(table: Table) -> Changes {
        let applied = Applied {
            tables: [table].into(),
            ..Applied::default()
        };
        Changes {
            jobs: vec![applied],
            ..Changes::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_readers_of_what_changed_are_woken() {
        let watch = Watch::default();
        let of_jobs = watch.subscribe([Topic::Jobs(Table::Jobs)]).unwrap();
        let of_nodes = watch.subscribe([Topic::Jobs(Table::Nodes)]).unwrap();
        // The change comes before the wait, and is not lost.
        watch.wake(&change_of(Table::Jobs));
        of_jobs.changed().await;
        let second = std::time::Duration::from_secs(1);
        assert!(
            tokio::time::timeout(second, of_nodes.changed())
                .await
                .is_err()
        );
    }

    fn change_of_key(key: &str) -> Changes {
        let applied = mesh::state::Applied {
            keys: [key.to_owned()].into(),
            ..mesh::state::Applied::default()
        };
        Changes {
            mesh: vec![applied],
            ..Changes::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn readers_of_keys_are_woken_by_keys_that_start_as_they_wait_for() {
        let watch = Watch::default();
        let second = std::time::Duration::from_secs(1);
        for (topic, changed, is_woken) in [
            (Topic::Key("a/1".into()), "a/1", true),
            (Topic::Key("a/1".into()), "a/12", false),
            (Topic::KeysBelow(String::new()), "a/1", true),
            (Topic::KeysBelow("a/".into()), "a/1", true),
            (Topic::KeysBelow("a/1".into()), "a/1", true),
            (Topic::KeysBelow("a/1".into()), "a/", false),
            (Topic::KeysBelow("b".into()), "a/1", false),
            (Topic::KeysBelow("a".into()), "ä", false),
            (Topic::KeysBelow("ä".into()), "ä/1", true),
        ] {
            let reader = watch.subscribe([topic.clone()]).unwrap();
            watch.wake(&change_of_key(changed));
            let woken = tokio::time::timeout(second, reader.changed()).await;
            assert_eq!(woken.is_ok(), is_woken, "{topic:?} {changed}");
        }
        assert!(watch.0.lock().prefixes.is_empty());
    }

    #[test]
    fn nothing_stays_of_a_reader_that_left() {
        let watch = Watch::default();
        let subscription = watch.subscribe([
            Topic::Alloc(AllocId::named("a")),
            Topic::Eval(EvalId::named("e")),
        ]);
        drop(subscription);
        assert!(watch.0.lock().by_topic.is_empty());
        assert_eq!(watch.0.lock().count, 0);
    }
}

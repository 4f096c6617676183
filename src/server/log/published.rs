//! The newest state for readers, and the changes of each entry for those who follow along.

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

use super::{
    super::state::{Changes, Snapshot, Stamp, State},
    watch::Watch,
};
use registration::Version;

/// Entries that a follower may lag behind; past that it starts afresh from a snapshot.
const COMMITS_MAX: usize = 4096;

/// One applied entry.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Its place and time.
    pub(crate) at: Stamp,
    /// What it changed.
    pub(crate) changes: Changes,
    /// The state right after it.
    pub(crate) snapshot: Arc<Snapshot>,
}

/// Where the state machine puts what it applied.
#[derive(Debug)]
pub(crate) struct Published {
    current: ArcSwap<Snapshot>,
    commits: RwLock<broadcast::Sender<Arc<Commit>>>,
    watch: Watch,
    /// The rules that the cluster goes by.
    pub(crate) rules: watch::Sender<Version>,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            current: ArcSwap::default(),
            commits: RwLock::new(broadcast::channel(COMMITS_MAX).0),
            watch: Watch::default(),
            rules: watch::Sender::default(),
        }
    }
}

impl Published {
    /// The newest state.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Who waits for what.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Every entry from now on, and a state that is at least as old as the first of them. Entries
    /// up to the state's index are to be skipped; when the channel ends, the state was replaced as
    /// a whole.
    pub(crate) fn follow(&self) -> (broadcast::Receiver<Arc<Commit>>, Arc<Snapshot>) {
        let commits = self.commits.read().subscribe();
        (commits, self.current())
    }

    fn follow_rules(&self, rules: Version) {
        self.rules
            .send_if_modified(|known| std::mem::replace(known, rules) != rules);
    }

    /// Makes a whole state visible, for example one that another server sent. Followers start
    /// afresh, and every reader looks again. An older state than the current one is not shown.
    pub(crate) fn replace(&self, state: &State) {
        if state.stamp().index <= self.current().index {
            return;
        }
        let snapshot = Arc::new(state.snapshot());
        let rules = snapshot.version;
        self.current.store(snapshot);
        self.follow_rules(rules);
        // Without its sender a channel ends, which tells those who follow it.
        *self.commits.write() = broadcast::channel(COMMITS_MAX).0;
        self.watch.wake_all();
    }

    /// Makes an applied entry visible, unless it was visible before the log was opened again.
    pub(crate) fn commit(&self, changes: Changes, at: Stamp, state: &State) {
        if at.index <= self.current().index {
            return;
        }
        let snapshot = Arc::new(state.snapshot());
        self.current.store(Arc::clone(&snapshot));
        self.follow_rules(snapshot.version);
        self.watch.wake(&changes);
        let commit = Commit {
            at,
            changes,
            snapshot,
        };
        // Without followers there is nobody to tell.
        drop(self.commits.read().send(Arc::new(commit)));
    }
}

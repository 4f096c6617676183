//! Removes what is left of ended allocations, later and many at a time.
//!
//! A file system looks longer for a free inode while others were freed a moment ago, so directories
//! that go while new ones come slow the new ones down: under a load of small jobs they wait until
//! it is over.

use super::{allocdir::AllocDir, context::Context};
use jobs::model::AllocId;
use nix::sys::statvfs::statvfs;
use std::{
    collections::{BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How long a directory waits.
const WAIT: Duration = Duration::from_secs(60);
/// Directories that may wait; then the oldest go at once.
const WAITING_MAX: usize = 30_000;
/// Directories in a batch.
const BATCH_MAX: usize = 512;
/// Directories between two looks at how full the file system is.
const LOOK_EVERY: usize = 64;
/// Share of blocks and inodes below which nothing waits, percent.
const FREE_PERCENT_MIN: u64 = 10;

/// Directories that wait for their removal, the oldest first.
#[derive(Debug)]
pub(super) struct Removals {
    /// Where they all stand.
    alloc_dir: PathBuf,
    waiting: VecDeque<Ended>,
    /// Whose.
    ids: BTreeSet<AllocId>,
    running: JoinSet<()>,
    /// How many go at a time.
    parallel: usize,
    is_short: bool,
    /// What waits goes at once, for there has to be room.
    is_hurried: bool,
}

#[derive(Debug)]
struct Ended {
    alloc_id: AllocId,
    due: Instant,
    /// Somebody read it when it was its turn.
    is_put_off: bool,
}

impl Removals {
    /// Of directories in `alloc_dir`, so many at a time.
    pub(super) fn new(alloc_dir: &Path, parallel: usize) -> Self {
        Self {
            alloc_dir: alloc_dir.to_owned(),
            waiting: VecDeque::new(),
            ids: BTreeSet::new(),
            running: JoinSet::new(),
            parallel: parallel.max(1),
            is_short: false,
            is_hurried: false,
        }
    }

    /// Takes the directory and the file of an allocation that nobody asks for any more.
    pub(super) fn push(&mut self, alloc_id: AllocId) {
        if self.waiting.len().is_multiple_of(LOOK_EVERY) {
            self.is_short = is_short(&self.alloc_dir);
        }
        self.ids.insert(alloc_id);
        self.waiting.push_back(Ended {
            alloc_id,
            due: Instant::now() + WAIT,
            is_put_off: false,
        });
    }

    /// Lets what waits go at once.
    pub(super) fn hurry(&mut self) {
        self.is_hurried = self.has_ready();
    }

    /// Whether something waits that nobody reads.
    fn has_ready(&self) -> bool {
        self.waiting.iter().any(|ended| !ended.is_put_off)
    }

    /// Whether room is being made at this moment.
    pub(super) fn is_busy(&self) -> bool {
        self.is_hurried || !self.running.is_empty()
    }

    /// Keeps what waits of an allocation that came back.
    pub(super) fn keep(&mut self, alloc_id: AllocId) {
        if self.ids.remove(&alloc_id) {
            self.waiting.retain(|ended| ended.alloc_id != alloc_id);
            self.is_hurried &= self.has_ready();
        }
    }

    /// Resolves when [`Removals::begin`] has something to do. Safe to cancel.
    pub(super) async fn due(&mut self) {
        while self.running.join_next().await.is_some() {}
        let is_hurried = (self.is_short || self.is_hurried || self.waiting.len() > WAITING_MAX)
            && self.has_ready();
        match self.waiting.front() {
            None => std::future::pending().await,
            Some(_) if is_hurried => {}
            Some(oldest) => sleep_until(oldest.due).await,
        }
    }

    /// Begins to remove a batch. What somebody reads waits once more.
    pub(super) fn begin(&mut self, cx: &Arc<Context>) {
        let count = self.waiting.len().min(BATCH_MAX);
        let (kept, batch): (Vec<Ended>, Vec<Ended>) =
            (self.waiting.drain(..count)).partition(|ended| cx.pins.has(ended.alloc_id));
        let due = Instant::now() + WAIT;
        let kept = kept.into_iter().map(|ended| Ended {
            due,
            is_put_off: true,
            ..ended
        });
        self.waiting.extend(kept);
        self.is_hurried &= self.has_ready();
        self.remove(cx, &batch);
    }

    fn remove(&mut self, cx: &Arc<Context>, batch: &[Ended]) {
        for ended in batch {
            self.ids.remove(&ended.alloc_id);
        }
        let share = batch.len().div_ceil(self.parallel).max(1);
        for part in batch.chunks(share) {
            let ids = part.iter().map(|ended| ended.alloc_id).collect();
            let removing = remove(Arc::clone(cx), self.alloc_dir.clone(), ids);
            self.running.spawn(removing);
        }
    }

    /// Removes everything that waits, whoever reads it.
    pub(super) async fn finish(&mut self, cx: &Arc<Context>) {
        while !self.waiting.is_empty() {
            let count = self.waiting.len().min(BATCH_MAX);
            let batch: Vec<Ended> = self.waiting.drain(..count).collect();
            self.remove(cx, &batch);
        }
        while self.running.join_next().await.is_some() {}
    }
}

/// Removes directories one after the other.
async fn remove(cx: Arc<Context>, alloc_dir: PathBuf, ids: Vec<AllocId>) {
    let threads = cx.files.removals.clone();
    let remove = move || {
        for id in ids {
            let dir = AllocDir::new(&alloc_dir, id);
            if let Err(error) = dir.destroy() {
                tracing::warn!(path = %dir.root().display(), %error, "a directory cannot be removed");
            }
            // Last, so that an agent that dies in between finds the rest again.
            cx.store.forget(id);
        }
        Ok(())
    };
    if let Err(error) = threads.run(remove).await {
        tracing::warn!(%error, "directories of ended allocations cannot be removed");
    }
}

/// True when the file system of `dir` is nearly full.
fn is_short(dir: &Path) -> bool {
    let Ok(found) = statvfs(dir) else {
        return false;
    };
    let short = |free: u64, all: u64| {
        all > 0 && free.saturating_mul(100) < all.saturating_mul(FREE_PERCENT_MIN)
    };
    short(found.blocks_available(), found.blocks()) || short(found.files_free(), found.files())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn directories_wait_for_their_time_unless_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let mut removals = Removals::new(dir.path(), 2);
        removals.push(AllocId::named("a"));
        removals.is_short = false;
        let begun = Instant::now();
        removals.due().await;
        assert!(begun.elapsed() >= WAIT && !removals.is_busy());
        removals.keep(AllocId::named("a"));
        assert!(removals.waiting.is_empty());
        removals.hurry();
        assert!(!removals.is_busy(), "nothing waits");
        removals.push(AllocId::named("b"));
        removals.is_short = false;
        removals.hurry();
        let begun = Instant::now();
        removals.due().await;
        assert!(begun.elapsed() < WAIT && removals.is_busy());
        removals.keep(AllocId::named("b"));
        assert!(!removals.is_busy(), "nothing waits any more");
        // What somebody reads waits whatever the hurry, and nobody waits for it.
        removals.push(AllocId::named("c"));
        removals.waiting[0].is_put_off = true;
        removals.is_short = false;
        removals.hurry();
        assert!(!removals.is_busy(), "it is not removed now");
        removals.push(AllocId::named("d"));
        removals.hurry();
        removals.keep(AllocId::named("d"));
        assert!(!removals.is_busy(), "nothing else waits any more");
        removals.keep(AllocId::named("c"));
        for number in 0..=WAITING_MAX {
            removals.push(AllocId::named(&number.to_string()));
        }
        removals.is_short = false;
        let begun = Instant::now();
        removals.due().await;
        assert!(begun.elapsed() < WAIT);
    }
}

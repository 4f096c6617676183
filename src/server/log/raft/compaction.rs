//! When a snapshot is taken, and what of the log is removed afterwards.
//!
//! A snapshot costs as much as the state is large, so the log may grow as long as that before the
//! next: what is written for snapshots is then at most what is written for the log, however large
//! the state.

use std::sync::Arc;
use tokio::sync::Mutex;

use super::{log_store::LogStore, snapshot::SnapshotFile, types::Types};

/// The log may always have this many bytes, however small the state is.
const LOG_BYTES_MIN: u64 = 16 << 20;
/// Bytes of entries that stay behind a snapshot, so that a server that was away for a moment, for
/// example to reboot, need not be sent all of the state.
const KEPT_BYTES: u64 = 8 << 20;

/// Takes snapshots of one log.
#[derive(Clone)]
pub(super) struct Compaction {
    raft: openraft::Raft<Types>,
    store: LogStore,
    file: SnapshotFile,
    /// Bytes of the entries since the last snapshot that was asked for.
    since: Arc<Mutex<u64>>,
}

impl Compaction {
    /// For a log whose state was restored up to `snapshot_index`.
    pub(super) fn new(
        raft: openraft::Raft<Types>,
        store: LogStore,
        file: SnapshotFile,
        snapshot_index: Option<u64>,
    ) -> Self {
        let since = Arc::new(Mutex::new(store.bytes_after(snapshot_index)));
        Self {
            raft,
            store,
            file,
            since,
        }
    }

    /// The log grew by that many bytes.
    pub(super) async fn grown(&self, bytes: u64) {
        let mut since = self.since.lock().await;
        *since += bytes;
        if *since < self.file.bytes().max(LOG_BYTES_MIN) {
            return;
        }
        // Whether or not it succeeds: the next try comes after as much again.
        *since = 0;
        if let Err(error) = self.raft.trigger().snapshot().await {
            tracing::warn!(%error, "cannot start a snapshot");
        }
    }

    /// Removes what snapshots made superfluous, until the log is closed.
    pub(super) async fn purge(self) {
        let mut metrics = self.raft.metrics();
        let mut purged = None;
        loop {
            let snapshot = metrics.borrow_and_update().snapshot.map(|id| id.index);
            if snapshot > purged {
                purged = snapshot;
                let upto = self.store.purgeable(KEPT_BYTES).min(snapshot);
                if let Some(upto) = upto
                    && self.raft.trigger().purge_log(upto).await.is_err()
                {
                    return;
                }
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

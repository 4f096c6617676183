//! When a snapshot is taken, and what of the log is removed afterwards.
//!
//! A snapshot costs as much as the state is large, so the log may grow as long as that before the
//! next: what is written for snapshots is then at most what is written for the log, however large
//! the state.
//!
//! Every server does so with its own log, whether it leads or follows.

use super::{log_store::LogStore, snapshot::SnapshotFile, types::Types};

/// The log may always have this many bytes, however small the state is.
const LOG_BYTES_MIN: u64 = 16 << 20;
/// Bytes of entries that stay behind a snapshot, so that a server that was away for a moment, for
/// example to reboot, need not be sent all of the state.
const KEPT_BYTES: u64 = 8 << 20;

/// Both are so much smaller in a simulated process, which lives for some simulated minutes.
const SIMULATED_PART: u64 = 512;

fn scaled(bytes: u64) -> u64 {
    if sys::simulation::is_on() {
        bytes / SIMULATED_PART
    } else {
        bytes
    }
}

/// Takes snapshots of one log.
pub(super) struct Compaction {
    pub(super) raft: openraft::Raft<Types>,
    pub(super) store: LogStore,
    pub(super) file: SnapshotFile,
}

impl Compaction {
    /// Follows the log, whose state was restored up to `snapshot_index`, until it is closed.
    pub(super) async fn run(self, snapshot_index: Option<u64>) {
        let mut metrics = self.raft.metrics();
        let mut purged = None;
        // Bytes of the entries since the last snapshot that was asked for are those that were
        // appended beyond `mark`, and some from before the start.
        let mut before = self.store.bytes_after(snapshot_index);
        let mut mark = self.store.appended();
        loop {
            let snapshot = metrics.borrow_and_update().snapshot.map(|id| id.index);
            if snapshot > purged {
                purged = snapshot;
                if !self.purge(snapshot).await {
                    return;
                }
            }
            let appended = self.store.appended();
            if before + (appended - mark) >= self.file.bytes().max(scaled(LOG_BYTES_MIN)) {
                // Whether or not it succeeds: the next try comes after as much again.
                (before, mark) = (0, appended);
                if let Err(error) = self.raft.trigger().snapshot().await {
                    tracing::warn!(%error, "cannot start a snapshot");
                }
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Removes what a snapshot made superfluous; false when the log is closed.
    async fn purge(&self, snapshot: Option<u64>) -> bool {
        match self.store.purgeable(scaled(KEPT_BYTES)).min(snapshot) {
            Some(upto) => self.raft.trigger().purge_log(upto).await.is_ok(),
            None => true,
        }
    }
}

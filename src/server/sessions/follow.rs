//! The one follower of applied entries for all streams: it records catalog changes and events,
//! wakes the streams of nodes whose allocations changed, and says which entries have to be
//! confirmed.

use jobs::model::Index;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::Core;
use crate::log::published::Commit;

/// How long changes are collected into one message, per open stream: what a message costs grows
/// with the number of streams.
const PAUSE_PER_STREAM: Duration = Duration::from_micros(4);
/// The longest that changes are collected.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Where the follower is.
#[derive(Debug)]
pub(crate) struct Followed {
    commits: broadcast::Receiver<Arc<Commit>>,
    index: Index,
}

/// Begins with the state as it is. Streams may be served from then on.
pub(crate) fn begin(core: &Core) -> Followed {
    let (commits, snapshot) = core.published.follow();
    let index = snapshot.index;
    // What left meanwhile is not known one by one.
    core.data_planes.on_entry(snapshot.mesh.index(), true);
    core.data_planes.on_entry(index, false);
    core.events.reset(Arc::clone(&snapshot));
    core.history.reset(snapshot);
    core.streams.missed(index);
    Followed { commits, index }
}

/// Follows until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    // One turn around this loop per fresh start: the first, and after falling too far behind.
    loop {
        let Followed {
            mut commits,
            index: mut followed,
        } = begin(&core);
        let mut next_message = Instant::now();
        let mut has_pending = false;
        loop {
            let commit = tokio::select! {
                commit = commits.recv() => commit,
                () = sleep_until(next_message), if has_pending => {
                    core.history.publish(core.raft.metrics().term);
                    has_pending = false;
                    let pause = PAUSE_PER_STREAM * u32::try_from(core.streams.count()).unwrap_or(u32::MAX);
                    next_message = Instant::now() + pause.min(PAUSE_MAX);
                    continue;
                }
                () = stop.cancelled() => return,
            };
            match commit {
                Ok(commit) if commit.at.index <= followed => {}
                Ok(commit) => {
                    followed = commit.at.index;
                    has_pending |= on_commit(&core, &commit);
                }
                Err(RecvError::Lagged(entries)) => {
                    tracing::debug!(entries, "streams start afresh from a snapshot");
                    break;
                }
                // The state was replaced as a whole.
                Err(RecvError::Closed) => break,
            }
        }
    }
}

/// Whether the entry changed the catalog.
fn on_commit(core: &Core, commit: &Commit) -> bool {
    let changes: Vec<_> = commit
        .changes
        .mesh
        .iter()
        .flat_map(|applied| applied.changes.iter().cloned())
        .collect();
    let has_changes = !changes.is_empty();
    let has_departures = changes.iter().any(mesh::view::Change::is_departure);
    // Whoever confirms the entry finds that it is known.
    core.data_planes.on_entry(commit.at.index, has_departures);
    core.history.record(Arc::clone(&commit.snapshot), changes);
    core.events.record(commit);
    core.streams
        .changed(commit.at.index, &commit.changes.of_node);
    has_changes
}

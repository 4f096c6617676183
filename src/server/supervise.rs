//! Keeps the parts of a leader running: one that panics is started again after a pause, and when
//! that does not help, the server stops leading and says so.

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Pause before the first new start; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// New starts of one part within [`WINDOW`] that are worth a try.
const RESTARTS_MAX: u32 = 5;
/// A part that ran for this long is taken for healthy again.
const WINDOW: Duration = Duration::from_secs(60);

/// The parts of one leadership.
#[derive(Clone, Debug)]
pub(super) struct Supervisor {
    parts: TaskTracker,
    stop: CancellationToken,
    gave_up: CancellationToken,
    reason: Arc<Mutex<String>>,
}

impl Supervisor {
    /// Watches over parts that end when `stop` is canceled.
    pub(super) fn new(parts: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            parts,
            stop,
            gave_up: CancellationToken::new(),
            reason: Arc::default(),
        }
    }

    /// Runs a part until `stop`; `make` makes it anew after a panic.
    pub(super) fn keep<F>(
        &self,
        part: &'static str,
        make: impl Fn(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let this = self.clone();
        self.parts.spawn(async move {
            let (mut pause, mut restarts) = (PAUSE_MIN, 0);
            loop {
                let started = Instant::now();
                let ended = AssertUnwindSafe(make(this.stop.clone()))
                    .catch_unwind()
                    .await;
                if ended.is_ok() || this.stop.is_cancelled() {
                    return;
                }
                if started.elapsed() > WINDOW {
                    (pause, restarts) = (PAUSE_MIN, 0);
                }
                restarts += 1;
                if restarts > RESTARTS_MAX {
                    *this.reason.lock() = format!("{part} panics again and again");
                    this.gave_up.cancel();
                    return;
                }
                tracing::error!(part, "a part of the server panicked and is started again");
                tokio::select! {
                    () = sleep(pause) => {}
                    () = this.stop.cancelled() => return,
                }
                pause *= 2;
            }
        });
    }

    /// Resolves with the reason when a part does not get well again.
    pub(super) async fn gave_up(&self) -> String {
        self.gave_up.cancelled().await;
        self.reason.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panics_once_goes_on() {
        let stop = CancellationToken::new();
        let supervisor = Supervisor::new(TaskTracker::new(), stop.clone());
        let starts = Arc::new(AtomicU32::new(0));
        let (running, seen) = (Arc::clone(&starts), CancellationToken::new());
        let well = seen.clone();
        supervisor.keep("a loop", move |stop| {
            let start = running.fetch_add(1, Ordering::SeqCst);
            let well = well.clone();
            async move {
                assert!(start > 0, "the first start fails");
                well.cancel();
                stop.cancelled().await;
            }
        });
        seen.cancelled().await;
        stop.cancel();
        supervisor.parts.close();
        supervisor.parts.wait().await;
        assert_eq!(starts.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_always_panics_is_given_up_and_named() {
        let supervisor = Supervisor::new(TaskTracker::new(), CancellationToken::new());
        supervisor.keep("a loop", |_| async { panic!("always") });
        assert_eq!(supervisor.gave_up().await, "a loop panics again and again");
    }
}

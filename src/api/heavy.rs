//! Work on large requests, on threads of its own and little of it at a time.
//!
//! Reading and checking a job file costs time and memory in proportion to what was sent, and a
//! caller may send much. The threads that carry requests, traffic and DNS answers do not wait for
//! it, and together it needs no more memory than a few such jobs.

use parking_lot::Mutex;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};
use tokio::sync::oneshot;

use super::error::Error;

/// Threads, and so requests that are worked on at the same time.
const THREADS: usize = 2;
/// Requests that wait for a thread; further ones are refused.
const WAITING_MAX: usize = 256;
/// Longest request that is worked on at once, bytes: passing it to a thread would cost more.
const AT_ONCE_BYTES_MAX: usize = 4096;
/// Stack of a thread, bytes: job files may nest.
const STACK_BYTES: usize = 8 * 1024 * 1024;

type Work = Box<dyn FnOnce() + Send>;

/// The threads; they end when the last handle is dropped. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Heavy(SyncSender<Work>);

impl Heavy {
    /// Starts the threads.
    pub(super) fn start() -> Self {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..THREADS {
            let receiver = Arc::clone(&receiver);
            let started = thread::Builder::new()
                .name("api-heavy".into())
                .stack_size(STACK_BYTES)
                .spawn(move || run(&receiver));
            if let Err(error) = started {
                // Without any thread the sender has no receiver, and requests are refused.
                tracing::error!(%error, "cannot start a thread for large requests");
            }
        }
        Self(sender)
    }

    /// Does `work` on a request of so many bytes: a short one at once, others on one of the
    /// threads.
    ///
    /// # Errors
    /// As [`Heavy::run`].
    pub(super) async fn run_sized<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        if bytes <= AT_ONCE_BYTES_MAX {
            return Ok(work());
        }
        self.run(work).await
    }

    /// Does `work` on one of the threads. What nobody waits for any more is not begun.
    ///
    /// # Errors
    /// 503 when too many requests wait already, 500 when the work panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        let work = Box::new(move || {
            if !sender.is_closed() {
                // The caller may have left meanwhile.
                drop(sender.send(work()));
            }
        });
        match self.0.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Error::busy("too many large requests wait")),
            Err(TrySendError::Disconnected(_)) => {
                return Err(Error::internal("there is no thread for large requests"));
            }
        }
        receiver
            .await
            .map_err(|_| Error::internal("the request could not be worked on"))
    }
}

fn run(receiver: &Mutex<Receiver<Work>>) {
    loop {
        let next = receiver.lock().recv();
        let Ok(work) = next else { return };
        // A panic ends its request, not the thread; the hook has logged it.
        drop(catch_unwind(AssertUnwindSafe(work)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use std::sync::mpsc::channel;

    #[tokio::test]
    async fn little_is_done_at_a_time_and_little_waits() {
        let heavy = Heavy::start();
        let (entered, has_entered) = channel();
        let (gates, waits): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel::<()>()).unzip();
        for gate in waits {
            let (heavy, entered) = (heavy.clone(), entered.clone());
            tokio::spawn(async move {
                let work = move || {
                    entered.send(()).unwrap();
                    gate.recv().ok();
                };
                heavy.run(work).await.unwrap();
            });
        }
        while has_entered.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        while has_entered.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| Box::pin(heavy.run(|| 7)))
            .collect();
        let mut waiting = waiting;
        for one in &mut waiting {
            let polled = futures_util::poll!(one.as_mut());
            assert!(polled.is_pending());
        }
        let refused = heavy.run(|| 7).await.unwrap_err().into_response();
        assert_eq!(refused.status(), 503);
        drop(gates);
        for one in waiting {
            assert_eq!(one.await, Ok(7));
        }
    }

    #[tokio::test]
    async fn a_panic_ends_one_request_only() {
        let heavy = Heavy::start();
        for _ in 0..2 * THREADS {
            let answer = heavy.run(|| -> u8 { panic!("on purpose") }).await;
            assert!(answer.is_err());
        }
        assert_eq!(heavy.run(|| 1).await, Ok(1));
    }
}

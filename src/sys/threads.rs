//! Threads for work that waits for a disk, a few for each purpose.
//!
//! A disk that hangs holds the threads of that purpose and nothing else: no async worker, no other
//! purpose, and not the end of the process, which waits for none of them.

use super::simulation;
use parking_lot::{Condvar, Mutex};
use std::{collections::VecDeque, io, sync::Arc, thread, time::Duration};
use tokio::{
    sync::{Semaphore, oneshot},
    task::{JoinError, spawn_blocking},
    time::timeout,
};

type Work = Box<dyn FnOnce() + Send>;

/// Carries out work that blocks its thread in the pool of the runtime; in a simulated process at
/// once.
///
/// # Errors
/// When `work` panics or the runtime ends.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if simulation::is_on() {
        return Ok(work());
    }
    spawn_blocking(work).await
}

/// A few threads for one purpose. They are made when they are first needed and wait for work from
/// then on.
///
/// Invariant: never more pieces of work are handed over than there are threads; further ones wait
/// with their callers.
#[derive(Clone, Debug)]
pub struct Threads {
    free: Arc<Semaphore>,
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    name: &'static str,
    threads_max: usize,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.work.len())
            .field("threads", &self.threads)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

impl Threads {
    /// At most `threads_max` of them.
    pub fn new(name: &'static str, threads_max: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(threads_max)),
            pool: Arc::new(Pool {
                name,
                threads_max,
                state: Mutex::default(),
                arrived: Condvar::new(),
            }),
        }
    }

    /// Carries out `work` on one of them, as soon as one is free. Once begun it is carried out to
    /// its end, also when nobody waits for it any more.
    ///
    /// # Errors
    /// The error of `work`, and one of this machine when no thread can be made or `work` panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let Ok(slot) = Arc::clone(&self.free).acquire_owned().await else {
            return Err(io::Error::other("the threads are gone"));
        };
        let (sender, done) = oneshot::channel();
        self.pool.hand_over(Box::new(move || {
            // Kept until the work is over, whoever waits for it.
            let _slot = slot;
            sender.send(work()).ok();
        }))?;
        done.await
            .unwrap_or_else(|_| Err(io::Error::other("the work on a file broke")))
    }

    /// As [`Threads::run`], but waits no longer than `limit` in all.
    ///
    /// # Errors
    /// As [`Threads::run`], and [`io::ErrorKind::TimedOut`].
    pub async fn run_within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        timeout(limit, self.run(work)).await.unwrap_or_else(|_| {
            let text = format!("the disk did not answer within {} s", limit.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The last handle: the threads themselves hold only the pool.
        if Arc::strong_count(&self.free) == 1 {
            self.pool.state.lock().is_closed = true;
            self.pool.arrived.notify_all();
        }
    }
}

impl Pool {
    fn hand_over(self: &Arc<Self>, work: Work) -> io::Result<()> {
        let mut state = self.state.lock();
        state.work.push_back(work);
        if state.idle >= state.work.len() {
            self.arrived.notify_one();
            return Ok(());
        }
        // With all of them made, the next one that is done takes it.
        if state.threads == self.threads_max {
            return Ok(());
        }
        let pool = Arc::clone(self);
        let made = thread::Builder::new()
            .name(self.name.into())
            .spawn(move || pool.run());
        match made {
            Ok(_) => state.threads += 1,
            // Without a single thread nobody would ever take it.
            Err(error) if state.threads == 0 => {
                state.work.pop_back();
                return Err(error);
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(work) = state.work.pop_front() {
                drop(state);
                // Its caller hears of a panic by the end of its channel; the thread goes on.
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok();
                state = self.state.lock();
            } else if state.is_closed {
                return;
            } else {
                state.idle += 1;
                self.arrived.wait(&mut state);
                state.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn work_that_hangs_holds_its_threads_and_nothing_else() {
        let threads = Threads::new("test", 2);
        let (release, hang) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        for _ in 0..2 {
            let hang = Arc::clone(&hang);
            let work = move || Ok(hang.lock().recv().is_ok());
            let error = threads.run_within(Duration::from_millis(20), work).await;
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        let error = threads
            .run_within(Duration::from_millis(20), || Ok(()))
            .await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(release);
        assert_eq!(threads.run(|| Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_goes_on() {
        let threads = Threads::new("test", 1);
        let broken = threads
            .run(|| -> io::Result<()> { panic!("on purpose") })
            .await;
        assert!(broken.is_err());
        for number in 0..100 {
            assert_eq!(threads.run(move || Ok(number)).await.unwrap(), number);
        }
    }

    #[tokio::test]
    async fn many_share_a_few() {
        let threads = Threads::new("test", 3);
        let all = (0..200).map(|number| {
            let threads = threads.clone();
            async move { threads.run(move || Ok(number)).await.unwrap() }
        });
        let sum: i32 = futures_util::future::join_all(all).await.into_iter().sum();
        assert_eq!(sum, 19_900);
    }
}

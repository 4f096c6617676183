//! What is held: a lock, or a place among a few.

use super::{mutex::Mutex, semaphore::Semaphore};

/// What is held.
#[derive(Debug)]
pub(super) enum Held {
    /// By one at a time.
    Mutex(Mutex),
    /// By a few at a time.
    Semaphore(Semaphore),
}

impl Held {
    /// Waits until it is held.
    pub(super) async fn acquire(&self) -> anyhow::Result<()> {
        match self {
            Self::Mutex(mutex) => mutex.acquire().await,
            Self::Semaphore(semaphore) => semaphore.acquire().await,
        }
    }

    /// Resolves when it is not held any more, or nobody says so for too long.
    pub(super) async fn lost(&self, retries_max: u32) {
        match self {
            Self::Mutex(mutex) => mutex.lost(retries_max).await,
            Self::Semaphore(semaphore) => semaphore.lost(retries_max).await,
        }
    }

    /// Gives it back.
    pub(super) async fn release(&self) -> anyhow::Result<()> {
        match self {
            Self::Mutex(mutex) => mutex.release().await,
            Self::Semaphore(semaphore) => semaphore.release().await,
        }
    }

    /// Removes its key when nobody uses it; false when somebody does.
    pub(super) async fn clean_up(&self) -> anyhow::Result<bool> {
        match self {
            Self::Mutex(mutex) => mutex.clean_up().await,
            Self::Semaphore(semaphore) => semaphore.clean_up().await,
        }
    }
}

//! Requests that wait until a target has time for them, or until there is one.

use std::sync::Arc;
use std::time::Duration;

use super::handle::Handle;
use crate::route::Limits;

/// What a request may wait for.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) limits: Arc<Limits>,
    /// How many may wait.
    pub(super) most: u32,
    /// How long.
    pub(super) time: Duration,
}

/// A request that waits; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Queued {
    handle: Handle,
    limits: Arc<Limits>,
}

impl Queued {
    /// Lets a request wait, if not too many do.
    pub(super) fn enter(handle: &Handle, turn: &Turn) -> Option<Queued> {
        if turn.time.is_zero() || !turn.limits.wait(turn.most) {
            return None;
        }
        handle.count_waiting(true);
        Some(Queued {
            handle: handle.clone(),
            limits: turn.limits.clone(),
        })
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.handle.count_waiting(false);
        self.limits.waited();
    }
}

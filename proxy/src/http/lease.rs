//! A request's right to use a target.

use std::sync::Arc;

use super::handle::Handle;
use crate::route::{Entered, RequestPath, Route, Table, Target};

/// How often a request that meets a removed target picks again. Each time a whole swap must have happened in between.
const PICKS_MAX: usize = 16;

/// A target that a request may be sent to. The request counts as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    target: Arc<Target>,
    handle: Handle,
}

/// Why there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No route matches the request.
    NoRoute,
    /// The route has no target that is acceptable.
    NoTarget,
}

impl Lease {
    /// Picks a target of the request's route in the table in force, by `pick`, and counts the request in.
    ///
    /// The target that is returned was in the table in force at some moment after this was called, and no swap that
    /// removes it is told that it has drained before the lease is dropped.
    pub(super) fn take(
        handle: &Handle,
        host: &str,
        path: &RequestPath<'_>,
        pick: impl Fn(&Route) -> Option<&Arc<Target>>,
    ) -> Result<Lease, Refused> {
        for _ in 0..PICKS_MAX {
            let table = handle.load();
            let table: &Table = &table;
            let route = table.lookup(host, path).ok_or(Refused::NoRoute)?;
            let target = pick(route).ok_or(Refused::NoTarget)?;
            match target.upstream().enter() {
                Entered::Open => {
                    return Ok(Lease {
                        target: target.clone(),
                        handle: handle.clone(),
                    });
                }
                Entered::Closed => handle.wake_drains(),
            }
        }
        Err(Refused::NoTarget)
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.target.upstream().leave() {
            self.handle.wake_drains();
        }
    }
}

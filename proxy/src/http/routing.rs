//! What both ways of carrying a request decide alike: where it goes, what it looks like there, what
//! follows from a failure.

use ::http::{Method, StatusCode};

use super::handle::Handle;
use super::lease::{Lease, Refused};
use crate::config::Config;
use crate::route::{Request, Route, Table, Target};

/// What was tried for a request so far.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// Asking twice is asking once.
    is_repeatable: bool,
    /// Serials of upstreams that could not be connected to: not asked again for this request.
    unreachable: Vec<u64>,
    /// Serials of upstreams whose connection broke: asked again only if there is no other.
    broken: Vec<u64>,
    /// The answer if no target is left to try.
    last: Option<Failure>,
}

/// How a target failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was silent for too long.
    Silent,
    /// It was silent while others answered.
    Suspected,
    /// It was found dead while it was waited for.
    Lost,
    /// It could not be reached, or broke off, or said what nobody understands.
    Broken,
}

impl Failure {
    /// The answer to the client.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Failure::Silent | Failure::Suspected => StatusCode::GATEWAY_TIMEOUT,
            Failure::Lost | Failure::Broken => StatusCode::BAD_GATEWAY,
        }
    }
}

impl Tried {
    /// Nothing yet, for a request by a method.
    pub(super) fn of(method: &Method) -> Tried {
        Tried {
            is_repeatable: method.is_idempotent(),
            ..Tried::default()
        }
    }

    /// Whether the request may be given to another target after something of it was sent. A silent
    /// target is not followed by another, since the client has waited enough.
    pub(super) fn may_repeat(&self, failure: Failure) -> bool {
        self.is_repeatable && failure != Failure::Silent
    }

    /// Whether any target was tried.
    pub(super) fn is_empty(&self) -> bool {
        self.unreachable.is_empty() && self.broken.is_empty()
    }

    /// Notes an upstream that got no byte of the request.
    pub(super) fn unreachable(&mut self, serial: u64, failure: Failure) {
        self.unreachable.push(serial);
        self.last = Some(failure);
    }

    /// Notes an upstream that may have got the request.
    pub(super) fn broken(&mut self, serial: u64, failure: Failure) {
        self.broken.push(serial);
        self.last = Some(failure);
    }

    /// The answer when no target is left to try.
    pub(super) fn status(&self) -> StatusCode {
        self.last.unwrap_or(Failure::Broken).status()
    }

    /// A target for the request, one that did not fail it yet if there is one; with `is_plain` only
    /// on a route that asks for no more than plain requests get.
    pub(super) fn lease(
        &self,
        handle: &Handle,
        request: &Request<'_>,
        is_plain: bool,
    ) -> Result<Lease, Refused> {
        self.lease_by(handle, |table| table.lookup_request(request), is_plain)
    }

    /// The same, of the route that `find` finds.
    pub(super) fn lease_by(
        &self,
        handle: &Handle,
        find: impl Fn(&Table) -> Option<&Route>,
        is_plain: bool,
    ) -> Result<Lease, Refused> {
        let choice = handle.choice();
        let may_fail = self.is_repeatable;
        let reachable = |target: &Target| !self.unreachable.contains(&target.upstream().serial());
        let sound = |target: &Target| {
            reachable(target) && !self.broken.contains(&target.upstream().serial())
        };
        Lease::take(handle, find, is_plain, |route: &Route| {
            if self.is_empty() {
                let turn = route.pick(choice)?;
                if !turn.upstream().health().is_doubtful() {
                    return Some(turn);
                }
            }
            // The clock is asked only when something is wrong.
            let now = handle.now_ms();
            let may_try = |target: &Target| {
                let health = target.upstream().health();
                sound(target) && health.may_try(now, may_fail)
            };
            route
                .pick_where(choice, may_try)
                .or_else(|| route.pick_where(choice, sound))
                .or_else(|| route.pick_where(choice, reachable))
        })
    }
}

/// The answer to a request that goes to no target.
pub(super) fn refusal(config: &Config, refused: Refused) -> StatusCode {
    match refused {
        Refused::NoRoute => StatusCode::from_u16(config.no_route_status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Refused::NoTarget => StatusCode::SERVICE_UNAVAILABLE,
        // The library takes all of them.
        Refused::NotPlain => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

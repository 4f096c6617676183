//! What both ways of carrying a request decide alike: where it goes, what it looks like there, what
//! follows from a failure.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ::http::{Method, StatusCode};

use super::handle::Handle;
use super::lease::{Lease, Picked, Refused};
use super::waiting::Turn;
use crate::config::Config;
use crate::route::{
    Choice, Facts, Policy, Request, RequestPath, Route, Ruled, STICKY_COOKIE, Sticky, Table,
    Target, hash,
};

/// What of a request its target is chosen by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Criteria<'a> {
    pub(super) request: Request<'a>,
    pub(super) client: IpAddr,
    pub(super) facts: Facts<'a>,
}

/// What was tried for a request so far.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// Asking twice is asking once.
    is_repeatable: bool,
    /// The request is within the limits of its route.
    is_admitted: AtomicBool,
    /// What the client is told to come back with.
    cookie: OnceLock<String>,
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
    /// It answered with a status that counts as a failure.
    Status(StatusCode),
}

impl Failure {
    /// The answer to the client.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Failure::Silent | Failure::Suspected => StatusCode::GATEWAY_TIMEOUT,
            Failure::Lost | Failure::Broken => StatusCode::BAD_GATEWAY,
            Failure::Status(status) => status,
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

    /// The header line that the answer has beside those of the target; none if it is empty.
    pub(super) fn cookie(&self) -> Option<String> {
        let value = self.cookie.get()?;
        Some(format!(
            "{STICKY_COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax"
        ))
    }

    fn is_sound(&self, target: &Target) -> bool {
        let serial = target.upstream().serial();
        !self.unreachable.contains(&serial) && !self.broken.contains(&serial)
    }

    /// A target for the request, one that did not fail it yet if there is one; with `is_plain` only
    /// on a route that asks for no more than plain requests get.
    pub(super) fn lease(
        &self,
        config: &Config,
        handle: &Handle,
        asked: &Criteria<'_>,
        is_plain: bool,
    ) -> Result<Lease, Refused> {
        Lease::take(
            handle,
            |table| table.lookup_request(&asked.request),
            is_plain,
            config,
            |route: &Route| self.pick(config, handle, asked, route),
        )
    }

    /// A target for a connection that is passed on as it is, of the route that `find` finds.
    pub(super) fn lease_by(
        &self,
        config: &Config,
        handle: &Handle,
        client: IpAddr,
        find: impl Fn(&Table) -> Option<&Route>,
    ) -> Result<Lease, Refused> {
        let path = RequestPath::new("/");
        let asked = Criteria {
            request: Request::plain("", &path),
            client,
            facts: Facts {
                method: "",
                path: b"",
                query: "",
                header: &|_| None,
            },
        };
        Lease::take(handle, find, false, config, |route: &Route| {
            self.pick(config, handle, &asked, route)
        })
    }

    fn pick<'r>(
        &self,
        config: &Config,
        handle: &Handle,
        asked: &Criteria<'_>,
        route: &'r Route,
    ) -> Result<Picked<'r>, Refused> {
        let policy = route.policy();
        if let Some(rate) = policy.rate
            && !self.is_admitted.load(Ordering::Relaxed)
        {
            if !route.limits().admits(rate, asked.client, handle.now_us()) {
                return Err(Refused::Limited);
            }
            self.is_admitted.store(true, Ordering::Relaxed);
        }
        let choice = self.choice(handle, asked, policy);
        let version = if route.has_rules() {
            route.rule(&asked.facts).map(|(ruled, _)| ruled)
        } else {
            None
        };
        let most = policy.target_requests_max.map_or(u64::MAX, u64::from);
        let has_room = |target: &Target| most == u64::MAX || target.upstream().in_flight() < most;
        let is_new = self.is_empty();
        // The clock is asked only when something is wrong.
        let now = Cell::new(None);
        let may_try = |target: &Target| {
            let health = target.upstream().health();
            let now_ms = || {
                now.get().unwrap_or_else(|| {
                    now.set(Some(handle.now_ms()));
                    handle.now_ms()
                })
            };
            (is_new || self.is_sound(target))
                && has_room(target)
                && (!health.is_doubtful()
                    || target.is_judged()
                    || health.may_try(now_ms(), self.is_repeatable))
        };
        let reachable = |target: &Target| !self.unreachable.contains(&target.upstream().serial());
        let found = route
            .pick_of(version, choice, may_try)
            .or_else(|| {
                let sound = |target: &Target| self.is_sound(target) && has_room(target);
                route.pick_of(version, choice, sound)
            })
            .or_else(|| {
                let last = |target: &Target| reachable(target) && has_room(target);
                route.pick_of(version, choice, last)
            });
        let target = found.ok_or_else(|| self.nobody(config, route, &reachable))?;
        Ok(Picked {
            target,
            rewrite: version.and_then(Ruled::rewrite),
        })
    }

    /// What becomes of a request whose route has no target for it now.
    fn nobody(
        &self,
        config: &Config,
        route: &Route,
        reachable: &dyn Fn(&Target) -> bool,
    ) -> Refused {
        let policy = route.policy();
        let is_full = route
            .targets()
            .iter()
            .any(|target| target.share() > 0.0 && reachable(target));
        let time = if is_full {
            policy.pending_time.unwrap_or(config.pending_time)
        } else {
            policy.hold.unwrap_or(config.hold)
        };
        Refused::Wait(Turn {
            limits: route.limits().clone(),
            most: policy.pending_max.unwrap_or(config.pending_max),
            time,
        })
    }

    /// How the target is chosen among equals.
    fn choice(&self, handle: &Handle, asked: &Criteria<'_>, policy: &Policy) -> Choice {
        let key = match &policy.sticky {
            None => None,
            Some(Sticky::Cookie(name)) => asked.facts.cookie(name).map(hash),
            Some(Sticky::Header(name)) => {
                (asked.facts.header)(&name.to_ascii_lowercase()).map(hash)
            }
            Some(Sticky::Address) => Some(hash(asked.client.to_canonical().to_string().as_bytes())),
            Some(Sticky::OwnCookie) => Some(match asked.facts.cookie(STICKY_COOKIE) {
                Some(value) => hash(value),
                None => {
                    let make = || format!("{:016x}", handle.random());
                    hash(self.cookie.get_or_init(make).as_bytes())
                }
            }),
        };
        key.map_or_else(|| handle.choice(), Choice::Hash)
    }

    /// Whether there is a target that was not tried, beside one.
    pub(super) fn has_other(&self, handle: &Handle, asked: &Criteria<'_>, own: u64) -> bool {
        let table = handle.load();
        let route = table.lookup_request(&asked.request);
        route.is_some_and(|route| {
            route.targets().iter().any(|target| {
                let is_other = target.upstream().serial() != own && self.is_sound(target);
                is_other && target.share() > 0.0
            })
        })
    }
}

/// How many more targets are tried when one fails.
pub(super) fn retries(config: &Config, policy: &Policy) -> usize {
    let own = policy.retries.map(|retries| retries as usize);
    own.unwrap_or(config.retries).min(RETRIES_MAX)
}

/// No request is tried at more targets.
pub(super) const RETRIES_MAX: usize = 16;

/// Whether an answer counts as a failure of its target.
pub(super) fn is_failure(config: &Config, policy: &Policy, status: StatusCode) -> bool {
    let own = policy.retry_on.as_ref();
    let statuses = own.unwrap_or(&config.retry_on);
    !statuses.is_empty() && statuses.contains(&status.as_u16())
}

/// The answer to a request that goes to no target.
pub(super) fn refusal(config: &Config, refused: &Refused) -> StatusCode {
    match refused {
        Refused::NoRoute => StatusCode::from_u16(config.no_route_status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Refused::NoTarget | Refused::Wait(_) => StatusCode::SERVICE_UNAVAILABLE,
        // The library takes all of them.
        Refused::NotPlain => StatusCode::INTERNAL_SERVER_ERROR,
        Refused::Limited => StatusCode::TOO_MANY_REQUESTS,
    }
}

/// What pages of the proxy's own are.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// Whether an answer of the proxy's own says when to come again.
pub(super) fn comes_again(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    )
}

//! Requests that wait for the first of an answer: when they are better off with another target, and
//! how many of them may be given to one.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::handle::Handle;
use super::routing::Failure;
use crate::config::Config;
use crate::route::{RequestPath, Upstream};

/// How often it is looked again whether a target is silent alone.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What becomes of a request that waits.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It goes on waiting; the next look is due then.
    Wait(Instant),
    /// Its target will not answer it, as it seems.
    Leave(Failure),
}

/// A wait for the first of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    since: Instant,
    losses: u32,
}

impl Wait {
    /// A wait that begins.
    pub(super) fn begin(upstream: &Upstream, now: Instant) -> Wait {
        Wait {
            since: now,
            losses: upstream.health().losses(),
        }
    }

    /// When it began.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// When to look for the first time: the shortest silence that may say something.
    pub(super) fn first_look(&self) -> Instant {
        self.since + crate::route::PATIENCE_MIN
    }

    /// Whether the target was found dead since.
    pub(super) fn is_lost(&self, upstream: &Upstream) -> bool {
        upstream.health().losses() != self.losses
    }

    /// Whether the target has answered nobody since, though others of the request's route have; if
    /// so, it is suspected, and gets no more requests for a while.
    pub(super) fn look(
        &self,
        handle: &Handle,
        request: (&str, &RequestPath<'_>),
        upstream: &Upstream,
        now: Instant,
    ) -> Verdict {
        if self.is_lost(upstream) {
            return Verdict::Leave(Failure::Lost);
        }
        let health = upstream.health();
        let patience = self.since + health.patience();
        if now < patience {
            return Verdict::Wait(patience);
        }
        let since_us = handle.at_us(self.since);
        let is_alone = !health.has_answered_since(since_us)
            && others_answer(handle, request, upstream, since_us);
        if !is_alone {
            return Verdict::Wait(now + LOOK_INTERVAL);
        }
        if health.suspected(handle.at_ms(now)) {
            tracing::info!(
                instance = upstream.instance(),
                address = %upstream.address(),
                "a target is silent while others answer"
            );
        }
        Verdict::Leave(Failure::Suspected)
    }
}

/// Whether a target of the request's route, other than an upstream, has answered since a moment.
fn others_answer(
    handle: &Handle,
    (host, path): (&str, &RequestPath<'_>),
    upstream: &Upstream,
    since_us: u64,
) -> bool {
    let table = handle.load();
    let Some(route) = table.lookup(host, path) else {
        return false;
    };
    let mut others = route.targets().iter().map(|target| target.upstream());
    others.any(|other| {
        other.serial() != upstream.serial() && other.health().has_answered_since(since_us)
    })
}

/// A target could not be connected to.
pub(super) fn unreachable(handle: &Handle, upstream: &Upstream) {
    if upstream.health().unreachable(handle.now_ms()) {
        tracing::info!(
            instance = upstream.instance(),
            address = %upstream.address(),
            "a target cannot be reached"
        );
        handle.tell_losses();
    }
}

/// A target failed a request that it got. If it does so all the time, it rests; but never more than
/// half of those that share a route.
pub(super) fn failed(
    config: &Config,
    handle: &Handle,
    (host, path): (&str, &RequestPath<'_>),
    upstream: &Upstream,
) {
    let table = handle.load();
    let Some(route) = table.lookup(host, path) else {
        return;
    };
    let most = route.policy().eject_after.unwrap_or(config.eject_after);
    if !upstream.health().failed(most) {
        return;
    }
    let now = handle.now_ms();
    let all = route.targets().len();
    let resting = route.targets().iter().filter(|target| {
        let other = target.upstream();
        other.serial() != upstream.serial() && other.health().rests(now)
    });
    if (resting.count() + 1) * 2 > all {
        return;
    }
    let time = u64::try_from(config.eject_time.as_millis()).unwrap_or(u64::MAX);
    if upstream.health().eject(now, time) {
        tracing::info!(
            instance = upstream.instance(),
            address = %upstream.address(),
            "a target fails all the time and rests"
        );
    }
}

/// So many parts of the time that counts for a budget.
const SLOTS: usize = 20;

/// How many requests of a thread may be repeated after something of them was sent: a part of those
/// of the last ten seconds and a few more, so that targets in trouble do not get more to do than
/// otherwise.
#[derive(Debug)]
pub(super) struct Budget {
    requests: [AtomicU32; SLOTS],
    repeats: [AtomicU32; SLOTS],
    slot: AtomicUsize,
    percent: u64,
    /// Repetitions that are always allowed in the whole time.
    least: u64,
}

impl Budget {
    /// How long a part of the time lasts.
    pub(super) const SLOT: Duration = Duration::from_millis(500);

    /// A budget of one of the threads of a configuration.
    pub(super) fn new(config: &Config) -> Budget {
        let whole = u64::from(config.repeats_per_second) * SLOTS as u64 / 2;
        Budget {
            requests: [const { AtomicU32::new(0) }; SLOTS],
            repeats: [const { AtomicU32::new(0) }; SLOTS],
            slot: AtomicUsize::new(0),
            percent: u64::from(config.repeats_percent),
            least: whole.div_ceil(config.threads.max(1) as u64),
        }
    }

    /// Only its own thread changes a budget.
    fn count(&self, counts: &[AtomicU32; SLOTS]) {
        let count = &counts[self.slot.load(Ordering::Relaxed) % SLOTS];
        let more = count.load(Ordering::Relaxed).saturating_add(1);
        count.store(more, Ordering::Relaxed);
    }

    /// Counts a request.
    pub(super) fn on_request(&self) {
        self.count(&self.requests);
    }

    /// A part of the time is over.
    pub(super) fn on_slot(&self) {
        let slot = (self.slot.load(Ordering::Relaxed) + 1) % SLOTS;
        self.requests[slot].store(0, Ordering::Relaxed);
        self.repeats[slot].store(0, Ordering::Relaxed);
        self.slot.store(slot, Ordering::Relaxed);
    }

    /// Whether a repetition is left.
    pub(super) fn has_left(&self) -> bool {
        let sum = |counts: &[AtomicU32; SLOTS]| -> u64 {
            let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
            counts.map(u64::from).sum()
        };
        sum(&self.repeats) < self.least + sum(&self.requests) * self.percent / 100
    }

    /// Takes a repetition, if one is left.
    pub(super) fn take(&self) -> bool {
        let has_left = self.has_left();
        if has_left {
            self.count(&self.repeats);
        }
        has_left
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, SLOTS};
    use crate::config::Config;

    #[test]
    fn a_budget_is_a_part_of_the_requests_and_a_few_more() {
        let config = Config {
            threads: 2,
            ..Config::default()
        };
        let budget = Budget::new(&config);
        let take = || (0..10_000).filter(|_| budget.take()).count();
        // Ten a second for ten seconds, shared by two threads.
        assert_eq!(take(), 50);
        for _ in 0..1000 {
            budget.on_request();
        }
        assert_eq!(take(), 200);
        for _ in 1..SLOTS {
            budget.on_slot();
            assert_eq!(take(), 0);
        }
        // All that happened is forgotten.
        budget.on_slot();
        assert_eq!(take(), 50);
        let none = Budget::new(&Config {
            repeats_percent: 0,
            repeats_per_second: 0,
            ..config
        });
        none.on_request();
        assert!(!none.take());
    }
}

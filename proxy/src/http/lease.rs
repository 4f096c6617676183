//! A request's right to use a target.

use std::sync::Arc;

use super::handle::Handle;
use super::waiting::Turn;
use crate::config::Config;
use crate::route::{Entered, Limits, RequestPath, Rewrite, Route, Table, Target};

/// How often a request that meets a removed target picks again. Each time a whole swap must have
/// happened in between.
const PICKS_MAX: usize = 16;

/// A target that a request may be sent to. The request counts as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    target: Arc<Target>,
    handle: Handle,
    /// Those of a route that bounds its requests.
    limits: Option<Arc<Limits>>,
    /// How a rule changes the path of the request.
    rewrite: Option<Arc<Rewrite>>,
}

/// A target that was picked.
#[derive(Debug)]
pub(super) struct Picked<'r> {
    pub(super) target: &'r Arc<Target>,
    /// How a rule changes the path of the request.
    pub(super) rewrite: Option<&'r Arc<Rewrite>>,
}

/// Why there is no lease.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    /// No route matches the request.
    NoRoute,
    /// The route has no target that is acceptable.
    NoTarget,
    /// The route asks for more than plain requests get.
    NotPlain,
    /// There may be a target soon.
    Wait(Turn),
    /// The route has had enough requests lately.
    Limited,
}

impl Lease {
    /// Picks a target of the route that `find` finds in the table in force, by `pick`, and counts
    /// the request in.
    ///
    /// The target that is returned was in the table in force at some moment after this was called,
    /// and no swap that removes it is told that it has drained before the lease is dropped.
    ///
    /// With `is_plain`, nothing is picked on a route that asks for more than plain requests get:
    /// whoever carries it has its turn.
    pub(super) fn take(
        handle: &Handle,
        find: impl Fn(&Table) -> Option<&Route>,
        is_plain: bool,
        config: &Config,
        pick: impl Fn(&Route) -> Result<Picked<'_>, Refused>,
    ) -> Result<Lease, Refused> {
        for _ in 0..PICKS_MAX {
            let table = handle.load();
            let table: &Table = &table;
            let route = find(table).ok_or(Refused::NoRoute)?;
            if is_plain && !route.is_plain() {
                return Err(Refused::NotPlain);
            }
            let Picked { target, rewrite } = pick(route)?;
            let policy = target.policy();
            let limits = match policy.route_requests_max {
                None => None,
                Some(most) if route.limits().enter(most) => Some(route.limits().clone()),
                Some(_) => {
                    return Err(Refused::Wait(Turn {
                        limits: route.limits().clone(),
                        most: policy.pending_max.unwrap_or(config.pending_max),
                        time: policy.pending_time.unwrap_or(config.pending_time),
                    }));
                }
            };
            match target.upstream().enter() {
                Entered::Open => {
                    let lease = Lease {
                        target: target.clone(),
                        handle: handle.clone(),
                        limits,
                        rewrite: rewrite.cloned(),
                    };
                    let most = policy.target_requests_max.map_or(u64::MAX, u64::from);
                    // Others may have come at the same moment.
                    if most == u64::MAX || target.upstream().in_flight() <= most {
                        return Ok(lease);
                    }
                }
                Entered::Closed => {
                    if let Some(limits) = limits {
                        limits.leave();
                    }
                    handle.wake_drains();
                }
            }
        }
        Err(Refused::NoTarget)
    }

    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// How a rule changes the path of the request.
    pub(super) fn rewrite(&self) -> Option<&Arc<Rewrite>> {
        self.rewrite.as_ref()
    }

    /// Path and query of the request as its target gets them; none if they stay as they came.
    pub(super) fn forwarded(&self, path: &str, query: &str) -> Option<String> {
        let rewrite = self.rewrite.as_deref();
        self.target
            .forwarded(&RequestPath::new(path), (path, query), rewrite)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.target.upstream().leave() {
            self.handle.wake_drains();
        }
        if let Some(limits) = &self.limits {
            limits.leave();
        }
        self.handle.tell_turn();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::{Lease, Picked, Refused};
    use crate::config::Config;
    use crate::http::Handle;
    use crate::route::{Choice, Request, RequestPath, Route, Table, parse};

    const SWAPS: usize = 2_000;

    fn table(target: usize, previous: &Table) -> Table {
        let (definitions, problems) =
            parse::parse(&format!("route add web / http://127.0.0.1:{}/", target + 1));
        assert!(problems.is_empty());
        Table::build(definitions, Some(previous)).0
    }

    fn take(handle: &Handle) -> Result<Lease, Refused> {
        let (path, config) = (RequestPath::new("/"), Config::default());
        let request = Request::plain("", &path);
        Lease::take(
            handle,
            |table| table.lookup_request(&request),
            false,
            &config,
            |route| {
                let target = route.pick(Choice::RoundRobin).ok_or(Refused::NoTarget)?;
                let rewrite = None;
                Ok(Picked { target, rewrite })
            },
        )
    }

    /// Two targets take turns. Whenever a swap says that the one that left has drained, it counts
    /// as stopped until it is put back. No request may ever hold a target that counts as stopped.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_request_holds_a_target_that_has_drained() {
        let handle = Handle::new(&Config::default());
        drop(handle.swap(table(0, &handle.table())));
        let stopped: Arc<[AtomicBool; 2]> =
            Arc::new([AtomicBool::new(false), AtomicBool::new(true)]);
        let done = Arc::new(AtomicBool::new(false));
        let taken = Arc::new(AtomicU64::new(0));
        let requests: Vec<_> = (0..3)
            .map(|_| {
                let (handle, stopped, done, taken) =
                    (handle.clone(), stopped.clone(), done.clone(), taken.clone());
                tokio::spawn(async move {
                    while !done.load(Ordering::Acquire) {
                        if let Ok(lease) = take(&handle) {
                            let target = usize::from(lease.target().address().port()) - 1;
                            assert!(
                                !stopped[target].load(Ordering::Acquire),
                                "a request holds a stopped target"
                            );
                            tokio::task::yield_now().await;
                            assert!(
                                !stopped[target].load(Ordering::Acquire),
                                "a target stopped under a request"
                            );
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let mut swap = 0;
        // As long as the others had no turn yet, it says nothing.
        let had_none = || {
            let is_running = requests.iter().all(|request| !request.is_finished());
            taken.load(Ordering::Relaxed) == 0 && is_running
        };
        while swap < SWAPS || had_none() {
            swap += 1;
            let (arriving, leaving) = (swap % 2, (swap + 1) % 2);
            stopped[arriving].store(false, Ordering::Release);
            let drained = handle.swap(table(arriving, &handle.table())).await;
            assert!(drained.is_complete());
            stopped[leaving].store(true, Ordering::Release);
        }
        done.store(true, Ordering::Release);
        for request in requests {
            request.await.unwrap();
        }
    }

    fn nobody(_: &Route) -> Result<Picked<'_>, Refused> {
        Err(Refused::NoTarget)
    }

    #[test]
    fn refusals_say_why() {
        let handle = Handle::new(&Config::default());
        assert!(matches!(take(&handle), Err(Refused::NoRoute)));
        drop(handle.swap(table(0, &handle.table())));
        let (path, config) = (RequestPath::new("/"), Config::default());
        let request = Request::plain("", &path);
        let take = |is_plain| {
            Lease::take(
                &handle,
                |table| table.lookup_request(&request),
                is_plain,
                &config,
                nobody,
            )
        };
        assert!(matches!(take(false), Err(Refused::NoTarget)));
        let text = "route add web / http://127.0.0.1:1/ opts \"allow=ip:10.0.0.1\"";
        let (table, _) = Table::build(parse::parse(text).0, None);
        drop(handle.swap(table));
        assert!(matches!(take(true), Err(Refused::NotPlain)));
    }
}

//! Connections to targets that wait for their next request.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::route::Upstream;

/// The idle connections of a thread, a stack for each upstream: the one that was used last is the
/// most likely to be alive, and the others get to be old enough to be closed.
pub(super) struct Pool {
    stacks: HashMap<u64, Stack>,
    count: usize,
    max: usize,
    /// How many lead to the same upstream.
    target_max: usize,
    idle_timeout: Duration,
}

struct Stack {
    upstream: Arc<Upstream>,
    connections: Vec<Idle>,
}

struct Idle {
    stream: TcpStream,
    since: Instant,
}

impl Pool {
    /// Room for so many connections, all together and to each upstream, which may wait for so long.
    pub(super) fn new((max, target_max): (usize, usize), idle_timeout: Duration) -> Pool {
        Pool {
            stacks: HashMap::new(),
            count: 0,
            max,
            target_max,
            idle_timeout,
        }
    }

    /// A connection to an upstream, as far as can be told without asking the system: nothing may
    /// have come on it, neither bytes nor its end.
    pub(super) fn take(
        &mut self,
        upstream: &Upstream,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Option<TcpStream> {
        let stack = self.stacks.get_mut(&upstream.serial())?;
        while let Some(idle) = stack.connections.pop() {
            self.count -= 1;
            if idle.is_sound(now, self.idle_timeout, cx) {
                return Some(idle.stream);
            }
        }
        None
    }

    /// Keeps a connection, unless there is no room.
    pub(super) fn put(&mut self, upstream: &Arc<Upstream>, stream: TcpStream, now: Instant) {
        if self.count >= self.max || self.target_max == 0 || upstream.is_closed() {
            return;
        }
        let stack = self
            .stacks
            .entry(upstream.serial())
            .or_insert_with(|| Stack {
                upstream: upstream.clone(),
                connections: Vec::new(),
            });
        if stack.connections.len() < self.target_max {
            stack.connections.push(Idle { stream, since: now });
            self.count += 1;
        }
    }

    /// Closes what waited for too long, what the other end has closed, and everything to upstreams
    /// that are gone.
    pub(super) fn sweep(&mut self, now: Instant, cx: &mut Context<'_>) {
        let idle_timeout = self.idle_timeout;
        let mut count = 0;
        self.stacks.retain(|_, stack| {
            if stack.upstream.is_closed() {
                return false;
            }
            stack
                .connections
                .retain(|idle| idle.is_sound(now, idle_timeout, cx));
            count += stack.connections.len();
            !stack.connections.is_empty()
        });
        self.count = count;
    }
}

impl Idle {
    fn is_sound(&self, now: Instant, idle_timeout: Duration, cx: &mut Context<'_>) -> bool {
        now.saturating_duration_since(self.since) < idle_timeout
            && matches!(self.stream.poll_read_ready(cx), Poll::Pending)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::Pool;
    use crate::route::{Table, Upstream, parse};

    fn upstream() -> Arc<Upstream> {
        let (definitions, _) = parse::parse("route add web / http://127.0.0.1:1/");
        let (table, _) = Table::build(definitions, None);
        table.upstreams().next().unwrap().clone()
    }

    async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let ours = TcpStream::connect(listener.local_addr().unwrap());
        let (ours, theirs) = tokio::join!(ours, listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    #[tokio::test]
    async fn the_last_one_is_taken_first_and_closed_ones_never() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = upstream();
        let mut pool = Pool::new((2, usize::MAX), Duration::from_secs(4));
        let now = Instant::now();
        let mut theirs = Vec::new();
        let mut ports = Vec::new();
        for _ in 0..3 {
            let (ours, other) = pair(&listener).await;
            ports.push(ours.local_addr().unwrap().port());
            pool.put(&upstream, ours, now);
            theirs.push(other);
        }
        let mut cx = Context::from_waker(Waker::noop());
        // There is room for two.
        let last = pool.take(&upstream, now, &mut cx).unwrap();
        assert_eq!(last.local_addr().unwrap().port(), ports[1]);
        pool.put(&upstream, last, now);
        // The end of the one at the bottom is seen too.
        theirs.remove(0);
        poll_fn(|cx| {
            pool.sweep(now, cx);
            if pool.count == 1 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let late = now + Duration::from_secs(4);
        assert!(pool.take(&upstream, late, &mut cx).is_none());
        assert_eq!(pool.count, 0);
    }

    #[tokio::test]
    async fn no_upstream_has_more_than_its_part() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstreams = [upstream(), upstream()];
        let now = Instant::now();
        for (most, expected) in [(0, 0), (1, 2), (2, 4), (9, 5)] {
            let mut pool = Pool::new((5, most), Duration::from_secs(4));
            let mut theirs = Vec::new();
            for _ in 0..3 {
                for upstream in &upstreams {
                    let (ours, other) = pair(&listener).await;
                    pool.put(upstream, ours, now);
                    theirs.push(other);
                }
            }
            assert_eq!(pool.count, expected, "{most}");
        }
    }

    #[tokio::test]
    async fn what_leads_to_an_upstream_that_is_gone_is_not_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = upstream();
        let mut pool = Pool::new((2, usize::MAX), Duration::from_secs(4));
        let now = Instant::now();
        let mut cx = Context::from_waker(Waker::noop());
        pool.put(&upstream, pair(&listener).await.0, now);
        upstream.close();
        pool.put(&upstream, pair(&listener).await.0, now);
        assert_eq!(pool.count, 1);
        pool.sweep(now, &mut cx);
        assert!(pool.stacks.is_empty() && pool.count == 0);
    }
}

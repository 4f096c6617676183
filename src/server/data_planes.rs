//! Which data planes have confirmed which index, what all of them have, and what is busy at any.
//!
//! A data plane is an agent that answers DNS or carries traffic. It is waited for while its lease lasts:
//! a moment without a stream is not its end. No index is waited for longer than [`CONFIRM_TIMEOUT`].

use jobs::model::{Index, NodeId};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::Core;
use crate::rpc::message::Confirmation;

/// How long an index is waited for.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// Busy instances that are kept per data plane; further ones count as idle.
const BUSY_MAX: usize = 65_536;
/// Pause between two looks at leases and timeouts.
const TICK: Duration = Duration::from_millis(250);

#[derive(Debug)]
struct Plane {
    node_id: Option<NodeId>,
    confirmed: Index,
    busy: Vec<String>,
    lease_until: Instant,
}

#[derive(Debug, Default)]
struct Planes {
    by_agent: BTreeMap<String, Plane>,
    /// When the state had reached which index, oldest first.
    marks: VecDeque<(Instant, Index)>,
    /// What nobody is waited for any more.
    timed_out: Index,
}

impl Planes {
    /// The index that every data plane with a live lease has confirmed (`current` when there is none),
    /// and whatever is busy at any of them.
    fn drained(&self, current: Index) -> Confirmation {
        let slowest = self.by_agent.values().map(|plane| plane.confirmed).min();
        let busy: BTreeSet<&String> = self
            .by_agent
            .values()
            .flat_map(|plane| &plane.busy)
            .collect();
        Confirmation {
            index: slowest.unwrap_or(current).max(self.timed_out),
            busy: busy.into_iter().cloned().collect(),
        }
    }

    fn on_tick(&mut self, now: Instant, current: Index) {
        self.by_agent.retain(|agent_id, plane| {
            let alive = plane.lease_until > now;
            if !alive {
                tracing::info!(%agent_id, confirmed = plane.confirmed, "a data plane is gone");
            }
            alive
        });
        while let Some((at, index)) = self.marks.front().copied() {
            if at + CONFIRM_TIMEOUT > now {
                break;
            }
            self.timed_out = index;
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|(_, index)| *index < current) {
            self.marks.push_back((now, current));
        }
    }
}

/// The data planes that agents announced.
#[derive(Debug)]
pub(super) struct DataPlanes {
    planes: Mutex<Planes>,
    drained: watch::Sender<Confirmation>,
}

impl Default for DataPlanes {
    fn default() -> Self {
        Self {
            planes: Mutex::default(),
            drained: watch::channel(Confirmation::default()).0,
        }
    }
}

impl DataPlanes {
    /// An agent with a data plane opened its stream. A data plane that the same node had before is over:
    /// its process is. A new one starts from a catalog of at least index `current`.
    pub(super) fn on_hello(
        &self,
        agent_id: &str,
        node_id: Option<NodeId>,
        current: Index,
        lease: Duration,
    ) {
        let mut planes = self.planes.lock();
        if node_id.is_some() {
            planes
                .by_agent
                .retain(|id, plane| id == agent_id || plane.node_id != node_id);
        }
        let lease_until = Instant::now() + lease;
        planes
            .by_agent
            .entry(agent_id.to_owned())
            .and_modify(|plane| plane.lease_until = lease_until)
            .or_insert_with(|| Plane {
                node_id,
                confirmed: current,
                busy: Vec::new(),
                lease_until,
            });
    }

    /// An agent said something on its open stream, so it lives. One that was silent for longer than its
    /// lease, as when its machine stood still, is a data plane again that has confirmed nothing yet.
    pub(super) fn on_heard(&self, agent_id: &str, node_id: Option<NodeId>, lease: Duration) {
        let lease_until = Instant::now() + lease;
        let mut planes = self.planes.lock();
        if let Some(plane) = planes.by_agent.get_mut(agent_id) {
            plane.lease_until = lease_until;
            return;
        }
        let same_node = |plane: &Plane| node_id.is_some() && plane.node_id == node_id;
        // The last words of a process whose successor is there already count for nothing.
        if planes.by_agent.values().any(same_node) {
            return;
        }
        let plane = Plane {
            node_id,
            confirmed: 0,
            busy: Vec::new(),
            lease_until,
        };
        planes.by_agent.insert(agent_id.to_owned(), plane);
    }

    /// An agent's DNS view and proxy table show everything up to an index.
    pub(super) fn on_confirmed(
        &self,
        agent_id: &str,
        mut confirmation: Confirmation,
        current: Index,
    ) {
        let mut planes = self.planes.lock();
        if let Some(plane) = planes.by_agent.get_mut(agent_id) {
            // What this server has not reached yet nobody can have confirmed.
            plane.confirmed = plane.confirmed.max(confirmation.index.min(current));
            confirmation.busy.truncate(BUSY_MAX);
            plane.busy = confirmation.busy;
        }
        self.publish(&planes, current);
    }

    fn on_tick(&self, current: Index) {
        let mut planes = self.planes.lock();
        planes.on_tick(Instant::now(), current);
        self.publish(&planes, current);
    }

    /// Called with the lock held: a confirmation must not be overtaken by an older one with fewer busy
    /// instances.
    fn publish(&self, planes: &Planes, current: Index) {
        let next = planes.drained(current);
        self.drained.send_if_modified(|drained| {
            let next = Confirmation {
                index: next.index.max(drained.index),
                ..next
            };
            let changed = next != *drained;
            *drained = next;
            changed
        });
    }

    /// What every live data plane has confirmed; the index only grows.
    pub(super) fn drained(&self) -> watch::Receiver<Confirmation> {
        self.drained.subscribe()
    }
}

/// Ends leases and waits that took too long, until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => core.data_planes.on_tick(core.published.current().index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CONFIRM_TIMEOUT, Confirmation, DataPlanes, Index, NodeId};
    use std::time::Duration;
    use tokio::time::advance;

    const LEASE: Duration = Duration::from_secs(10);

    fn idle(index: Index) -> Confirmation {
        Confirmation {
            index,
            busy: Vec::new(),
        }
    }

    fn two_planes() -> DataPlanes {
        let planes = DataPlanes::default();
        planes.on_hello("one", Some(NodeId::named("node-1")), 2, LEASE);
        planes.on_hello("two", Some(NodeId::named("node-2")), 2, LEASE);
        planes
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_living_data_plane_decides() {
        let planes = two_planes();
        let drained = planes.drained();
        planes.on_confirmed("one", idle(7), 9);
        assert_eq!(drained.borrow().index, 2);
        planes.on_confirmed("two", idle(5), 9);
        assert_eq!(drained.borrow().index, 5);
        planes.on_confirmed("two", idle(100), 9);
        assert_eq!(drained.borrow().index, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_busy_at_one_is_busy() {
        let planes = two_planes();
        let busy = |index: Index, ids: &[&str]| Confirmation {
            index,
            busy: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        planes.on_confirmed("one", busy(7, &["b", "a"]), 9);
        planes.on_confirmed("two", busy(8, &["b", "c"]), 9);
        assert_eq!(*planes.drained().borrow(), busy(7, &["a", "b", "c"]));
        planes.on_confirmed("one", idle(8), 9);
        assert_eq!(*planes.drained().borrow(), busy(8, &["b", "c"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_data_plane_is_waited_for_until_its_lease_ends() {
        let planes = two_planes();
        planes.on_confirmed("one", idle(7), 9);
        advance(LEASE / 2).await;
        planes.on_heard("one", Some(NodeId::named("node-1")), LEASE);
        planes.on_tick(9);
        assert_eq!(planes.drained().borrow().index, 2);
        advance(LEASE / 2).await;
        planes.on_tick(9);
        assert_eq!(planes.drained().borrow().index, 7);
        // It only stood still, and its stream is as it was.
        planes.on_heard("two", Some(NodeId::named("node-2")), LEASE);
        planes.on_confirmed("one", idle(9), 9);
        assert_eq!(planes.drained().borrow().index, 7);
        planes.on_confirmed("two", idle(9), 9);
        assert_eq!(planes.drained().borrow().index, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn no_index_is_waited_for_longer_than_the_limit() {
        let planes = two_planes();
        planes.on_tick(9);
        planes.on_heard("one", Some(NodeId::named("node-1")), CONFIRM_TIMEOUT * 3);
        advance(CONFIRM_TIMEOUT).await;
        planes.on_heard("two", Some(NodeId::named("node-2")), CONFIRM_TIMEOUT);
        planes.on_tick(12);
        assert_eq!(planes.drained().borrow().index, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restarted_agent_replaces_its_predecessor() {
        let planes = two_planes();
        planes.on_confirmed("one", idle(9), 9);
        planes.on_hello("three", Some(NodeId::named("node-2")), 8, LEASE);
        planes.on_heard("three", Some(NodeId::named("node-2")), LEASE);
        planes.on_heard("two", Some(NodeId::named("node-2")), LEASE);
        planes.on_confirmed("one", idle(9), 9);
        assert_eq!(planes.drained().borrow().index, 8);
    }

    #[tokio::test(start_paused = true)]
    async fn without_data_planes_nothing_is_waited_for() {
        let planes = DataPlanes::default();
        planes.on_tick(4);
        assert_eq!(planes.drained().borrow().index, 4);
    }
}

use super::Action;
use crate::{
    ids::Ids,
    state::{Applied, State},
};

/// Leases of nodes: one that is not renewed in time takes its node down.
#[derive(Debug)]
pub struct Heartbeats {}

impl Heartbeats {
    /// Leases last `lease_ns`; ids of new evaluations come from `ids`.
    pub fn new(lease_ns: i64, ids: Ids) -> Self {
        todo!()
    }
    /// Gives every node that is not down a first lease of `failover_lease_ns`.
    pub fn restore(&mut self, now_ns: i64, failover_lease_ns: i64, state: &State) {
        todo!()
    }
    /// Starts leases of nodes that became known or ready.
    pub fn on_applied(&mut self, now_ns: i64, applied: &Applied) {
        todo!()
    }
    /// Renews a lease. A node that was down becomes ready again by the action.
    pub fn on_beat(&mut self, now_ns: i64, node_id: &str, state: &State) -> Vec<Action> {
        todo!()
    }
    /// Takes nodes down whose lease ran out.
    pub fn on_tick(&mut self, now_ns: i64, state: &State) -> Vec<Action> {
        todo!()
    }
    /// The next end of a lease.
    pub fn next_tick(&self) -> Option<i64> {
        todo!()
    }
}

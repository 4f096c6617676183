use super::Action;
use crate::{
    ids::Ids,
    state::{Applied, State},
};

/// Carries deployments to their end: goes on when allocations turn healthy, promotes, fails, reverts.
#[derive(Debug)]
pub struct Deployments {}

impl Deployments {
    /// Knows no deployment yet; ids of new evaluations come from `ids`.
    pub fn new(ids: Ids) -> Self {
        todo!()
    }
    /// Takes up every active deployment of the state; forgets everything else.
    pub fn restore(&mut self, now_ns: i64, state: &State) -> Vec<Action> {
        todo!()
    }
    /// Looks at the deployments that an entry touched.
    pub fn on_applied(&mut self, now_ns: i64, state: &State, applied: &Applied) -> Vec<Action> {
        todo!()
    }
    /// Looks at the deployments whose deadline passed.
    pub fn on_tick(&mut self, now_ns: i64, state: &State) -> Vec<Action> {
        todo!()
    }
    /// The next deadline.
    pub fn next_tick(&self) -> Option<i64> {
        todo!()
    }
}

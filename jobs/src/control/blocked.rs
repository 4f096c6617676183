use super::Action;
use crate::state::{Applied, State};

/// Keeps evaluations that wait for capacity and wakes them when some comes.
#[derive(Debug, Default)]
pub struct Blocked {}

impl Blocked {
    /// Takes up every blocked evaluation of the state; forgets everything else.
    pub fn restore(&mut self, now_ns: i64, state: &State) -> Vec<Action> {
        todo!()
    }
    /// Takes note of blocked evaluations, freed allocations and changed nodes.
    pub fn on_applied(&mut self, now_ns: i64, state: &State, applied: &Applied) -> Vec<Action> {
        todo!()
    }
    /// Evaluations kept.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// True when none is kept.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
}

//! Controllers: events and ticks in, actions out. None of them waits or asks a clock.
//!
//! Each has `restore` (rebuild from the state after winning leadership), `on_applied` or another
//! `on_…` (an event), `on_tick` and `next_tick` (nanoseconds since the epoch; none while nothing is due).

mod blocked;
mod broker;
mod deployments;
mod gc;
mod heartbeats;
pub mod operator;
pub mod triggers;

pub use blocked::{Blocked, WOKEN_MAX};
pub use broker::{
    ANSWER_TIMEOUT_NS, Broker, CANCELED_MAX, DELIVERIES_MAX, Delivery, FIRST_RETRY_NS,
    RETRY_STEP_NS,
};
pub use deployments::Deployments;
pub use gc::{COLLECTED_MAX, Gc, GcLimits};
pub use heartbeats::Heartbeats;

use crate::{model::Evaluation, state::Command};
use std::sync::Arc;

/// What a controller wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Append to the log.
    Propose(Command),
    /// Hand to [`Broker::on_eval`]; the row stays as it is.
    Enqueue(Arc<Evaluation>),
}

//! Controllers: events and ticks in, actions out. None of them waits or asks a clock.
//!
//! Each that remembers anything has `restore` (rebuild from the state after winning leadership);
//! events are `on_applied` or another `on_…`; those that wait for a time have `on_tick` and
//! `next_tick` (nanoseconds since the epoch; none while nothing is due).

mod blocked;
mod broker;
mod deployments;
mod drains;
mod gc;
mod heartbeats;
pub mod launch;
mod locks;
pub mod operator;
mod periodic;
pub mod rollout;
pub mod triggers;

pub use blocked::{Blocked, WOKEN_MAX};
pub use broker::{
    ANSWER_TIMEOUT, Broker, CANCELED_MAX, DELIVERIES_MAX, Delivery, FIRST_RETRY, RETRY_STEP,
};
pub use deployments::Deployments;
pub use drains::Drains;
pub use gc::{COLLECTED_MAX, Gc, GcLimits, LOOKED_MAX, STEP_PAUSE};
pub use heartbeats::{Heartbeats, NODES_DOWN_MAX, Rhythm};
pub use locks::{Locks, RenewError};
pub use periodic::Periodic;

use crate::{
    model::{AllocId, DesiredTransition, Evaluation},
    state::Command,
};
use std::{collections::BTreeMap, sync::Arc};

/// Most evaluations that `batched` puts into one command.
pub const EVALS_PER_COMMAND_MAX: usize = 1_024;

/// The same actions with evaluations and transitions of many commands in few, for a controller that
/// reacts to thousands of rows at once.
fn batched(actions: Vec<Action>) -> Vec<Action> {
    let mut evals: Vec<Evaluation> = Vec::new();
    let mut rest = Vec::new();
    let mut moving: Vec<(BTreeMap<AllocId, DesiredTransition>, Vec<Evaluation>)> = Vec::new();
    for action in actions {
        match action {
            Action::Propose(Command::UpsertEvals(more)) => evals.extend(more),
            Action::Propose(Command::TransitionAllocs { transitions, evals }) => {
                match moving.last_mut() {
                    Some((all, riding)) if all.len() < EVALS_PER_COMMAND_MAX => {
                        all.extend(transitions);
                        riding.extend(evals);
                    }
                    _ => moving.push((transitions, evals)),
                }
            }
            action => rest.push(action),
        }
    }
    let moving = moving.into_iter().map(|(transitions, evals)| {
        Action::Propose(Command::TransitionAllocs { transitions, evals })
    });
    rest.extend(moving);
    let chunks = evals.chunks(EVALS_PER_COMMAND_MAX);
    rest.extend(chunks.map(|evals| Action::Propose(Command::UpsertEvals(evals.to_vec()))));
    rest
}

/// What a controller wants done.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "few exist at a time, and each is taken apart at once"
)]
pub enum Action {
    /// Append to the log.
    Propose(Command),
    /// Hand to [`Broker::on_eval`]; the row stays as it is.
    Enqueue(Arc<Evaluation>),
}

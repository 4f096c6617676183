//! Evaluation → scheduler → plan → log.

mod plans;
mod thread;
mod workers;

pub(super) use thread::DecisionThread;
pub(super) use workers::run;

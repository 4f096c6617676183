//! Evaluation → scheduler → plan → log.

mod plans;
mod workers;

pub(super) use workers::run;

//! What should run where: the job model, job files, state tables, the scheduler and its
//! controllers.
//!
//! Pure and deterministic: no clock, no randomness source, no input or output, no async.
//!
//! Start reading at [`model`], then [`spec`], then [`state`], [`scheduler`] and [`control`].

pub mod control;
pub mod environment;
pub mod ids;
pub mod model;
pub mod scheduler;
pub mod spec;
pub mod state;
pub mod verify;
pub mod wire;

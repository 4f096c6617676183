//! The life of tasks.
//!
//! [`task`] carries one task from its setup through its restarts to its end.

pub(super) mod events;
mod hooks;
mod restarts;
pub(super) mod task;

pub(super) use events::go_duration;

//! The life of allocations and tasks.
//!
//! [`alloc`] decides which task runs when and tells the servers; [`task`] carries one task from its setup
//! through its restarts to its end. Both work on one [`shared`] record, which is kept on disk.

pub(super) mod alloc;
mod events;
mod health;
mod hooks;
mod ports;
mod restarts;
pub(super) mod shared;
mod task;

pub(super) use events::go_duration;

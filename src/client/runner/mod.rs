//! The life of allocations and tasks.

mod events;
mod health;
mod restarts;

//! The log and its two ends: what a writer chooses before an entry is written, and the state that
//! readers see after it was applied.
//!
//! [`propose`] has time, ids and errors of a write, [`raft`] makes it durable and applies it,
//! [`published`] holds the newest state, and [`watch`] wakes those who wait for a change.

pub mod propose;
pub mod published;
pub mod raft;
pub mod watch;

//! The log and its two ends: what a writer chooses before an entry is written, and the state that
//! readers see after it was applied.
//!
//! [`propose`] has ids and errors of a write, `clock` its time, `gate` lets it in while the log is
//! open, [`raft`] makes it durable and applies it, [`published`] holds the newest state, and
//! [`watch`] wakes those who wait for a change.

mod clock;
pub(crate) mod gate;
pub mod propose;
pub mod published;
pub mod raft;
pub mod watch;

/// A leader begins: its time goes on from that of the log.
pub(crate) fn begin_term(newest: jobs::model::Timestamp) {
    clock::raise(newest);
}

//! The replicated control plane: one log, one state over jobs and catalog, and what acts on it.
//!
//! A write goes [`propose`] → [`raft`] → [`state`]; readers see it through [`published`] and are woken
//! by [`watch`]. What only a leader does is started by [`leader`]; agents are served by [`sessions`].
//! Start reading at [`Handle`].

pub mod propose;
pub mod published;
pub mod raft;
pub mod state;
pub mod watch;

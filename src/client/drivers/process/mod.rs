//! Drivers that run a program of the machine, and the supervisor that stands between it and the agent.

pub(super) mod java;
pub(super) mod lookup;
pub(super) mod raw_exec;
pub mod supervisor;

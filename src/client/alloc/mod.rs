//! The life of allocations.
//!
//! [`runner`] carries one allocation from its setup to its end: which task runs when, what it holds, whether it
//! is healthy, and what the servers are told. Its tasks have runners of their own; all work on one
//! [`shared`] record, which is kept on disk.

pub(super) mod claims;
mod health;
pub(super) mod runner;
pub(super) mod shared;

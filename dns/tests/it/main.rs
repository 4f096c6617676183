//! The package from outside: transcripts of answers, arbitrary questions, real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program fails by panicking, in its helpers too"
)]

mod answers;
mod catalog;
mod fuzz;
mod increments;
mod questions;
mod sockets;

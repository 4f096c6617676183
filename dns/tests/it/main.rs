//! The package from outside: transcripts of answers, arbitrary questions, real sockets.

mod answers;
mod catalog;
mod questions;
mod sockets;

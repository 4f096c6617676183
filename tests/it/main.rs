//! The whole binary.

mod client;

//! What one machine does: runs the allocations that servers assign to it, and reports what becomes of them.

mod config;
mod drivers;
mod fingerprint;
mod runner;
pub mod supervisor;

pub use config::Config;

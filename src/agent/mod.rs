//! Starts and stops the parts that one machine runs, in order.

mod boot;
mod data_plane;
mod listeners;
mod signal;

pub use boot::{Agent, Error};
pub use listeners::Listeners;
pub use signal::interrupted;

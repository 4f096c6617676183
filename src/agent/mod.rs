//! Starts and stops the parts that one machine runs, in order.

mod boot;
mod cluster;
mod counting;
mod data_plane;
mod definitions;
mod external;
mod https;
mod ingress;
mod listeners;
mod machines;
mod names;
mod own_drain;
mod parts;
mod pushing;
mod readiness;
mod requests;
mod runtimes;
mod shown;
mod signal;
mod standalone;
#[cfg(test)]
mod tests;

pub use boot::{Agent, Error};
pub use definitions::{validate, validate_catalog};
pub use listeners::{BindError, Listeners};
pub use machines::{NewCluster, NewMachine, init_cluster, join_cluster};
pub use requests::Request;
pub use runtimes::{Planes, run};
pub use signal::{Ending, ended, hang_ups, interrupted};
pub use standalone::{Standalone, StartError};

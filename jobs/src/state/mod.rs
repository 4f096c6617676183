//! The replicated tables of the jobs side.

mod command;

pub use command::{AllocUpdate, Command, DeploymentUpdate, DeregisterJob, RegisterJob};

//! Trivet: one binary that schedules jobs, keeps the service catalog and carries the traffic.

pub mod api;
pub mod config;
pub mod echo;
pub mod rpc;
pub mod server;
pub mod telemetry;

//! Trivet: one binary that schedules jobs, keeps the service catalog and carries the traffic.

pub mod client;
pub mod rpc;
pub mod sys;

//! Trivet: one binary that schedules jobs, keeps the service catalog and carries the traffic.
//!
//! Read the modules in this order: [`config`] says what one agent runs, `agent` starts it; `server`
//! is the replicated control plane, `client` what one machine does, and [`rpc`] the only way in
//! which those two meet; [`registration`] derives catalog rows for both; [`api`] is everything
//! spoken over HTTP, and [`cli`] a user of nothing else.

pub mod agent;
pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod echo;
pub mod registration;
pub mod rpc;
pub mod server;
pub mod sys;
pub mod telemetry;

//! Trivet: one binary that schedules jobs, keeps the service catalog and carries the traffic.
//!
//! Most of what lies beside this file is a package of its own. Read them in this order: [`config`]
//! says what one agent runs, [`agent`] starts it; [`server`] is the replicated control plane,
//! [`client`] what one machine does, and [`rpc`] the only way in which those two meet;
//! [`registration`] derives catalog rows for both; [`api`] is everything spoken over HTTP, and
//! [`cli`] a user of nothing else.

pub mod agent;
pub mod echo;

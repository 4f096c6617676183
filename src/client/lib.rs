//! What one machine does: runs the allocations that servers assign to it, and reports what becomes
//! of them.
//!
//! [`Client`] is the running part, [`Handle`] what the API uses of it. A runner per allocation
//! (`alloc`) and per task (`task`) carries out what the servers want; a supervisor process per task
//! keeps it independent of this one. Nothing here decides where a task runs.

mod alloc;
mod allocdir;
mod artifacts;
mod checks;
mod claims;
mod collection;
mod command;
mod context;
mod cores;
mod drivers;
mod error;
mod file_threads;
mod fingerprint;
mod handle;
mod labels;
mod last_run;
mod local;
mod logs;
mod migration;
mod network;
mod opened;
mod own_api;
mod own_network;
mod pins;
mod removals;
mod reports;
mod restore;
mod service;
mod settings;
mod shared;
mod stats;
mod store;
mod task;
mod templates;

use registration::Version;
use rpc::message::RulesVersion;

pub use alloc::Tasks;
pub use command::{Command, CommandRequest, Heard};
pub use drivers::process::supervisor;
pub use error::Error;
pub use handle::{FileInfo, Handle, LogStream};
pub use labels::{Changes, Labels};
pub use local::{RegisterError, Registered};
pub use logs::{Frame, Origin, Range};
pub use opened::Opened;
pub use service::{Client, OpenError};
pub use settings::Config;
pub use shared::CheckStatus;
pub use stats::{
    AllocUsage, CpuStats, CpuTimes, DiskStats, HostMemory, HostStats, MemoryStats, ResourceUsage,
    TaskUsage,
};

/// The newest rules by which this build derives the instances of an allocation.
pub const RULES: RulesVersion = RulesVersion(Version::SUPPORTED.number());

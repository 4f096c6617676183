//! The small process that stands between the agent and one run of a task.
//!
//! It starts the task in a process group of its own, moves its output into rotated files, waits for it,
//! ends whatever the task left behind, and writes down how it ended. It outlives the agent: an agent that
//! comes back connects to the socket in the run directory and goes on as if nothing had happened; one that
//! comes too late reads the exit file.
//!
//! Files in the run directory, by the stem of the task: `<stem>.sock` while the task runs, `<stem>.exit`
//! from its end until the agent has taken note.
//!
//! Messages are JSON, one per line. The first connection is the supervisor's standard input, through which
//! it also gets the [`Launch`]; without one it ends and starts nothing, so an agent that dies early leaves
//! no task behind that nobody knows.

mod process;
pub mod remote;
mod rotation;

use crate::sys::processes::{Ended, Identity, TaskProcess};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub use process::main;

/// Longest message, bytes. A launch carries the task's environment, which the kernel limits to less.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "supervise";

/// One run of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// New for each run, so that an exit file of an earlier run is told apart.
    pub run_id: String,
    /// Where the socket and the exit file stand.
    pub run_dir: PathBuf,
    /// Stem of both names, the same for each run of the task.
    pub stem: String,
    /// What to start.
    pub process: TaskProcess,
    /// Where its output goes; none drops it.
    pub logs: Option<LogFiles>,
    /// How many files the task may hold, unless as many as the supervisor.
    #[serde(default)]
    pub descriptors_max: Option<u64>,
}

/// Log files of one task: `<task>.stdout.<n>` and `<task>.stderr.<n>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFiles {
    /// Directory.
    pub dir: PathBuf,
    /// Name of the task.
    pub task: String,
    /// Files kept per stream, at least 1.
    pub files_max: u32,
    /// Size of one file, bytes.
    pub file_bytes_max: u64,
}

/// From the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Request {
    /// First message of the first connection.
    Start(Box<Launch>),
    /// Send a signal to the task's process.
    Signal {
        /// Number.
        number: i32,
    },
    /// Send a signal to the task's process group, and kill it when it has not ended in time.
    Stop {
        /// Number of the first signal.
        number: i32,
        /// Milliseconds between both.
        timeout_ms: u64,
    },
}

/// To the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Event {
    /// The task runs. Also the first message to an agent that connects later.
    Started {
        /// The run.
        run_id: String,
        /// Its process.
        process: Identity,
    },
    /// The task could not be started; the supervisor ends.
    Failed {
        /// Why.
        reason: String,
    },
    /// The task and all that it started ended; the supervisor ends.
    Ended(Exit),
}

/// How a run ended; content of the exit file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The run.
    pub run_id: String,
    /// Exit code and signal.
    pub ended: Ended,
    /// When, nanoseconds since the epoch.
    pub at_ns: i64,
    /// Free text when the end was not observed; empty otherwise.
    pub message: String,
}

//! The small process that stands between the agent and one run of a task.
//!
//! It starts the task in a process group of its own, moves its output into rotated files, waits for
//! it, ends whatever the task left behind, and tells how it ended. It outlives the agent: an agent
//! that comes back connects to it and goes on as if nothing had happened; one that comes too late
//! reads the exit file.
//!
//! How it comes to be: the agent hands a connection over to a `fork` server, a process of the same
//! program that only makes copies of itself, and sends the `Launch` through the connection. Where
//! that does not work, the program is started anew with the connection as its standard input.
//!
//! Never two of one task: a supervisor (1) takes the lock of its task, (2) listens, (3) looks
//! whether the agent is still connected, and only then (4) starts the task. Whoever gives a launch
//! up closes the connection first and looks at the lock afterwards: when nobody holds it then,
//! nobody passes step 3 any more. The lock is a byte of the file `lock` in the run directory; the
//! socket has a name in the kernel and no file. Should the lock file get lost, supervisors are
//! still found by the names of their sockets.
//!
//! One that has nothing left to do gives lock and socket back and waits for another launch on the
//! same connection, where the same steps begin anew: most of what a short task costs is the making
//! of its supervisor. The agent asks for that only after it has kept the end, so that no record
//! names a supervisor that serves another task by now, and only supervisors that it made itself. It
//! sends them away a moment later by closing the connection.
//!
//! Files in the run directory: `lock`; `cgroup`, the path of the control group in which each task
//! gets one, so that the next agent goes on with it wherever that agent itself was started; and by
//! the stem of a task `<stem>.exit`, from the end of a run that no agent took note of until one
//! does.
//!
//! Messages are JSON, one per line.

mod address;
pub(crate) mod fork;
mod process;
pub(crate) mod remote;

use crate::drivers::rotation::LogFiles;
use jobs::model::{AllocId, TaskName, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use sys::{
    limits::{Controllers, Limits},
    processes::{Ended, Identity, TaskProcess, Tree},
};

pub use fork::{FORK_SERVER, SUBCOMMAND, main};

/// Longest message, bytes. A launch carries the task's environment, which the kernel limits to
/// less.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The file with the locks of all tasks.
const LOCK_FILE: &str = "lock";
/// The file with the path of the control group in which the tasks' groups stand.
const CGROUP_FILE: &str = "cgroup";

/// One run of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// New for each run, so that an exit file of an earlier run is told apart.
    pub(crate) run_id: String,
    /// Whose.
    pub(crate) owner: Owner,
    /// Where the lock file and exit files stand.
    pub(crate) run_dir: PathBuf,
    /// What to start.
    pub(crate) process: TaskProcess,
    /// Where its output goes; none drops it.
    pub(crate) logs: Option<LogFiles>,
    /// How many files the task may hold, unless as many as the supervisor.
    pub(crate) descriptors_max: Option<u64>,
    /// The control group in which the task gets one of its own; none where there are none.
    pub(crate) cgroup: Option<PathBuf>,
    /// What the task is held to; none for no limits.
    #[serde(default)]
    pub(crate) limits: Option<Limits>,
    /// Groups in which it gets those that limit it.
    #[serde(default)]
    pub(crate) controllers: Controllers,
}

/// The task that a supervisor belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Id of its allocation.
    pub(crate) alloc_id: AllocId,
    /// Name of the task.
    pub(crate) task: TaskName,
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
    /// The end was taken note of: it needs no file.
    Noted,
    /// As [`Request::Noted`]; the supervisor then waits for another launch.
    Next,
}

/// To the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Event {
    /// The supervisor holds the lock and is about to start the task.
    Begun {
        /// The supervisor.
        supervisor: Identity,
    },
    /// The task runs. Also the first message to an agent that connects later.
    Started(Box<Started>),
    /// The task could not be started; the supervisor ends.
    Failed {
        /// Why.
        reason: String,
    },
    /// Another supervisor of the task lives; this one ends.
    Taken,
    /// The task and all that it started ended.
    Ended(Exit),
    /// Lock and socket were given back: the next message is another launch.
    Idle,
}

/// What a supervisor says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Started {
    run_id: String,
    owner: Owner,
    tree: Tree,
}

/// How a run ended; content of the exit file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// The run.
    pub(crate) run_id: String,
    /// Exit code and signal.
    pub(crate) ended: Ended,
    /// When.
    #[serde(rename = "at_ns")]
    pub(crate) at: Timestamp,
    /// Free text when the end was not observed; empty otherwise.
    pub(crate) message: String,
    /// It used more memory than it may, and the kernel ended it.
    #[serde(default)]
    pub(crate) is_out_of_memory: bool,
}

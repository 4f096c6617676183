use std::io;

/// Why the client part could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The allocation is not on this node.
    #[error("unknown allocation `{alloc}`")]
    UnknownAlloc {
        /// Its id.
        alloc: String,
    },
    /// The allocation has no such task.
    #[error("unknown task name {task:?}")]
    UnknownTask {
        /// Its name.
        task: String,
    },
    /// The task has written no logs, because it never started.
    #[error("task \"{task}\" not started yet. No logs available")]
    NotStarted {
        /// Its name.
        task: String,
    },
    /// The task does not run now.
    #[error("Task not running")]
    NotRunning,
    /// The operator of this machine wants no commands in tasks.
    #[error("Permission denied: commands in tasks are switched off on this node")]
    NoCommands,
    /// The allocation is not over, and its directory stays as long.
    #[error("allocation `{alloc}` is not over")]
    NotOver {
        /// Its id.
        alloc: String,
    },
    /// The tasks of the allocation do not end.
    #[error("the allocation still runs; its data can be had when it is over")]
    StillRuns,
    /// The allocation is over.
    #[error("restart of an alloc that should not run")]
    Over,
    /// There is no signal of that name.
    #[error("`{name}` is no signal")]
    UnknownSignal {
        /// As asked.
        name: String,
    },
    /// The task's driver cannot send signals.
    #[error("driver `{driver}` does not support signals")]
    NoSignals {
        /// Driver.
        driver: String,
    },
    /// The path leads to the secrets of a task.
    #[error("Reading secret file prohibited: {path}")]
    SecretPath {
        /// As asked.
        path: String,
    },
    /// The path leads out of the allocation's directory.
    #[error("Path escapes the alloc directory: {path}")]
    Escapes {
        /// As asked.
        path: String,
    },
    /// There is nothing at the path.
    #[error("no such file or directory: {path}")]
    NoFile {
        /// As asked.
        path: String,
    },
    /// The path names a directory where a file is meant, or the other way round.
    #[error("{path}: {reason}")]
    WrongKind {
        /// As asked.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// No file can have that path.
    #[error("path {reason}")]
    BadPath {
        /// What is wrong.
        reason: &'static str,
    },
    /// No file can have a byte there.
    #[error("offset {offset} is larger than {max}", max = i64::MAX)]
    BadOffset {
        /// As asked.
        offset: u64,
    },
    /// The file has further names, and its owner is none of the allocation's users.
    #[error(
        "Reading file prohibited: {path} has further names (hard links) and belongs to a user that the \
         allocation's tasks do not run as"
    )]
    Linked {
        /// As asked.
        path: String,
    },
    /// The client is stopping.
    #[error("the client is stopping")]
    Stopping,
    /// More labels were changed than are kept.
    #[error("at most {max} labels of a node may be changed while its agent runs")]
    TooManyLabels {
        /// The limit.
        max: usize,
    },
    /// Anything else that the machine refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

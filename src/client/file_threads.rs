//! The threads on which this part works with files, by purpose, so that one kind cannot starve
//! another and none holds an async worker.

use std::time::Duration;
use sys::threads::Threads;

/// Threads that make directories of allocations.
const SETUP_THREADS: usize = 4;
/// Threads that write and unpack artifacts.
const ARTIFACT_THREADS: usize = 4;
/// Threads that read files and logs for the API.
const READ_THREADS: usize = 8;
/// Threads that render templates.
const TEMPLATE_THREADS: usize = 2;
/// Threads that pack data for other nodes, and as many that unpack what comes from them.
pub(super) const MIGRATION_THREADS: usize = 4;
/// Threads that keep what was registered with this agent: its versions are written one by one.
const REGISTERED_THREADS: usize = 1;

/// How long a request may wait for the disk.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The threads for files. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct FileThreads {
    /// Makes directories.
    pub(super) setup: Threads,
    /// Writes and unpacks artifacts.
    pub(super) artifacts: Threads,
    /// Reads for the API.
    pub(super) reads: Threads,
    /// Removes directories.
    pub(super) removals: Threads,
    /// Renders templates.
    pub(super) templates: Threads,
    /// Packs data for other nodes: each holds a thread as long as the other side takes.
    pub(super) packing: Threads,
    /// Unpacks data of other nodes.
    pub(super) unpacking: Threads,
    /// Keeps what was registered with this agent.
    pub(super) registered: Threads,
}

impl FileThreads {
    /// So many directories may be removed at a time. None runs before it is needed.
    pub(super) fn new(removals: usize) -> Self {
        Self {
            setup: Threads::new("files-setup", SETUP_THREADS),
            artifacts: Threads::new("files-artifacts", ARTIFACT_THREADS),
            reads: Threads::new("files-reads", READ_THREADS),
            removals: Threads::new("files-removals", removals.max(1)),
            templates: Threads::new("files-templates", TEMPLATE_THREADS),
            packing: Threads::new("files-packing", MIGRATION_THREADS),
            unpacking: Threads::new("files-unpacking", MIGRATION_THREADS),
            registered: Threads::new("files-registered", REGISTERED_THREADS),
        }
    }
}

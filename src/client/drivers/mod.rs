//! How a task becomes a process.
//!
//! A driver says whether this machine can run its kind of task, checks a task's configuration, and turns it
//! into the one program to start. Starting, stopping, signaling and coming back to it after a restart of
//! the agent are the supervisor's, the same for each driver.

mod options;
pub(super) mod process;

use crate::{client::Config, sys::processes::TaskProcess};
use futures_util::future::BoxFuture;
use jobs::model::DriverInfo;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A kind of task.
pub(super) trait Driver: Debug + Send + Sync {
    /// The name in job files.
    fn name(&self) -> &'static str;

    /// Whether this machine has what the driver needs. May take seconds.
    fn fingerprint(&self) -> BoxFuture<'_, DriverInfo>;

    /// Every problem of a configuration; empty for a good one.
    fn problems(&self, config: &Map<String, Value>) -> Vec<String>;

    /// The program to start.
    ///
    /// # Errors
    /// [`Unrunnable`] when there is no such program.
    fn process(&self, task: &TaskContext<'_>) -> Result<TaskProcess, Unrunnable>;

    /// Whether users may send signals to its tasks.
    fn takes_signals(&self) -> bool;
}

/// What a driver knows of a task; paths are those of the host.
#[derive(Debug)]
pub(super) struct TaskContext<'a> {
    /// The task's own directory, in which it starts.
    pub(super) dir: &'a Path,
    /// The task's environment.
    pub(super) env: &'a BTreeMap<String, String>,
    /// The task's configuration with every `${…}` resolved, free of problems.
    pub(super) config: &'a Map<String, Value>,
    /// Operating system user; empty for the agent's own.
    pub(super) user: &'a str,
}

/// Why a task cannot be started, now or later.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unrunnable {
    /// No such program.
    #[error("failed to launch command with executor: binary \"{command}\" could not be found")]
    NotFound {
        /// As in the job file.
        command: String,
    },
    /// It is a directory.
    #[error("failed to launch command with executor: \"{}\" is a directory", path.display())]
    Directory {
        /// What was found.
        path: PathBuf,
    },
}

/// The drivers that this machine may offer, ordered by name.
pub(super) fn all(config: &Config) -> BTreeMap<&'static str, Arc<dyn Driver>> {
    let lookup = Arc::new(process::lookup::Lookup::new(&config.executable));
    let mut drivers: BTreeMap<&'static str, Arc<dyn Driver>> = BTreeMap::new();
    let java = process::java::Java::new(Arc::clone(&lookup));
    drivers.insert(java.name(), Arc::new(java));
    if config.raw_exec {
        let raw_exec = process::raw_exec::RawExec::new(lookup);
        drivers.insert(raw_exec.name(), Arc::new(raw_exec));
    }
    drivers
}

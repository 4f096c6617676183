//! How a task comes to run.
//!
//! A [`Driver`] says whether this machine can run its kind of task, checks a task's configuration,
//! starts it, finds it again after a restart of the agent, and executes commands beside it; a
//! [`Run`] stops, signals and waits; a [`Meter`] measures. Nothing here knows of programs or of
//! supervisors but [`process`], which holds the drivers whose tasks are processes of this machine.

mod options;
pub(super) mod process;
#[cfg(test)]
pub(super) mod simulated;

use crate::{client::Config, sys::processes::Usage};
use futures_util::future::BoxFuture;
use jobs::model::{DriverInfo, TaskConfig};
use process::{ProcessDriver, java::Java, raw_exec::RawExec, supervisor::remote::Supervisors};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::{self, PipeWriter},
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

pub(super) use process::supervisor::{Exit, LogFiles, Owner};

/// A kind of task.
pub(super) trait Driver: Debug + Send + Sync {
    /// The name in job files.
    fn name(&self) -> &'static str;

    /// Whether this machine has what the driver needs. May take seconds.
    fn fingerprint(&self) -> BoxFuture<'_, DriverInfo>;

    /// Every problem of a configuration; empty for a good one.
    fn problems(&self, config: &TaskConfig) -> Vec<String>;

    /// Whether users may send signals to its tasks.
    fn takes_signals(&self) -> bool;

    /// Starts a task. Not to be cancelled: what has been asked for may come into being without
    /// whoever asked. A run of the same task that is there already is returned in place of a second
    /// one.
    fn start<'a>(&'a self, start: &'a Start) -> BoxFuture<'a, Result<Box<dyn Run>, StartError>>;

    /// Looks for a task that an earlier agent, or an earlier attempt, may have started. `handle` is
    /// what [`Run::handle`] gave for its last run, empty when that is not known.
    ///
    /// When it finds neither a run nor an end, nothing of the task is left on this machine.
    ///
    /// # Errors
    /// When that cannot be told or brought about; then nothing may be started.
    fn find<'a>(&'a self, owner: &'a Owner, handle: &'a str) -> BoxFuture<'a, io::Result<Found>>;

    /// The end that [`Driver::find`] gave was kept, so that the driver need not remember it.
    fn forget(&self, owner: &Owner);

    /// Starts a command in the surroundings of one of the driver's tasks.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] when the driver executes nothing beside its tasks; otherwise
    /// whatever the start failed with.
    fn exec(&self, exec: Exec) -> io::Result<Box<dyn Execution>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "driver `{}` does not execute commands in its tasks, `{}` included",
                self.name(),
                exec.command
            ),
        ))
    }
}

/// Starts a command of the machine, in no task's surroundings.
///
/// # Errors
/// Whatever the start failed with.
pub(super) fn execute(exec: Exec) -> io::Result<Box<dyn Execution>> {
    process::execute(exec)
}

/// A command to execute beside a task; paths are those of the task.
#[derive(Debug)]
pub(super) struct Exec {
    /// Program: a path, or a name that is looked for in `PATH`.
    pub(super) command: String,
    /// Arguments without the program's name.
    pub(super) args: Vec<String>,
    /// Working directory.
    pub(super) dir: PathBuf,
    /// The whole environment.
    pub(super) env: BTreeMap<String, String>,
    /// Operating system user; empty for the agent's own.
    pub(super) user: String,
    /// Where both of its outputs go.
    pub(super) output: PipeWriter,
}

/// A command that was started beside a task. It, and all that it started, is killed when this is
/// dropped.
pub(super) trait Execution: Debug + Send + Sync {
    /// Waits for its end. Safe to cancel and to call again.
    fn ended(&self) -> BoxFuture<'_, ()>;

    /// Kills whatever is left of it and answers with its status.
    fn kill_and_collect(self: Box<Self>) -> BoxFuture<'static, io::Result<ExitStatus>>;
}

/// A task that runs.
pub(super) trait Run: Debug + Send + Sync {
    /// Id of the run, as it was given when it was started.
    fn run_id(&self) -> &str;

    /// What the driver needs to find what is left of it when everybody who looked after it is dead.
    fn handle(&self) -> String;

    /// What it uses.
    fn meter(&self) -> Arc<dyn Meter>;

    /// Sends a signal to its main process.
    fn signal(&mut self, number: i32) -> BoxFuture<'_, io::Result<()>>;

    /// Asks it to end: signal `number` first, by force after `kill_timeout`.
    fn stop(&mut self, number: i32, kill_timeout: Duration) -> BoxFuture<'_, io::Result<()>>;

    /// Waits for the end. Safe to cancel and to call again.
    fn ended(&mut self) -> BoxFuture<'_, Exit>;

    /// Tells what became of the news of its end, so that the driver need not remember it. Called
    /// once.
    fn noted(&mut self, end: End) -> BoxFuture<'_, ()>;
}

/// What became of the news of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is kept where the next agent finds it: what was known of the run is known no more.
    Kept,
    /// It was heard and told, but could not be kept.
    Heard,
}

/// Measures a task.
pub(super) trait Meter: Debug + Send + Sync {
    /// Counters of every process of the task by its number; empty when it has ended.
    fn usage(&self) -> BTreeMap<i32, Usage>;
}

/// What a driver finds of a task.
#[derive(Debug)]
pub(super) enum Found {
    /// It runs.
    Running(Box<dyn Run>),
    /// Its last run ended meanwhile.
    Ended(Exit),
    /// There is nothing of it.
    Gone,
}

/// A task to start; paths are those of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    /// New for each run.
    pub(super) run_id: String,
    /// Whose.
    pub(super) owner: Owner,
    /// The task's own directory, in which it starts.
    pub(super) dir: PathBuf,
    /// The task's environment.
    pub(super) env: BTreeMap<String, String>,
    /// The task's configuration with every `${…}` resolved, free of problems.
    pub(super) config: TaskConfig,
    /// Operating system user; empty for the agent's own.
    pub(super) user: String,
    /// Where its output goes; none drops it.
    pub(super) logs: Option<LogFiles>,
}

/// Why a task does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// There is nothing to start.
    #[error("{0}")]
    Unrunnable(#[from] Unrunnable),
    /// What was started did not come into being; trying again gives the same.
    #[error("failed to launch command with executor: {reason}")]
    Program {
        /// Why.
        reason: String,
    },
    /// It could not be started, and nothing of it is there.
    #[error("failed to launch command with executor: {reason}")]
    Absent {
        /// Why.
        reason: String,
    },
    /// It is not known whether it runs: look for it before it is started again.
    #[error("failed to launch command with executor: {reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
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

/// What this machine can run, and what runs on it.
#[derive(Debug)]
pub(super) struct Drivers {
    by_name: BTreeMap<&'static str, Arc<dyn Driver>>,
    /// Of all drivers whose tasks are processes.
    pub(super) supervisors: Arc<Supervisors>,
}

impl Drivers {
    /// The drivers that this machine may offer; those of processes keep their files in `run_dir`.
    ///
    /// # Errors
    /// When the run directory cannot be used.
    pub(super) fn open(config: &Config, run_dir: &Path) -> io::Result<Self> {
        let supervisors = Arc::new(Supervisors::open(run_dir, &config.executable)?);
        let programs = process::Programs::new(&config.executable, Arc::clone(&supervisors));
        let mut by_name: BTreeMap<&'static str, Arc<dyn Driver>> = BTreeMap::new();
        let java = ProcessDriver::new(Java, programs.clone());
        by_name.insert(java.name(), Arc::new(java));
        if config.raw_exec {
            let raw_exec = ProcessDriver::new(RawExec, programs);
            by_name.insert(raw_exec.name(), Arc::new(raw_exec));
        }
        Ok(Self {
            by_name,
            supervisors,
        })
    }

    /// These alone, for tests.
    #[cfg(test)]
    pub(super) fn of(drivers: impl IntoIterator<Item = Arc<dyn Driver>>, run_dir: &Path) -> Self {
        let supervisors = Supervisors::open(run_dir, Path::new("/nonexistent"));
        Self {
            by_name: drivers
                .into_iter()
                .map(|driver| (driver.name(), driver))
                .collect(),
            supervisors: Arc::new(supervisors.expect("a run directory")),
        }
    }

    /// The driver of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<dyn Driver>> {
        self.by_name.get(name)
    }

    /// All of them, ordered by name.
    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<dyn Driver>> {
        self.by_name.values()
    }
}

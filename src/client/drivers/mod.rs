//! How a task comes to run.
//!
//! A [`Driver`] says whether this machine can run its kind of task, checks a task's configuration,
//! starts it, finds it again after a restart of the agent, and executes commands beside it; a
//! [`Run`] stops, signals and waits; a [`Meter`] measures. Nothing here knows of programs or of
//! supervisors but [`process`], which holds the drivers whose tasks are processes of this machine.

mod capabilities;
mod docker;
mod options;
pub(super) mod process;
mod rotation;
#[cfg(test)]
pub(super) mod simulated;

use crate::Config;
use config::Isolated;
use futures_util::future::{BoxFuture, ready};
use jobs::model::{AllocId, AllocatedPort, DriverInfo, TaskConfig};
use process::{
    ProcessDriver, exec, isolated::Root, java::Java, raw_exec::RawExec,
    supervisor::remote::Supervisors,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io::{self, PipeReader, PipeWriter},
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};
use sys::{cgroups::WholeUsage, processes::Usage};

pub(super) use process::isolated::USUAL_USER;
pub(super) use process::supervisor::{Exit, Owner};
pub(super) use rotation::LogFiles;

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

    /// What its tasks see of this machine's files.
    fn isolation(&self) -> Isolation;

    /// Time between two looks at whether this machine has what the driver needs; none when that
    /// does not change while the agent runs.
    fn fingerprint_period(&self) -> Option<Duration> {
        None
    }

    /// Fetches what a start needs and takes long. Safe to cancel.
    ///
    /// # Errors
    /// Whatever a start would fail with.
    fn prepare<'a>(&'a self, start: &'a Start) -> BoxFuture<'a, Result<(), StartError>> {
        let _ = start;
        Box::pin(ready(Ok(())))
    }

    /// Removes what belongs to none of `known` and was left by earlier agents of the node. Called
    /// from time to time.
    fn sweep<'a>(&'a self, node_id: &'a str, known: &'a BTreeSet<Owner>) -> BoxFuture<'a, ()> {
        let _ = (node_id, known);
        Box::pin(ready(()))
    }

    /// Makes a container that holds the network of an allocation, or finds the one that does, when
    /// tasks of this driver can join no other network. `hostname` is the machine's name inside,
    /// empty for the usual one.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    fn hold_network<'a>(
        &'a self,
        alloc_id: AllocId,
        node_id: &'a str,
        hostname: &'a str,
    ) -> BoxFuture<'a, Result<Option<Holder>, String>> {
        let _ = (alloc_id, node_id, hostname);
        Box::pin(ready(Ok(None)))
    }

    /// Removes what [`Driver::hold_network`] made, if anything.
    fn release_network(&self, alloc_id: AllocId) -> BoxFuture<'_, ()> {
        let _ = alloc_id;
        Box::pin(ready(()))
    }

    /// Starts a task. Not to be cancelled: what has been asked for may come into being without
    /// whoever asked. A run of the same task that is there already is returned in place of a second
    /// one.
    fn start<'a>(&'a self, start: &'a Start) -> BoxFuture<'a, Result<Box<dyn Run>, StartError>>;

    /// Looks for a task that an earlier agent, or an earlier attempt, may have started. `handle` is
    /// what [`Run::handle`] gave for its last run, empty when that is not known; `logs` as
    /// [`Start::logs`].
    ///
    /// When it finds neither a run nor an end, nothing of the task is left on this machine.
    ///
    /// # Errors
    /// When that cannot be told or brought about; then nothing may be started.
    fn find<'a>(
        &'a self,
        owner: &'a Owner,
        handle: Option<&'a str>,
        logs: Option<&'a LogFiles>,
    ) -> BoxFuture<'a, io::Result<Found>>;

    /// The end that [`Driver::find`] gave was kept, so that the driver need not remember it.
    fn forget(&self, owner: &Owner);

    /// Starts a command in the surroundings of one of the driver's tasks.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] when the driver executes nothing beside its tasks; otherwise
    /// whatever the start failed with.
    fn exec(&self, exec: Exec) -> BoxFuture<'_, io::Result<Box<dyn Execution>>> {
        Box::pin(ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "driver `{}` does not execute commands in its tasks, `{}` included",
                self.name(),
                exec.command
            ),
        ))))
    }
}

/// Starts a command of the machine, in no task's surroundings.
///
/// # Errors
/// Whatever the start failed with.
pub(super) fn execute(exec: Exec) -> io::Result<Box<dyn Execution>> {
    process::execute(exec)
}

/// What a task sees of its machine's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// All of them.
    None,
    /// Its own directory as the root, with some directories of the host in it.
    Chroot,
    /// Those of an image.
    Image,
}

/// A command to execute beside a task; paths are those that the task sees.
#[derive(Debug)]
pub(super) struct Exec {
    /// As [`Run::handle`] of the task's run; none when it is beside no task.
    pub(super) handle: Option<String>,
    /// Program: a path, or a name that is looked for in `PATH`.
    pub(super) command: String,
    /// Arguments without the program's name.
    pub(super) args: Vec<String>,
    /// Working directory; empty for the task's own.
    pub(super) dir: PathBuf,
    /// The whole environment.
    pub(super) env: BTreeMap<String, String>,
    /// Operating system user; empty for the driver's default.
    pub(super) user: String,
    /// The task's configuration.
    pub(super) config: TaskConfig,
    /// The file of the network namespace that the task has; none for that of the host.
    pub(super) network: Option<PathBuf>,
    /// What it reads; none for nothing.
    pub(super) input: Option<PipeReader>,
    /// Where its output goes.
    pub(super) output: PipeWriter,
    /// Where its error output goes; with a terminal there is one output only.
    pub(super) errors: PipeWriter,
    /// Height and width of its terminal; none for no terminal.
    pub(super) terminal: Option<(u16, u16)>,
}

/// A command that was started beside a task. It, and all that it started, is killed when this is
/// dropped, as far as the driver can.
pub(super) trait Execution: Debug + Send + Sync {
    /// Waits for its end. Safe to cancel and to call again.
    fn ended(&self) -> BoxFuture<'_, ()>;

    /// Changes the size of its terminal: height and width.
    fn resize(&self, size: (u16, u16)) -> BoxFuture<'_, io::Result<()>>;

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

    /// Asks it to end: signal `number` first, or what the driver takes when there is none, by force
    /// after `kill_timeout`.
    fn stop(
        &mut self,
        number: Option<i32>,
        kill_timeout: Duration,
    ) -> BoxFuture<'_, io::Result<()>>;

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
    /// What it has used so far; none when it has ended.
    fn measure(&self) -> BoxFuture<'_, Option<Measured>>;
}

/// What a task has used so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    /// Counters of every process by its number; empty where processes are not told apart.
    pub(super) processes: BTreeMap<i32, Usage>,
    /// What is counted for all processes together; none where nothing counts it.
    pub(super) whole: Option<WholeUsage>,
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
    /// The directory that the tasks of the allocation share.
    pub(super) alloc_dir: PathBuf,
    /// The task's environment.
    pub(super) env: BTreeMap<String, String>,
    /// The task's configuration with every `${…}` resolved, free of problems.
    pub(super) config: TaskConfig,
    /// Operating system user; empty for the agent's own.
    pub(super) user: String,
    /// Where its output goes; none drops it.
    pub(super) logs: Option<LogFiles>,
    /// What it may use.
    pub(super) limits: Limits,
    /// Ports of its group.
    pub(super) ports: Vec<AllocatedPort>,
    /// Ports of its own, in the old position below the task.
    pub(super) own_ports: Vec<AllocatedPort>,
    /// Directories that it mounts.
    pub(super) mounts: Vec<Mounted>,
    /// The network that its group has for itself; none for that of the host.
    pub(super) network: Option<OwnNetwork>,
    /// What it belongs to, for labels.
    pub(super) names: Names,
    /// Takes what is to be told about the start.
    pub(super) news: News,
}

impl Start {
    /// The file of the network namespace that the task enters; none for that of the host.
    pub(super) fn namespace(&self) -> Option<PathBuf> {
        let network = self.network.as_ref();
        network.map(|network| network.namespace.clone())
    }
}

/// What a task may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Its share of the processors, MHz.
    pub(super) cpu_mhz: i64,
    /// What the node has in all, MHz.
    pub(super) node_mhz: i64,
    /// How many processors the node has.
    pub(super) node_cores: u16,
    /// Memory, MiB.
    pub(super) memory_mib: i64,
    /// Memory that it may use when there is enough, MiB; 0 for no more than `memory_mib`.
    pub(super) memory_max_mib: i64,
    /// The processors that it runs on; empty for any.
    pub(super) cores: Vec<u16>,
}

/// A directory of the host in a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mounted {
    /// Path on the host.
    pub(super) source: PathBuf,
    /// Path in the task.
    pub(super) target: PathBuf,
    /// The task may not write to it.
    pub(super) read_only: bool,
    /// `private`, `host-to-task` or `bidirectional`.
    pub(super) propagation: String,
}

/// The network that the tasks of an allocation have for themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnNetwork {
    /// The file that stands for the namespace.
    pub(super) namespace: PathBuf,
    /// The container that holds it, when containers have to share it.
    pub(super) container: Option<String>,
    /// Name of the machine inside; empty for the usual one.
    pub(super) hostname: String,
    /// Files of the host that replace `/etc/hosts` and `/etc/resolv.conf`, by these paths.
    pub(super) files: Vec<(PathBuf, PathBuf)>,
}

/// A container that does nothing but hold a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// Its id.
    pub(super) container: String,
    /// Its process.
    pub(super) pid: i64,
}

/// What a task belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Job.
    pub(super) job: String,
    /// Id of the job.
    pub(super) job_id: String,
    /// Group.
    pub(super) group: String,
    /// Namespace.
    pub(super) namespace: String,
    /// Name of the node.
    pub(super) node: String,
    /// Id of the node.
    pub(super) node_id: String,
}

/// Takes what a driver has to tell about a start, for the task's events.
#[derive(Clone, Default)]
pub(super) struct News(Option<Arc<dyn Fn(String) + Send + Sync>>);

impl News {
    /// Calls `tell` with each text.
    pub(super) fn new(tell: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Tells it.
    pub(super) fn tell(&self, text: String) {
        if let Some(tell) = &self.0 {
            tell(text);
        }
    }
}

impl Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("News")
    }
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
    /// The driver refused it.
    #[error("{reason}")]
    Refused {
        /// Why, and what to do.
        reason: String,
        /// Trying again gives the same.
        is_final: bool,
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
    /// It may not run here.
    #[error("{reason}")]
    Denied {
        /// Why.
        reason: String,
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
        if !config.takes_jobs {
            return Ok(Self {
                by_name,
                supervisors,
            });
        }
        let root = |settings: &Isolated| Root::new(settings.clone(), config.chroot_env.as_ref());
        let exec = exec::Exec::new(root(&config.plugins.exec));
        let exec = ProcessDriver::new(exec, programs.clone());
        by_name.insert(exec.name(), Arc::new(exec));
        let java = Java::new(root(&config.plugins.java));
        let java = ProcessDriver::new(java, programs.clone());
        by_name.insert(java.name(), Arc::new(java));
        for flavor in [docker::Flavor::Docker, docker::Flavor::Podman] {
            let driver = docker::Docker::open(flavor, &config.plugins, run_dir);
            by_name.insert(driver.name(), Arc::new(driver));
        }
        if config.raw_exec {
            let raw_exec = ProcessDriver::new(RawExec, programs);
            by_name.insert(raw_exec.name(), Arc::new(raw_exec));
        }
        by_name.retain(|name, _| config.options.drivers.takes(name));
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

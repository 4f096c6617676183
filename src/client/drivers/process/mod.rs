//! Drivers whose tasks are programs of this machine. They differ in the command line, which is what
//! a [`Kind`] knows; what runs it is the same [`supervisor`] for all.

mod enter;
pub(super) mod exec;
mod execution;
pub(super) mod isolated;
pub(super) mod java;
mod lookup;
pub(super) mod raw_exec;
pub mod supervisor;

use super::{
    Driver, End, Exec, Execution, Exit, Found, Isolation, LogFiles, Measured, Meter, Owner, Run,
    Start, StartError, Unrunnable,
};
use enter::Rights;
use execution::Command;
use futures_util::future::{BoxFuture, ready};
use jobs::model::{DriverInfo, TaskConfig};
use lookup::Lookup;
use std::{
    fmt::Debug,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use supervisor::{
    Launch,
    remote::{self, Connection, LaunchError, Supervisors},
};
use sys::{
    descriptors,
    limits::Limits,
    processes::{Identity, TaskProcess, Tree},
};

/// What every such driver uses.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    lookup: Arc<Lookup>,
    executable: PathBuf,
    supervisors: Arc<Supervisors>,
}

impl Programs {
    /// Programs beside `executable` come before those of `PATH`.
    pub(super) fn new(executable: &Path, supervisors: Arc<Supervisors>) -> Self {
        Self {
            lookup: Arc::new(Lookup::new(executable)),
            executable: executable.to_owned(),
            supervisors,
        }
    }

    async fn start(
        &self,
        task: &Start,
        process: TaskProcess,
        limits: Option<Limits>,
    ) -> Result<Box<dyn Run>, StartError> {
        let launch = Launch {
            limits,
            run_id: task.run_id.clone(),
            owner: task.owner.clone(),
            process,
            logs: task.logs.clone(),
            descriptors_max: descriptors::original(),
            ..Launch::default()
        };
        let error = match self.supervisors.start(launch).await {
            Ok(connection) => return Ok(Box::new(connection)),
            Err(LaunchError::Program { reason }) => return Err(StartError::Program { reason }),
            Err(error @ (LaunchError::Taken | LaunchError::Supervisor(_))) => error,
        };
        // It may have come into being without a word, or there was one already.
        match self.supervisors.find(&task.owner, None).await {
            Ok(remote::Found::Running(connection)) => Ok(connection),
            Ok(remote::Found::Gone) => Err(StartError::Absent {
                reason: error.to_string(),
            }),
            Ok(remote::Found::Ended(_)) => Err(StartError::Unknown {
                reason: error.to_string(),
            }),
            Err(also) => Err(StartError::Unknown {
                reason: format!("{error}; {also}"),
            }),
        }
    }

    async fn find(&self, owner: &Owner, handle: Option<&str>) -> io::Result<Found> {
        // A handle of another version of the program leaves the task's control group to look at.
        let last: Option<Tree> = handle.and_then(|handle| serde_json::from_str(handle).ok());
        let found = self.supervisors.find(owner, last.as_ref()).await?;
        Ok(match found {
            remote::Found::Running(connection) => Found::Running(connection),
            remote::Found::Ended(exit) => Found::Ended(exit),
            remote::Found::Gone => Found::Gone,
        })
    }
}

/// A kind of program: what a driver of processes knows by itself.
pub(super) trait Kind: Debug + Send + Sync {
    /// As [`Driver::name`].
    const NAME: &'static str;
    /// As [`Driver::takes_signals`].
    const TAKES_SIGNALS: bool;

    /// As [`Driver::isolation`].
    fn isolation(&self) -> Isolation;

    /// As [`Driver::fingerprint`].
    fn fingerprint<'a>(&'a self, lookup: &'a Lookup) -> BoxFuture<'a, DriverInfo>;

    /// As [`Driver::problems`].
    fn problems(&self, config: &TaskConfig) -> Vec<String>;

    /// The program to start for a task.
    fn process(&self, lookup: &Lookup, task: &Start) -> Result<TaskProcess, Unrunnable>;

    /// The rights of a command inside of a task; none when it need not be entered.
    fn rights(&self, exec: &Exec) -> Option<Rights>;

    /// What the task is held to; none for no limits.
    fn limits(&self, task: &Start) -> Option<Limits>;
}

/// The driver of one kind of program.
#[derive(Debug)]
pub(super) struct ProcessDriver<K> {
    kind: K,
    programs: Programs,
}

impl<K: Kind> ProcessDriver<K> {
    pub(super) fn new(kind: K, programs: Programs) -> Self {
        Self { kind, programs }
    }
}

impl<K: Kind> Driver for ProcessDriver<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn fingerprint(&self) -> BoxFuture<'_, DriverInfo> {
        self.kind.fingerprint(&self.programs.lookup)
    }

    fn problems(&self, config: &TaskConfig) -> Vec<String> {
        self.kind.problems(config)
    }

    fn takes_signals(&self) -> bool {
        K::TAKES_SIGNALS
    }

    fn start<'a>(&'a self, start: &'a Start) -> BoxFuture<'a, Result<Box<dyn Run>, StartError>> {
        Box::pin(async {
            let process = self.kind.process(&self.programs.lookup, start)?;
            let limits = self.kind.limits(start);
            self.programs.start(start, process, limits).await
        })
    }

    fn isolation(&self) -> Isolation {
        self.kind.isolation()
    }

    fn find<'a>(
        &'a self,
        owner: &'a Owner,
        handle: Option<&'a str>,
        _: Option<&'a LogFiles>,
    ) -> BoxFuture<'a, io::Result<Found>> {
        Box::pin(self.programs.find(owner, handle))
    }

    fn forget(&self, owner: &Owner) {
        self.programs.supervisors.forget(owner);
    }

    fn exec(&self, exec: Exec) -> BoxFuture<'_, io::Result<Box<dyn Execution>>> {
        let program = (&*self.programs.executable, supervisor::SUBCOMMAND);
        let started = match self.kind.rights(&exec) {
            None => Command::start(exec),
            Some(rights) => enter::command(program, &exec, rights)
                .and_then(|command| Command::spawn(command, exec)),
        };
        Box::pin(ready(
            started.map(|command| Box::new(command) as Box<dyn Execution>),
        ))
    }
}

/// Starts a command.
pub(super) fn execute(exec: Exec) -> io::Result<Box<dyn Execution>> {
    Ok(Box::new(Command::start(exec)?))
}

impl Run for Connection {
    fn run_id(&self) -> &str {
        Self::run_id(self)
    }

    fn handle(&self) -> String {
        // Numbers and a path: that always has a JSON form.
        serde_json::to_string(self.tree()).unwrap_or_default()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(self.tree().clone())
    }

    fn signal(&mut self, number: i32) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(Self::signal(self, number))
    }

    fn stop(
        &mut self,
        number: Option<i32>,
        kill_timeout: Duration,
    ) -> BoxFuture<'_, io::Result<()>> {
        let number = number.unwrap_or(nix::libc::SIGINT);
        Box::pin(Self::stop(self, number, kill_timeout))
    }

    fn ended(&mut self) -> BoxFuture<'_, Exit> {
        Box::pin(Self::ended(self))
    }

    fn noted(&mut self, end: End) -> BoxFuture<'_, ()> {
        Box::pin(Self::noted(self, end))
    }
}

impl Meter for Tree {
    fn measure(&self) -> BoxFuture<'_, Option<Measured>> {
        let found = self.processes().into_iter();
        let measured = Measured {
            processes: found
                .filter_map(|pid| Some((pid, Identity::of(pid)?.usage()?)))
                .collect(),
            whole: self.whole_usage(),
        };
        let is_there = !measured.processes.is_empty();
        Box::pin(ready(is_there.then_some(measured)))
    }
}

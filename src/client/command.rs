//! Commands that users run inside of tasks.

use super::{
    Error,
    drivers::{Exec, Execution},
    shared::Shared,
};
use jobs::model::{TaskName, TaskPhase};
use std::{io, os::fd::OwnedFd, sync::Arc};
use tokio::{io::AsyncReadExt, net::unix::pipe};

/// A command to run inside of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandRequest {
    /// The task; empty for the only one that runs.
    pub task: String,
    /// Program and arguments, never empty.
    pub command: Vec<String>,
    /// Height and width of its terminal; none for no terminal.
    pub terminal: Option<(u16, u16)>,
}

/// A command that runs inside of a task. It is killed when this is dropped.
#[derive(Debug)]
pub struct Command {
    /// What it reads; none once that has ended.
    pub input: Option<pipe::Sender>,
    output: pipe::Receiver,
    errors: pipe::Receiver,
    execution: Box<dyn Execution>,
    heard: Past,
}

/// What is over of a command.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    output: bool,
    errors: bool,
    command: bool,
}

/// What is heard of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It wrote this; nothing at the end of its output.
    Output(Vec<u8>),
    /// It wrote this to its error output, which a terminal does not have; nothing at the end.
    Errors(Vec<u8>),
    /// It has ended; what it left behind may hold its outputs.
    Ended,
}

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 16 * 1024;

impl Command {
    /// Starts it.
    ///
    /// # Errors
    /// No such task, it does not run, or its driver cannot start the command.
    pub(super) async fn start(
        shared: &Arc<Shared>,
        request: CommandRequest,
    ) -> Result<Self, Error> {
        let name = task_of(shared, &request.task)?;
        let alloc = shared.alloc();
        let task = alloc.group().and_then(|group| group.task(&name));
        let unknown = || Error::UnknownTask {
            task: name.to_string(),
        };
        let task = task.ok_or_else(unknown)?;
        let driver = shared.cx.drivers.get(&task.driver).ok_or_else(unknown)?;
        let mut words = request.command.into_iter();
        let Some(command) = words.next() else {
            return Err(Error::BadPath {
                reason: "of the command is missing",
            });
        };
        let node = Arc::clone(&shared.cx.node.borrow());
        let environment = shared.environment(&alloc, task, &node);
        let (reads, input) = io::pipe()?;
        let (output, writes) = io::pipe()?;
        let (errors, writes_errors) = io::pipe()?;
        let execution = driver
            .exec(Exec {
                handle: shared.task(&name).handle,
                command,
                args: words.collect(),
                dir: shared.work_dir(task),
                env: environment.variables().clone(),
                user: task.user.clone(),
                config: task.config.clone(),
                network: shared.network().map(|network| network.namespace),
                input: Some(reads),
                output: writes,
                errors: writes_errors,
                terminal: request.terminal,
            })
            .await?;
        Ok(Self {
            input: Some(pipe::Sender::from_owned_fd(OwnedFd::from(input))?),
            output: pipe::Receiver::from_owned_fd(OwnedFd::from(output))?,
            errors: pipe::Receiver::from_owned_fd(OwnedFd::from(errors))?,
            execution,
            heard: Past::default(),
        })
    }

    /// Waits for what comes next. Safe to cancel.
    pub async fn hear(&mut self) -> Heard {
        let (mut output, mut errors) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let past = self.heard;
        tokio::select! {
            read = self.output.read(&mut output), if !past.output => {
                output.truncate(read.unwrap_or(0));
                self.heard.output = output.is_empty();
                Heard::Output(output)
            }
            read = self.errors.read(&mut errors), if !past.errors => {
                errors.truncate(read.unwrap_or(0));
                self.heard.errors = errors.is_empty();
                Heard::Errors(errors)
            }
            () = self.execution.ended(), if !past.command => {
                self.heard.command = true;
                Heard::Ended
            }
            else => Heard::Ended,
        }
    }

    /// Changes the size of its terminal: height and width.
    ///
    /// # Errors
    /// Whatever the machine or the daemon says.
    pub async fn resize(&self, size: (u16, u16)) -> io::Result<()> {
        self.execution.resize(size).await
    }

    /// Waits for its end, kills what is left of it and answers with its exit code; 128 and the
    /// number of the signal for one that a signal ended. The outputs were read to their end.
    ///
    /// # Errors
    /// When the code cannot be told.
    pub async fn end(self) -> io::Result<i32> {
        use std::os::unix::process::ExitStatusExt;
        let Self {
            input,
            output,
            errors,
            execution,
            ..
        } = self;
        drop((input, output, errors));
        execution.ended().await;
        let status = execution.kill_and_collect().await?;
        let signal = status.signal().map(|signal| 128 + signal);
        Ok(status.code().or(signal).unwrap_or(1))
    }
}

/// The task that is meant, which runs.
fn task_of(shared: &Shared, named: &str) -> Result<TaskName, Error> {
    let states = shared.states();
    let mut running = states
        .iter()
        .filter(|(_, state)| state.state == TaskPhase::Running)
        .map(|(name, _)| name.clone());
    if named.is_empty() {
        return match (running.next(), running.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Error::UnknownTask {
                task: String::new(),
            }),
        };
    }
    if !states.contains_key(named) {
        return Err(Error::UnknownTask {
            task: named.to_owned(),
        });
    }
    running.find(|name| *name == named).ok_or(Error::NotRunning)
}

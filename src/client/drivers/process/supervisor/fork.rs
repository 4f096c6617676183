//! Where supervisors come from.

use super::{Owner, address::stem, process};
use crate::drivers::process::enter;
use parking_lot::Mutex;
use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{ExitCode, Stdio},
};
use sys::{
    faults,
    handover::{self, Side},
    processes,
};

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "supervise";
/// Its option for a process that makes supervisors.
pub const FORK_SERVER: &str = "--fork-server";

/// Runs the hidden subcommand: one supervisor whose agent is its standard input, or with
/// [`FORK_SERVER`] a process that makes one for each connection that it is handed; or a command
/// inside of a task.
pub fn main() -> ExitCode {
    let option = std::env::args_os().nth(2);
    if option.as_ref().is_some_and(|word| word == enter::OPTION) {
        return enter::main();
    }
    let is_server = option.is_some_and(|word| word == FORK_SERVER);
    let done = if is_server {
        serve()
    } else {
        supervise_stdin()
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads what a supervisor prints; the agent sees the connection end.
        Err(_) => ExitCode::FAILURE,
    }
}

fn supervise_stdin() -> io::Result<()> {
    let input: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    supervise(UnixStream::from(input))
}

fn supervise(agent: UnixStream) -> io::Result<()> {
    processes::detach();
    processes::adopt_orphans();
    process::run(agent)
}

/// Until the agent is gone. What was made goes on: each supervisor leads a session of its own.
fn serve() -> io::Result<()> {
    // An interrupt from the terminal is for the agent.
    processes::detach();
    handover::forget_children()?;
    // What is found out once per process is found out before it is copied.
    stem(&Owner::default());
    let control = io::stdin();
    while let Some(agent) = handover::receive(control.as_fd())? {
        faults::point("fork.received");
        // A fork that fails closes the connection, which tells the agent.
        if handover::fork().is_ok_and(|side| side == Side::Child) {
            return supervise(UnixStream::from(agent));
        }
    }
    Ok(())
}

/// The agent's side: a fork server that is started when it is needed for the first time, or after
/// its end.
#[derive(Debug)]
pub(crate) struct ForkServer {
    executable: PathBuf,
    control: Mutex<Option<OwnedFd>>,
}

impl ForkServer {
    /// Of the program at `executable`. Starts nothing yet.
    pub(super) fn new(executable: PathBuf) -> Self {
        Self {
            executable,
            control: Mutex::new(None),
        }
    }

    /// Makes a supervisor that has `agent` as its connection.
    ///
    /// # Errors
    /// When neither the fork server nor the program itself can be started.
    pub(super) fn supervise(&self, agent: OwnedFd) -> io::Result<()> {
        if self.hand_over(&agent).is_ok() {
            return Ok(());
        }
        self.start(Stdio::from(agent), &[])
    }

    /// Uses a new one from now on: this one does not do its work.
    pub(super) fn give_up(&self) {
        *self.control.lock() = None;
    }

    fn hand_over(&self, agent: &OwnedFd) -> io::Result<()> {
        if faults::is_without("fork-server") {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut control = self.control.lock();
        if let Some(control) = &*control
            && handover::send(control.as_fd(), agent.as_fd()).is_ok()
        {
            return Ok(());
        }
        // None yet, or it was killed: what it made lives on.
        let (ours, theirs) = handover::pair()?;
        self.start(Stdio::from(theirs), &[FORK_SERVER])?;
        handover::send(ours.as_fd(), agent.as_fd())?;
        *control = Some(ours);
        Ok(())
    }

    fn start(&self, stdin: Stdio, options: &[&str]) -> io::Result<()> {
        let child = tokio::process::Command::new(&self.executable)
            .arg(SUBCOMMAND)
            .args(options)
            .env_clear()
            .envs(faults::inherited())
            .current_dir("/")
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // The runtime collects it when it ends.
        drop(child);
        Ok(())
    }
}

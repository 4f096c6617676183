use crate::drivers::{Exec, Execution};
use futures_util::future::BoxFuture;
use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
};
use sys::{
    network,
    processes::{self, ProcessEnd},
    terminal::{self, Terminal},
};
use tokio::{net::unix::pipe, process::Child, task::JoinHandle};

/// A command that leads a process group, which is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Command {
    child: Child,
    end: ProcessEnd,
    group: i32,
    terminal: Option<Shown>,
}

/// A terminal, and what copies between it and pipes.
#[derive(Debug)]
struct Shown {
    terminal: Terminal,
    copies: [JoinHandle<()>; 2],
}

impl Drop for Shown {
    fn drop(&mut self) {
        // What the program wrote last is still on its way; what it might read is not wanted.
        let [input, _] = &self.copies;
        input.abort();
    }
}

impl Command {
    /// Starts it.
    pub(super) fn start(exec: Exec) -> io::Result<Self> {
        let mut command = tokio::process::Command::new(&exec.command);
        command
            .args(&exec.args)
            .env_clear()
            .envs(&exec.env)
            .current_dir(&exec.dir);
        if !exec.user.is_empty() {
            let (uid, gid) = processes::user_ids(&exec.user)?;
            command.uid(uid).gid(gid);
        }
        Self::spawn(command, exec)
    }

    /// Starts a prepared command on the streams of `exec`.
    pub(super) fn spawn(mut command: tokio::process::Command, exec: Exec) -> io::Result<Self> {
        let Exec {
            network,
            input,
            output,
            errors,
            terminal,
            ..
        } = exec;
        let terminal = match terminal {
            None => {
                command
                    .stdin(input.map_or_else(Stdio::null, Stdio::from))
                    .stdout(output)
                    .stderr(errors)
                    .process_group(0);
                None
            }
            Some(size) => {
                let (terminal, of_program) = Terminal::open(size)?;
                command
                    .stdin(of_program.try_clone()?)
                    .stdout(of_program.try_clone()?)
                    .stderr(of_program);
                terminal::controls_terminal(&mut command);
                Some(Shown {
                    copies: copies(&terminal, input, output)?,
                    terminal,
                })
            }
        };
        // What is started holds the writing ends alone, so that the reader sees the end.
        let mut child = match network {
            None => command.spawn()?,
            Some(network) => {
                let runtime = tokio::runtime::Handle::current();
                network::within(&network, || {
                    let _runtime = runtime.enter();
                    command.spawn()
                })?
            }
        };
        drop(command);
        let group = child.id().and_then(|pid| i32::try_from(pid).ok());
        let group = group.ok_or_else(|| io::Error::other("the command has ended already"))?;
        let end = ProcessEnd::of(group);
        let end = end.inspect_err(|_| {
            child.start_kill().ok();
        })?;
        Ok(Self {
            child,
            end,
            group,
            terminal,
        })
    }

    fn kill(&self) {
        // None once it is collected, and then the number may be another's.
        if self.child.id().is_some() {
            processes::signal_group(self.group, nix::libc::SIGKILL).ok();
        }
    }
}

/// Copies what is typed to the terminal, and what it shows to `output`, until its program has
/// ended.
fn copies(
    terminal: &Terminal,
    input: Option<PipeReader>,
    output: PipeWriter,
) -> io::Result<[JoinHandle<()>; 2]> {
    let mut typed = pipe::Sender::from_owned_fd_unchecked(terminal.handle()?)?;
    let mut shown = pipe::Receiver::from_owned_fd_unchecked(terminal.handle()?)?;
    let mut to = pipe::Sender::from_owned_fd(OwnedFd::from(output))?;
    let input = input.map(|input| pipe::Receiver::from_owned_fd(OwnedFd::from(input)));
    let input = input.transpose()?;
    Ok([
        tokio::spawn(async move {
            if let Some(mut input) = input {
                tokio::io::copy(&mut input, &mut typed).await.ok();
            }
        }),
        tokio::spawn(async move {
            // It ends with an error when nobody has the program's end any more.
            tokio::io::copy(&mut shown, &mut to).await.ok();
        }),
    ])
}

impl Execution for Command {
    fn ended(&self) -> BoxFuture<'_, ()> {
        // It stays uncollected, so that its number remains its own.
        Box::pin(self.end.wait())
    }

    fn resize(&self, size: (u16, u16)) -> BoxFuture<'_, io::Result<()>> {
        let done = self
            .terminal
            .as_ref()
            .map_or(Ok(()), |shown| shown.terminal.resize(size));
        Box::pin(std::future::ready(done))
    }

    fn kill_and_collect(mut self: Box<Self>) -> BoxFuture<'static, io::Result<ExitStatus>> {
        self.kill();
        Box::pin(async move { self.child.wait().await })
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        // The runtime collects it afterwards.
        self.kill();
    }
}

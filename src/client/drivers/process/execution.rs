use crate::{
    client::drivers::{Exec, Execution},
    sys::processes::{self, ProcessEnd},
};
use futures_util::future::BoxFuture;
use std::{
    io,
    process::{ExitStatus, Stdio},
};
use tokio::process::Child;

/// A command that leads a process group, which is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Command {
    child: Child,
    end: ProcessEnd,
    group: i32,
}

impl Command {
    /// Starts it.
    pub(super) fn start(exec: Exec) -> io::Result<Self> {
        let mut command = tokio::process::Command::new(&exec.command);
        command
            .args(&exec.args)
            .env_clear()
            .envs(&exec.env)
            .current_dir(&exec.dir)
            .stdin(Stdio::null())
            .stdout(exec.output.try_clone()?)
            .stderr(exec.output)
            .process_group(0);
        if !exec.user.is_empty() {
            let (uid, gid) = processes::user_ids(&exec.user)?;
            command.uid(uid).gid(gid);
        }
        // What is started holds the writing end alone, so that the reader sees the end.
        let mut child = command.spawn()?;
        drop(command);
        let group = child.id().and_then(|pid| i32::try_from(pid).ok());
        let group = group.ok_or_else(|| io::Error::other("the command has ended already"))?;
        let end = ProcessEnd::of(group);
        let end = end.inspect_err(|_| {
            child.start_kill().ok();
        })?;
        Ok(Self { child, end, group })
    }

    fn kill(&self) {
        // None once it is collected, and then the number may be another's.
        if self.child.id().is_some() {
            processes::signal_group(self.group, nix::libc::SIGKILL).ok();
        }
    }
}

impl Execution for Command {
    fn ended(&self) -> BoxFuture<'_, ()> {
        // It stays uncollected, so that its number remains its own.
        Box::pin(self.end.wait())
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

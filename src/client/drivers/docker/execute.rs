//! Commands inside a container.

use super::daemon::Daemon;
use crate::drivers::{Exec, Execution};
use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults},
};
use futures_util::{StreamExt, future::BoxFuture};
use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::unix::pipe,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

/// The daemon knows the exit code a moment after the output has ended.
const CODE_PAUSE: Duration = Duration::from_millis(20);
const CODE_WAIT: Duration = Duration::from_secs(5);

/// A command inside a container. The daemon has no way to end it: it goes with the container, or
/// when it finds its output closed.
#[derive(Debug)]
pub(super) struct DockerExec {
    daemon: Arc<Daemon>,
    id: String,
    done: watch::Receiver<bool>,
    copies: Vec<JoinHandle<()>>,
}

impl Drop for DockerExec {
    fn drop(&mut self) {
        for copy in &self.copies {
            copy.abort();
        }
    }
}

impl DockerExec {
    /// Starts it in the container that is the handle of the task.
    pub(super) async fn start(daemon: Arc<Daemon>, exec: Exec) -> io::Result<Self> {
        let api = daemon.api().await.map_err(io::Error::other)?;
        let failed = |error| io::Error::other(daemon.failure(error));
        let nobody = || io::Error::other("the task has no container");
        let container = exec.handle.ok_or_else(nobody)?;
        let mut command = vec![exec.command];
        command.extend(exec.args);
        let env = exec
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let has_terminal = exec.terminal.is_some();
        let dir = exec.dir.to_string_lossy().into_owned();
        let options = CreateExecOptions {
            attach_stdin: Some(exec.input.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(has_terminal),
            cmd: Some(command),
            env: Some(env.collect()),
            user: Some(exec.user).filter(|user| !user.is_empty()),
            working_dir: Some(dir).filter(|dir| !dir.is_empty()),
            ..CreateExecOptions::default()
        };
        let id = api
            .create_exec(&container, options)
            .await
            .map_err(failed)?
            .id;
        let begin = StartExecOptions {
            tty: has_terminal,
            ..StartExecOptions::default()
        };
        let begun = api.start_exec(&id, Some(begin)).await.map_err(failed)?;
        let StartExecResults::Attached {
            mut output,
            mut input,
        } = begun
        else {
            return Err(io::Error::other("the daemon did not attach to the command"));
        };
        let mut to_output = pipe::Sender::from_owned_fd(OwnedFd::from(exec.output))?;
        let mut to_errors = pipe::Sender::from_owned_fd(OwnedFd::from(exec.errors))?;
        let (done_sender, done) = watch::channel(false);
        let mut copies = vec![tokio::spawn(async move {
            while let Some(Ok(piece)) = output.next().await {
                let written = match piece {
                    LogOutput::StdErr { message } => to_errors.write_all(&message).await,
                    LogOutput::StdOut { message } | LogOutput::Console { message } => {
                        to_output.write_all(&message).await
                    }
                    LogOutput::StdIn { .. } => Ok(()),
                };
                if written.is_err() {
                    break;
                }
            }
            drop((to_output, to_errors));
            done_sender.send_replace(true);
        })];
        if let Some(from) = exec.input {
            let mut from = pipe::Receiver::from_owned_fd(OwnedFd::from(from))?;
            copies.push(tokio::spawn(async move {
                tokio::io::copy(&mut from, &mut input).await.ok();
                input.shutdown().await.ok();
            }));
        }
        let started = Self {
            daemon,
            id,
            done,
            copies,
        };
        if let Some(size) = exec.terminal {
            started.resize(size).await.ok();
        }
        Ok(started)
    }
}

impl Execution for DockerExec {
    fn ended(&self) -> BoxFuture<'_, ()> {
        let mut done = self.done.clone();
        Box::pin(async move {
            done.wait_for(|done| *done).await.ok();
        })
    }

    fn resize(&self, (height, width): (u16, u16)) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            if height == 0 || width == 0 {
                return Ok(());
            }
            let api = self.daemon.api().await.map_err(io::Error::other)?;
            let size = ResizeExecOptions { height, width };
            let resized = api.resize_exec(&self.id, size).await;
            resized.map_err(|error| io::Error::other(self.daemon.failure(error)))
        })
    }

    fn kill_and_collect(self: Box<Self>) -> BoxFuture<'static, io::Result<ExitStatus>> {
        Box::pin(async move {
            let api = self.daemon.api().await.map_err(io::Error::other)?;
            let give_up = Instant::now() + CODE_WAIT;
            loop {
                let found = api.inspect_exec(&self.id).await;
                let found = found.map_err(|error| io::Error::other(self.daemon.failure(error)))?;
                let is_running = found.running == Some(true);
                match found.exit_code {
                    Some(code) if !is_running => {
                        let code = i32::try_from(code).unwrap_or(255);
                        // As the kernel puts it: the code in the second byte.
                        return Ok(ExitStatus::from_raw((code & 0xff) << 8));
                    }
                    _ if Instant::now() >= give_up => {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    _ => sleep(CODE_PAUSE).await,
                }
            }
        })
    }
}

//! Programs that commands start.

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{process::Stdio, time::Duration};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// A program as it is written on the command line, in a shell if that is asked for.
pub(super) fn program(shell: bool, command: &[String]) -> Command {
    let mut process = match command {
        [program, arguments @ ..] if !shell => {
            let mut process = Command::new(program);
            process.args(arguments);
            process
        }
        _ => {
            let own = std::env::var("SHELL").ok();
            let own = own.filter(|shell| !shell.is_empty());
            let mut process = Command::new(own.as_deref().unwrap_or("/bin/sh"));
            process.arg("-c").arg(command.join(" "));
            process
        }
    };
    process.stdin(Stdio::null()).kill_on_drop(true);
    process
}

/// Starts a program.
pub(super) fn start(mut process: Command, command: &[String]) -> anyhow::Result<Child> {
    let name = command.first().map_or("", String::as_str);
    process
        .spawn()
        .with_context(|| format!("cannot run {name:?}"))
}

/// Passes a signal on.
pub(super) fn forward(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ended = kill(Pid::from_raw(pid), signal);
    }
}

/// Asks a program to end, and ends it when it has not after a while.
pub(super) async fn end(child: &mut Child, patience: Duration) -> anyhow::Result<()> {
    forward(child, Signal::SIGTERM);
    if timeout(patience, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

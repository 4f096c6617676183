//! `var lock`: runs a command while a variable is locked.

use super::{one_namespace, pairs::Input, path, put::described, spec::Language};
use crate::arguments::switches;
use crate::{
    child::{self, forward},
    context::Context,
    http::{Error, Http},
};
use anyhow::{Context as _, anyhow, bail};
use jobs::{
    model::{Span, VariableLock as Limits},
    wire::{Variable, VariableLock},
};
use nix::sys::signal::Signal;
use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::Child,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, sleep_until},
};

/// Part of the time to live after which a lock is renewed, percent.
const RENEWED_AFTER: u32 = 70;
/// Pause before a lock that somebody else holds is asked for again, percent of the time to live.
const ASKED_AGAIN_AFTER: u32 = 110;

/// Arguments of `var lock`.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_args(switches(&["shell"])))]
pub struct Arguments {
    /// How long nobody gets the lock after it was lost
    #[arg(long)]
    delay: Option<String>,
    /// How long the lock lasts without being renewed
    #[arg(long)]
    ttl: Option<String>,
    /// Give up when somebody else holds the lock
    #[arg(long)]
    early_return: bool,
    /// Pause between attempts to get the lock
    #[arg(long)]
    backoff: Option<String>,
    /// How often to try again when the agent fails to renew the lock
    #[arg(long, default_value_t = 5)]
    max_retry: u32,
    /// Run the command in a shell
    #[arg(long, default_value_t = true)]
    shell: bool,
    /// Say on standard error what is done
    #[arg(long)]
    verbose: bool,
    /// Path of the variable, or `@file` for a description of it
    #[arg(value_name = "PATH|@FILE")]
    what: String,
    /// Command, after an optional `@file` that describes the variable
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    one_namespace(cx)?;
    let namespace = cx.namespace.clone();
    let (mut variable, command) = described(
        namespace.as_deref(),
        &arguments.what,
        &arguments.command,
        &mut Input::default(),
        Language::Json,
    )?;
    if command.is_empty() {
        bail!("Not enough arguments: a command is missing");
    }
    let lock = variable.lock.get_or_insert_default();
    set(&mut lock.ttl, arguments.ttl.as_ref()).context("Invalid TTL")?;
    set(&mut lock.lock_delay, arguments.delay.as_ref()).context("Invalid Lock Delay")?;
    let ttl = lock.ttl.to_std();
    let mut pause = Span::from(ttl * ASKED_AGAIN_AFTER / 100);
    if let Some(backoff) = &arguments.backoff {
        pause = Span::parse(backoff).context("Invalid backoff")?;
    }
    let say = |cx: &mut Context, text: &str| {
        if arguments.verbose {
            cx.complain(text);
        }
    };
    say(cx, "Attempting to acquire lock");
    let Some(held) = acquire(&cx.http, &variable, arguments.early_return, pause.to_std()).await?
    else {
        say(cx, "Somebody else holds the lock");
        return Ok(0);
    };
    say(
        cx,
        &format!("Variable locked, ready to execute: {}", command.join(" ")),
    );
    let mut program = child::program(arguments.shell, command);
    program.stdin(Stdio::inherit());
    let child = child::start(program, command).context("Lock error")?;
    let lease = Lease {
        http: &cx.http,
        held: &held,
        ttl,
        retries_max: arguments.max_retry,
    };
    let ended = lease.keep_while(child).await;
    let released: Result<Variable, Error> = cx
        .http
        .put(&path(&held.path), &[("lock-release", "")], &held)
        .await;
    let status = ended.map_err(|error| anyhow!("Lock error:{error:#}"))?;
    released.context("Lock error: the lock was not released")?;
    say(cx, "Releasing the lock");
    if !status.success() {
        bail!("Lock error:{status}");
    }
    Ok(0)
}

/// The time of an argument, else that of the description, else the usual one.
fn set(span: &mut Span, argument: Option<&String>) -> anyhow::Result<()> {
    if let Some(argument) = argument {
        *span = Span::parse(argument)?;
    } else if span.is_zero() {
        *span = Limits::DEFAULT;
    }
    Ok(())
}

/// Asks for the lock until it is ours; none when somebody else holds it and that ends it.
async fn acquire(
    http: &Http,
    variable: &Variable,
    early_return: bool,
    pause: Duration,
) -> anyhow::Result<Option<Variable>> {
    loop {
        let answer: Result<Variable, Error> = http
            .put(&path(&variable.path), &[("lock-acquire", "")], variable)
            .await;
        match answer {
            Ok(locked) => {
                let lock = locked.lock.context("Lock error: the agent gave no lock")?;
                return Ok(Some(Variable {
                    namespace: locked.namespace,
                    path: locked.path,
                    lock: Some(VariableLock {
                        id: lock.id,
                        ..VariableLock::default()
                    }),
                    ..Variable::default()
                }));
            }
            Err(Error::Status { status: 409, .. }) if early_return => return Ok(None),
            Err(Error::Status { status: 409, .. }) => sleep(pause).await,
            Err(error) => return Err(error).context("Lock error"),
        }
    }
}

/// A lock that is held.
struct Lease<'a> {
    http: &'a Http,
    held: &'a Variable,
    ttl: Duration,
    retries_max: u32,
}

impl Lease<'_> {
    /// Renews the lock until the process ends. A lock that is lost ends the process.
    async fn keep_while(&self, mut child: Child) -> anyhow::Result<ExitStatus> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut failures = 0;
        let mut next = Instant::now() + self.ttl * RENEWED_AFTER / 100;
        loop {
            tokio::select! {
                status = child.wait() => return Ok(status?),
                _ = interrupt.recv() => forward(&child, Signal::SIGINT),
                _ = terminate.recv() => forward(&child, Signal::SIGTERM),
                () = sleep_until(next) => match self.renew().await {
                    Ok(()) => {
                        failures = 0;
                        next = Instant::now() + self.ttl * RENEWED_AFTER / 100;
                    }
                    Err(Error::Status { status: 404 | 409, body }) => {
                        child.kill().await?;
                        bail!("the lock was lost: {}", body.trim());
                    }
                    Err(error) => {
                        failures += 1;
                        if failures > self.retries_max {
                            child.kill().await?;
                            return Err(error).context("the lock could not be renewed");
                        }
                        next = Instant::now() + self.ttl / 10;
                    }
                },
            }
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let query = [("lock-renew", "")];
        let _: Variable = self
            .http
            .put(&path(&self.held.path), &query, self.held)
            .await?;
        Ok(())
    }
}

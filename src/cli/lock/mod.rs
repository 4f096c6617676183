//! `lock`: runs a program while a key is locked, or while it is one of a few that may run.

mod held;
mod mutex;
mod pair;
mod semaphore;

use super::{
    catalog_options::CatalogOptions,
    child,
    context::Context,
    http::{Http, segment, segments},
};
use crate::arguments::switches;
use anyhow::{Context as _, bail};
use jobs::model::Span;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::Child,
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use held::Held;

/// Time to live of the session.
const TTL: &str = "15s";
/// How often the session is renewed.
const RENEWED_EVERY: Duration = Duration::from_millis(7_500);
/// How long the program may take to end when the lock is lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Exit code when the program failed and that is asked for.
const CHILD_FAILED: u8 = 2;

/// Arguments of `lock`.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_args(switches(&["shell"])))]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Exit with 2 when the program fails
    #[arg(long)]
    child_exit_code: bool,
    /// How often to ask again when the agent does not say who holds the lock
    #[arg(long, default_value_t = 3, value_name = "N")]
    monitor_retry: u32,
    /// How many may hold it at a time
    #[arg(
        long = "n",
        default_value_t = 1,
        value_name = "N",
        allow_negative_numbers = true
    )]
    limit: i64,
    /// Name of the session
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Let the program read standard input
    #[arg(long)]
    pass_stdin: bool,
    /// Run the program in a shell
    #[arg(long, default_value_t = true)]
    shell: bool,
    /// Give up when the lock is not to be had for so long
    #[arg(long = "try", alias = "timeout", value_name = "DURATION")]
    patience: Option<String>,
    /// Say what is done
    #[arg(long)]
    verbose: bool,
    /// Start of the keys, then the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            options: CatalogOptions::default(),
            child_exit_code: false,
            monitor_retry: 3,
            limit: 1,
            name: String::new(),
            pass_stdin: false,
            shell: true,
            patience: None,
            verbose: false,
            words: Vec::new(),
        }
    }
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let [prefix, command @ ..] = arguments.words.as_slice() else {
        bail!("Key prefix and child command must be specified");
    };
    if command.is_empty() {
        bail!("Key prefix and child command must be specified");
    }
    let Some(limit) = u64::try_from(arguments.limit)
        .ok()
        .filter(|limit| *limit > 0)
    else {
        bail!("Lock holder limit must be positive");
    };
    let prefix = prefix.trim_start_matches('/').trim_end_matches('/');
    let patience = arguments.patience.as_deref().map(Span::parse).transpose();
    let patience = patience.context("Invalid -try")?.map(Span::to_std);
    let http = arguments.options.http(cx)?;
    let agent = http.get_value("/v1/agent/self", &[]).await;
    agent.context("Error querying Consul agent")?;
    let say = |cx: &mut Context, text: &str| {
        if arguments.verbose {
            cx.print(text)
        } else {
            Ok(())
        }
    };
    let session = begin(&http, arguments, prefix, command, limit).await?;
    let session_id = session.clone();
    let held = if limit == 1 {
        say(cx, &format!("Setting up lock at path: {prefix}/.lock"))?;
        Held::Mutex(mutex::Mutex::new(http.clone(), prefix, session))
    } else {
        let text = format!("Setting up semaphore (limit {limit}) at prefix: {prefix}");
        say(cx, &text)?;
        Held::Semaphore(semaphore::Semaphore::new(
            http.clone(),
            prefix,
            session,
            limit,
        ))
    };
    say(cx, "Attempting lock acquisition")?;
    let renewed = tokio::spawn(renew(http.clone(), session_id.clone()));
    let ran = guarded(cx, arguments, command, &held, patience, &say).await;
    renewed.abort();
    let path = format!("/v1/session/destroy/{}", segment(&session_id));
    let destroyed = http.put_bytes::<Value>(&path, &[], Vec::new()).await;
    let status = ran?;
    destroyed.context("Failed to end the session")?;
    if held.clean_up().await.context("Lock cleanup failed")? {
        say(cx, "Cleanup succeeded")?;
    }
    let failed = status.filter(|status| !status.success());
    if let Some(failed) = failed {
        let failed = failed.to_string().replace("exit status:", "exit status");
        cx.complain(&format!("Error running handler: {failed}"));
        return Ok(if arguments.child_exit_code {
            CHILD_FAILED
        } else {
            0
        });
    }
    Ok(u8::from(status.is_none()))
}

/// Gets the lock, runs the program while it is held, and gives it back; no status when the lock was
/// lost.
async fn guarded(
    cx: &mut Context,
    arguments: &Arguments,
    command: &[String],
    held: &Held,
    patience: Option<Duration>,
    say: &impl Fn(&mut Context, &str) -> anyhow::Result<()>,
) -> anyhow::Result<Option<ExitStatus>> {
    let acquired = async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            acquired = held.acquire() => acquired.map(|()| true),
            _ = interrupt.recv() => Ok(false),
            _ = terminate.recv() => Ok(false),
        }
    };
    let acquired = match patience {
        Some(patience) => timeout(patience, acquired).await.unwrap_or(Ok(false)),
        None => acquired.await,
    };
    if !acquired.context("Lock acquisition failed")? {
        bail!("Shutdown triggered or timeout during lock acquisition");
    }
    say(cx, "Starting handler")?;
    let mut program = child::program(arguments.shell, command);
    program.env("CONSUL_LOCK_HELD", "true");
    if arguments.pass_stdin {
        program.stdin(Stdio::inherit());
    }
    let mut started = child::start(program, command)?;
    let ended = watched(&mut started, held, arguments.monitor_retry).await?;
    if ended.is_none() {
        cx.complain("Lock lost, killing child");
        child::end(&mut started, PATIENCE).await?;
    } else {
        say(cx, "Child terminated, releasing lock")?;
    }
    held.release().await.context("Lock release failed")?;
    Ok(ended)
}

/// Waits for the end of the program; none when the lock is lost before.
async fn watched(
    child: &mut Child,
    held: &Held,
    retries_max: u32,
) -> anyhow::Result<Option<ExitStatus>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let lost = held.lost(retries_max);
    tokio::pin!(lost);
    loop {
        tokio::select! {
            status = child.wait() => return Ok(Some(status?)),
            () = &mut lost => return Ok(None),
            _ = interrupt.recv() => child::forward(child, Signal::SIGINT),
            _ = terminate.recv() => child::forward(child, Signal::SIGTERM),
        }
    }
}

/// Begins the session that the lock lives with.
async fn begin(
    http: &Http,
    arguments: &Arguments,
    prefix: &str,
    command: &[String],
    limit: u64,
) -> anyhow::Result<String> {
    let name = if arguments.name.is_empty() {
        format!("Consul lock for '{}' at '{prefix}'", command.join(" "))
    } else {
        arguments.name.clone()
    };
    let mut wanted = json!({ "Name": name, "TTL": TTL });
    if limit > 1 {
        wanted["Behavior"] = "delete".into();
    }
    let made: Value = http
        .put("/v1/session/create", &[], &wanted)
        .await
        .context("Lock setup failed: failed to create session")?;
    let id = made["ID"].as_str().map(str::to_owned);
    id.context("Lock setup failed: the agent gave no session")
}

/// Renews the session until dropped. One that ended is noticed by who watches the lock.
async fn renew(http: Http, session: String) {
    let path = format!("/v1/session/renew/{}", segment(&session));
    let mut ticks = interval_at(Instant::now() + RENEWED_EVERY, RENEWED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // One that failed is tried again at the next tick, before the session ends.
        let _renewed = http.put_bytes::<Value>(&path, &[], Vec::new()).await;
    }
}

/// The path of a key.
fn key_path(key: &str) -> String {
    format!("/v1/kv/{}", segments(key))
}

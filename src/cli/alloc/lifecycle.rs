//! `alloc restart`, `alloc signal` and `alloc stop`.

use super::super::context::Context;
use super::super::http::segment;
use super::super::{lookup, monitor};
use anyhow::{Context as _, bail};
use jobs::wire::{AllocRestartRequest, AllocSignalRequest, AllocStopResponse};

/// Arguments of `alloc restart`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RestartArguments {
    /// Allocation id or its beginning
    id: String,
    /// Task; every running one unless given
    task: Option<String>,
    /// As the second argument
    #[arg(long = "task", value_name = "TASK", conflicts_with = "task")]
    task_flag: Option<String>,
    /// Also tasks that have ended
    #[arg(long)]
    all_tasks: bool,
}

/// Arguments of `alloc signal`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SignalArguments {
    /// Allocation id or its beginning
    id: String,
    /// Task; all unless given
    task: Option<String>,
    /// As the second argument
    #[arg(long = "task", value_name = "TASK", conflicts_with = "task")]
    task_flag: Option<String>,
    /// Signal by name
    #[arg(short = 's', value_name = "SIGNAL", default_value = "SIGKILL")]
    signal: String,
}

/// Arguments of `alloc stop`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StopArguments {
    /// Allocation id or its beginning
    id: String,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Do not wait between leaving the catalog and the kill signal
    #[arg(long)]
    no_shutdown_delay: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn restart(cx: &mut Context, arguments: &RestartArguments) -> anyhow::Result<u8> {
    let named = arguments.task.as_deref().or(arguments.task_flag.as_deref());
    if arguments.all_tasks && named.is_some() {
        bail!("The -all-tasks option is not allowed when restarting a specific task.");
    }
    let alloc = lookup::allocation(cx, &arguments.id, &cx.view(false)).await?;
    let task = match named {
        Some(named) => super::task(&alloc, Some(named))?,
        None => "",
    };
    let request = AllocRestartRequest {
        task_name: task.to_owned(),
        all_tasks: arguments.all_tasks,
    };
    let path = format!("/v1/client/allocation/{}/restart", segment(&alloc.row.id));
    let target = if task.is_empty() {
        "allocation"
    } else {
        "task"
    };
    cx.http
        .in_namespace(&alloc.row.namespace)
        .put_value(&path, &[], &request)
        .await
        .with_context(|| format!("Failed to restart {target}"))?;
    Ok(0)
}

pub(super) async fn signal(cx: &mut Context, arguments: &SignalArguments) -> anyhow::Result<u8> {
    let alloc = lookup::allocation(cx, &arguments.id, &cx.view(false)).await?;
    let named = arguments.task.as_deref().or(arguments.task_flag.as_deref());
    let task = match named {
        Some(named) => super::task(&alloc, Some(named))?,
        None => "",
    };
    let request = AllocSignalRequest {
        task: task.to_owned(),
        signal: arguments.signal.clone(),
    };
    let path = format!("/v1/client/allocation/{}/signal", segment(&alloc.row.id));
    cx.http
        .in_namespace(&alloc.row.namespace)
        .put_value(&path, &[], &request)
        .await
        .context("Error signalling allocation")?;
    Ok(0)
}

pub(super) async fn stop(cx: &mut Context, arguments: &StopArguments) -> anyhow::Result<u8> {
    let alloc = lookup::allocation(cx, &arguments.id, &cx.view(arguments.verbose)).await?;
    let http = cx.http.in_namespace(&alloc.row.namespace);
    let path = format!("/v1/allocation/{}/stop", segment(&alloc.row.id));
    let mut query = Vec::new();
    if arguments.no_shutdown_delay {
        query.push(("no_shutdown_delay", "true"));
    }
    let answer: AllocStopResponse = http
        .put(&path, &query, &serde_json::json!({}))
        .await
        .context("Error stopping allocation")?;
    if arguments.detach {
        cx.print(&answer.eval_id.to_string())?;
        return Ok(0);
    }
    monitor::evaluation(cx, &http, answer.eval_id, arguments.verbose).await
}

//! `alloc restart`: restarts tasks in place.

use crate::{context::Context, http::segment, lookup};
use anyhow::{Context as _, bail};
use jobs::wire::AllocRestartRequest;

/// Arguments of `alloc restart`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
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

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
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
    let path = format!("/v1/client/allocation/{}/restart", segment(alloc.row.id));
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

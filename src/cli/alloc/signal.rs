//! `alloc signal`: sends a signal to tasks.

use crate::{context::Context, http::segment, lookup};
use anyhow::Context as _;
use jobs::wire::AllocSignalRequest;

/// Arguments of `alloc signal`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
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

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
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
    let path = format!("/v1/client/allocation/{}/signal", segment(alloc.row.id));
    cx.http
        .in_namespace(&alloc.row.namespace)
        .put_value(&path, &[], &request)
        .await
        .context("Error signalling allocation")?;
    Ok(0)
}

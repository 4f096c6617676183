//! `alloc stop`: stops an allocation, so that another is placed.

use crate::{context::Context, http::segment, lookup, render::monitor};
use anyhow::Context as _;
use jobs::wire::AllocStopResponse;

/// Arguments of `alloc stop`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
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

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let alloc = lookup::allocation(cx, &arguments.id, &cx.view(arguments.verbose)).await?;
    let http = cx.http.in_namespace(&alloc.row.namespace);
    let path = format!("/v1/allocation/{}/stop", segment(alloc.row.id));
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
    monitor::evaluation::follow(cx, &http, answer.eval_id, arguments.verbose).await
}

//! `deployment status`: one deployment, shown or followed.

use super::list;
use crate::view::quoted;
use crate::{
    context::Context,
    hints::Page,
    http::{decode, segment},
    lookup, process,
    render::{allocations, deployments, monitor, rollouts},
    structured::Structured,
};
use anyhow::{Context as _, bail};
use jobs::model::Deployment;
use jobs::wire::AllocationListStub;
use std::time::Duration;

/// Arguments of `deployment status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Deployment id or its beginning; without one, all are listed
    id: Option<String>,
    /// Show full ids and the allocations
    #[arg(long)]
    verbose: bool,
    /// Follow it until it is decided
    #[arg(long)]
    monitor: bool,
    /// Longest wait of one read while following
    #[arg(long, default_value = "2s", value_parser = process::duration)]
    wait: Duration,
    /// Open its page of the web UI in the browser of this machine
    #[arg(long)]
    ui: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.monitor && arguments.structured.is_wanted() {
        bail!("The monitor flag cannot be used with the '-json' or '-t' flags");
    }
    let Some(id) = &arguments.id else {
        return list::all(cx, None, arguments.verbose, &arguments.structured).await;
    };
    let value = lookup::deployment_value(cx, id).await?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let current: Deployment = decode("/v1/deployment", value)?;
    let http = cx.http.in_namespace(&current.namespace);
    let view = cx.view(arguments.verbose);
    let page = Page::Deployments(&current.job_id);
    if arguments.monitor {
        let id = quoted(view.id(current.id));
        cx.print(&format!("{}: Monitoring deployment {id}", view.now()))?;
        let wait = Some(arguments.wait);
        let last =
            monitor::deployment::follow(cx, &http, current.id, wait, arguments.verbose).await?;
        cx.hint_or_open(page, arguments.ui).await;
        let done = last == Some(jobs::model::DeploymentStatus::Successful);
        return Ok(if done { monitor::DONE } else { monitor::FAILED });
    }
    let mut text = deployments::detail(&current, &view);
    if current
        .task_groups
        .values()
        .any(|group| group.desired_canaries > 0)
    {
        let path = format!("/v1/trivet/rollout/{}", segment(current.id));
        // An agent of the original has no such thing.
        if let Ok(shown) = http.get::<rollouts::Shown>(&path, &[]).await {
            let title = view.paint.title("Canaries");
            text.push_str(&format!("\n\n{title}\n{}", rollouts::status(&shown, &view)));
        }
    }
    if arguments.verbose {
        let path = format!("/v1/deployment/allocations/{}", segment(current.id));
        let allocs: Vec<AllocationListStub> = http
            .get(&path, &[])
            .await
            .context("Error fetching allocations")?;
        text.push_str(&format!(
            "\n\n{}\n{}",
            view.paint.title("Allocations"),
            allocations::list(&allocs, &view)
        ));
    }
    cx.print(&text)?;
    cx.hint_or_open(page, arguments.ui).await;
    Ok(0)
}

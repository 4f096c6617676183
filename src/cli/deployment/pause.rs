//! `deployment pause`.

use crate::view::quoted;
use crate::{context::Context, http::segment, lookup, render::monitor};
use anyhow::Context as _;
use jobs::model::Deployment;
use jobs::wire::{DeploymentPauseRequest, DeploymentUpdateResponse};

/// Arguments of `deployment pause`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Deployment id or its beginning
    id: String,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let current = lookup::deployment(cx, &arguments.id).await?;
    set(cx, &current, true).await?;
    cx.print(&format!(
        "Deployment {} paused",
        quoted(current.id.to_string())
    ))?;
    Ok(monitor::DONE)
}

/// Pauses or resumes a deployment.
pub(super) async fn set(
    cx: &Context,
    current: &Deployment,
    pause: bool,
) -> anyhow::Result<DeploymentUpdateResponse> {
    let request = DeploymentPauseRequest {
        deployment_id: current.id.to_string(),
        pause,
    };
    let path = format!("/v1/deployment/pause/{}", segment(current.id));
    let verb = if pause { "pausing" } else { "resuming" };
    cx.http
        .in_namespace(&current.namespace)
        .put(&path, &[], &request)
        .await
        .with_context(|| format!("Error {verb} deployment"))
}

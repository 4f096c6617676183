//! `rollout status`.

use crate::{
    context::Context,
    http::{decode, segment},
    lookup,
    render::rollouts,
    structured::Structured,
};
use anyhow::Context as _;

/// Arguments of `rollout status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Deployment id or its beginning, or the name of the job
    of: String,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let current = lookup::deployment_or_job(cx, &arguments.of).await?;
    let path = format!("/v1/trivet/rollout/{}", segment(current.id));
    let http = cx.http.in_namespace(&current.namespace);
    let value = http.get_value(&path, &[]).await;
    let value = value.context("Error querying the rollout")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let shown: rollouts::Shown = decode(&path, value)?;
    let view = cx.view(false);
    cx.print(&rollouts::status(&shown, &view))?;
    Ok(0)
}

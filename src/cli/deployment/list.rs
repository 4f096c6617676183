//! `deployment list`.

use crate::{context::Context, http::decode, render::deployments, structured::Structured};
use anyhow::Context as _;
use jobs::model::Deployment;

/// Arguments of `deployment list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    all(cx, arguments.verbose, &arguments.structured).await
}

/// Lists every deployment, newest first.
pub(super) async fn all(
    cx: &mut Context,
    verbose: bool,
    structured: &Structured,
) -> anyhow::Result<u8> {
    let value = cx.http.get_value("/v1/deployments", &[]).await;
    let value = value.context("Error retrieving deployments")?;
    if let Some(text) = structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let mut all: Vec<Deployment> = decode("/v1/deployments", value)?;
    all.sort_by_key(|one| std::cmp::Reverse(one.create_index));
    let text = deployments::list(&all, &cx.view(verbose));
    cx.print(&text)?;
    Ok(0)
}

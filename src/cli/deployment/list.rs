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
    /// List only those that this expression is true of
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let filter = arguments.filter.as_deref();
    all(cx, filter, arguments.verbose, &arguments.structured).await
}

/// Lists every deployment, or those that an expression is true of, newest first.
pub(super) async fn all(
    cx: &mut Context,
    filter: Option<&str>,
    verbose: bool,
    structured: &Structured,
) -> anyhow::Result<u8> {
    let query: Vec<(&str, &str)> = filter.map(|text| ("filter", text)).into_iter().collect();
    let value = cx.http.get_value("/v1/deployments", &query).await;
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

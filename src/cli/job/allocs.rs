//! `job allocs`.

use crate::{
    context::Context,
    http::{decode, segment},
    lookup,
    render::allocations,
    structured::Structured,
};
use anyhow::Context as _;
use jobs::wire::AllocationListStub;

/// Arguments of `job allocs`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Show also allocations of earlier jobs with this id
    #[arg(long)]
    all: bool,
    /// Show full ids and absolute times
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let job = lookup::job(cx, &arguments.job).await?;
    let path = format!("/v1/job/{}/allocations", segment(&job.id));
    let all = if arguments.all { "true" } else { "false" };
    let value = cx
        .http
        .in_namespace(&job.namespace)
        .get_value(&path, &[("all", all)])
        .await
        .context("Error retrieving allocations")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let mut allocs: Vec<AllocationListStub> = decode(&path, value)?;
    allocs.sort_by_key(|one| std::cmp::Reverse(one.create_index));
    let text = allocations::list(&allocs, &cx.view(arguments.verbose));
    cx.print(&text)?;
    Ok(0)
}

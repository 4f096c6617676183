//! `eval list`.

use crate::{
    context::Context, hints::Page, http::decode, render::evaluations, structured::Structured,
};
use anyhow::Context as _;
use jobs::model::Evaluation;

/// Arguments of `eval list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Only those of this job
    #[arg(long)]
    job: Option<String>,
    /// Only those with this status
    #[arg(long)]
    status: Option<String>,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let mut query = Vec::new();
    query.extend(arguments.job.as_deref().map(|job| ("job", job)));
    query.extend(arguments.status.as_deref().map(|status| ("status", status)));
    let path = "/v1/evaluations";
    let value = cx.http.get_value(path, &query).await;
    let value = value.context("Error querying evaluations")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let mut evals: Vec<Evaluation> = decode(path, value)?;
    evals.sort_by_key(|eval| std::cmp::Reverse(eval.create_index));
    let text = if evals.is_empty() {
        "No evals found".to_owned()
    } else {
        evaluations::list(&evals, &cx.view(arguments.verbose))
    };
    cx.print(&text)?;
    if !evals.is_empty() {
        cx.hint(Page::Evaluations).await;
    }
    Ok(0)
}

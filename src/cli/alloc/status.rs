//! `alloc status`.

use super::{detail, tasks};
use crate::{
    context::Context,
    hints::Page,
    http::{decode, segment},
    lookup,
    render::{allocations, columns},
    structured::Structured,
};
use jobs::model::Evaluation;
use jobs::wire::{AllocResourceUsage, Allocation};
use std::collections::BTreeMap;

/// Arguments of `alloc status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Allocation id or its beginning
    id: String,
    /// Show the head and a line per task
    #[arg(long)]
    short: bool,
    /// Show every figure that was measured
    #[arg(long)]
    stats: bool,
    /// Show full ids, absolute times and how it was placed
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(crate) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let view = cx.view(arguments.verbose);
    let found = lookup::allocations(cx, &arguments.id).await?;
    let [stub] = found.as_slice() else {
        let text = allocations::list(&found, &view);
        cx.print(&format!("Prefix matched multiple allocations\n\n{text}"))?;
        return Ok(0);
    };
    let value = lookup::allocation_value(cx, stub).await?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let alloc: Allocation = decode("/v1/allocation", value)?;
    if arguments.short {
        cx.print(&detail::short(&alloc, &view))?;
        return Ok(0);
    }
    let followup = followup(cx, &alloc).await;
    cx.print(&detail::head(&alloc, followup.as_ref(), &view))?;
    if let Some(text) = detail::addresses(&alloc) {
        cx.print(&format!("\n{text}"))?;
    }
    if let Some(text) = checks(cx, &alloc).await {
        cx.print(&format!(
            "\n{}\n{text}",
            view.paint.title("Nomad Service Checks:")
        ))?;
    }
    let usage = usage(cx, &alloc).await?;
    cx.print(&tasks::list(&alloc, usage.as_ref(), arguments.stats, &view))?;
    if arguments.verbose {
        cx.print(&detail::metrics(&alloc, &view))?;
    }
    cx.hint(Page::Allocation(&alloc.row.id.to_string())).await;
    Ok(0)
}

/// Shows the allocation with this id.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn show_id(cx: &mut Context, id: &str, verbose: bool) -> anyhow::Result<u8> {
    let arguments = Arguments {
        id: id.to_owned(),
        verbose,
        ..Arguments::default()
    };
    run(cx, &arguments).await
}

async fn followup(cx: &Context, alloc: &Allocation) -> Option<Evaluation> {
    let id = alloc.row.followup_eval_id?;
    let path = format!("/v1/evaluation/{}", segment(id));
    // It may be collected already; then there is nothing to tell.
    cx.http.get(&path, &[]).await.ok()
}

/// A check of a service that the job keeps to itself.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Check {
    service: String,
    task: String,
    check: String,
    mode: String,
    status: String,
}

/// The checks of services that the job keeps to itself; none without any, or when nobody can tell.
async fn checks(cx: &Context, alloc: &Allocation) -> Option<String> {
    if alloc.row.client_terminal() {
        return None;
    }
    let path = format!("/v1/client/allocation/{}/checks", segment(alloc.row.id));
    let http = cx.http.in_namespace(&alloc.row.namespace);
    let found: BTreeMap<String, Check> = http.get(&path, &[]).await.ok()?;
    let mut rows: Vec<[String; 5]> = found
        .into_values()
        .map(|check| {
            let task = match check.task.as_str() {
                "" => "(group)".to_owned(),
                _ => check.task,
            };
            [check.service, task, check.check, check.mode, check.status]
        })
        .collect();
    rows.sort();
    let header = ["Service", "Task", "Name", "Mode", "Status"];
    (!rows.is_empty()).then(|| columns::table(header, rows))
}

/// What the tasks use; none when nobody can tell, which is said where it matters.
async fn usage(cx: &mut Context, alloc: &Allocation) -> anyhow::Result<Option<AllocResourceUsage>> {
    if alloc.row.client_terminal() {
        return Ok(None);
    }
    let path = format!("/v1/client/allocation/{}/stats", segment(alloc.row.id));
    let http = cx.http.in_namespace(&alloc.row.namespace);
    match http.get(&path, &[]).await {
        Ok(usage) => Ok(Some(usage)),
        Err(error) => {
            cx.print("")?;
            cx.complain(&format!("Couldn't retrieve stats: {error}"));
            Ok(None)
        }
    }
}

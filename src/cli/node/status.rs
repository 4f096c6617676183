//! `node status`: all nodes as a list, or one in full.

use super::{
    detail::{self, Usage},
    own_id,
};
use crate::{
    context::Context,
    hints::Page,
    http::{Http, decode, segment},
    lookup,
    render::{
        allocations,
        nodes::{self, Columns},
    },
    structured::Structured,
};
use anyhow::{Context as _, bail};
use jobs::model::Node;
use jobs::wire::{AllocResourceUsage, Allocation, HostStats, NodeListStub};

/// Running allocations counted at the same time is one request each, so a list has a limit.
const COUNTED_NODES_MAX: usize = 1000;

/// Arguments of `node status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Node id or its beginning; without one, all are listed
    id: Option<String>,
    /// The node of the agent that is asked
    #[arg(long = "self", conflicts_with = "id")]
    own: bool,
    /// Show the head and the allocations only
    #[arg(long)]
    short: bool,
    /// Show the operating system in the list
    #[arg(long)]
    os: bool,
    /// Count the running allocations in the list
    #[arg(long)]
    allocs: bool,
    /// Show every figure that was measured
    #[arg(long)]
    stats: bool,
    /// Print ids only
    #[arg(long, conflicts_with = "verbose")]
    quiet: bool,
    /// Show full ids, absolute times and attributes
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let id = match (&arguments.id, arguments.own) {
        (Some(id), _) => id.clone(),
        (None, true) => own_id(&cx.http).await?,
        (None, false) => return list_all(cx, arguments).await,
    };
    let found = lookup::node(cx, &id).await?;
    let path = format!("/v1/node/{}", segment(found.id));
    let querying = "Error querying node info";
    let value = cx.http.get_value(&path, &[]).await.context(querying)?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let node: jobs::wire::Node = decode(&path, value)?;
    let allocs: Vec<Allocation> = cx
        .http
        .get(&format!("{path}/allocations"), &[("namespace", "*")])
        .await
        .context("Error querying node allocations")?;
    let view = cx.view(arguments.verbose);
    if arguments.short {
        cx.print(&detail::short(&node.row, &view))?;
    } else {
        let usage = usage(cx, &node.row, &allocs).await?;
        cx.print(&detail::full(
            &node.row,
            &allocs,
            &usage,
            arguments.stats,
            &view,
        ))?;
    }
    cx.print(&detail::allocations(&allocs, &view))?;
    if arguments.verbose {
        cx.print(&detail::attributes(&node.row, &view))?;
    }
    cx.hint(Page::Node(&node.row.id.to_string())).await;
    Ok(0)
}

/// Shows the node with this id, as `status` does.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn show_id(cx: &mut Context, id: &str, verbose: bool) -> anyhow::Result<u8> {
    let arguments = Arguments {
        id: Some(id.to_owned()),
        verbose,
        ..Arguments::default()
    };
    run(cx, &arguments).await
}

async fn list_all(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let path = "/v1/nodes";
    let query: &[(&str, &str)] = if arguments.os { &[("os", "true")] } else { &[] };
    let value = cx.http.get_value(path, query).await;
    let value = value.context("Error querying node status")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let nodes: Vec<NodeListStub> = decode(path, value)?;
    if nodes.is_empty() {
        cx.print("No nodes registered")?;
        return Ok(0);
    }
    if arguments.quiet {
        let ids: Vec<String> = nodes.iter().map(|node| node.id.to_string()).collect();
        cx.print(&ids.join("\n"))?;
        return Ok(0);
    }
    let allocs = match arguments.allocs {
        true => Some(running_counts(&cx.http, &nodes).await?),
        false => None,
    };
    let wanted = Columns {
        os: arguments.os,
        allocs,
    };
    cx.print(&nodes::list(&nodes, wanted, &cx.view(arguments.verbose)))?;
    cx.hint(Page::Nodes).await;
    Ok(0)
}

async fn running_counts(http: &Http, nodes: &[NodeListStub]) -> anyhow::Result<Vec<usize>> {
    if nodes.len() > COUNTED_NODES_MAX {
        bail!("-allocs counts on at most {COUNTED_NODES_MAX} nodes");
    }
    let mut counts = Vec::with_capacity(nodes.len());
    for node in nodes {
        let path = format!("/v1/node/{}/allocations", segment(node.id));
        let allocs: Vec<Allocation> = http
            .get(&path, &[("namespace", "*")])
            .await
            .context("Error querying node allocations")?;
        counts.push(
            allocs
                .iter()
                .filter(|alloc| allocations::is_running(alloc))
                .count(),
        );
    }
    Ok(counts)
}

async fn usage(cx: &mut Context, node: &Node, allocs: &[Allocation]) -> anyhow::Result<Usage> {
    let id = node.id.to_string();
    let query = [("node_id", id.as_str())];
    let host = match cx.http.get::<HostStats>("/v1/client/stats", &query).await {
        Ok(host) => Some(host),
        Err(error) => {
            cx.complain(&format!("error fetching node stats: {error}"));
            return Ok(Usage::default());
        }
    };
    let mut total = Some((0.0, 0_u64));
    for alloc in allocs.iter().filter(|alloc| allocations::is_running(alloc)) {
        let path = format!("/v1/client/allocation/{}/stats", segment(alloc.row.id));
        let query = [("namespace", alloc.row.namespace.as_str())];
        let used = cx.http.get::<AllocResourceUsage>(&path, &query).await;
        // A figure without one of its parts would be wrong, so it is left out.
        total = match (total, used) {
            (Some((cpu, memory)), Ok(used)) => Some((
                cpu + used.resource_usage.cpu_stats.total_ticks,
                memory + allocations::used_memory(&used.resource_usage),
            )),
            _ => None,
        };
    }
    Ok(Usage {
        host,
        allocs: total,
    })
}

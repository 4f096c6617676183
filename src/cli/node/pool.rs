//! `node pool …`: groups of nodes.

use crate::{
    context::Context,
    http::{decode, segment},
    render::{columns, jobs as job_rows, nodes},
    structured::Structured,
    view::{View, quoted},
};
use anyhow::{Context as _, bail};
use jobs::wire::{JobListStub, NodeListStub, NodePool};

/// Look at groups of nodes.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List node pools
    List(ListArguments),
    /// Show a node pool
    Info(OfPool),
    /// List the nodes of a node pool
    Nodes(OfPool),
    /// List the jobs of a node pool
    Jobs(OfPool),
}

/// Arguments of `node pool list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListArguments {
    #[command(flatten)]
    structured: Structured,
}

/// Arguments of commands about one node pool.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OfPool {
    /// Name of the pool or its beginning
    pool: String,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List(arguments) => list(cx, &arguments.structured).await,
        Command::Info(arguments) => {
            let shown = |value, view: &View| Ok(info(&decode("", value)?, view));
            show(cx, &arguments, "", "Error retrieving node pool", shown).await
        }
        Command::Nodes(arguments) => {
            show(cx, &arguments, "/nodes", "Error querying nodes", node_rows).await
        }
        Command::Jobs(arguments) => {
            show(cx, &arguments, "/jobs", "Error querying jobs", rows_of_jobs).await
        }
    }
}

async fn list(cx: &mut Context, structured: &Structured) -> anyhow::Result<u8> {
    let path = "/v1/node/pools";
    let value = cx.http.get_value(path, &[]).await;
    let value = value.context("Error querying node pools")?;
    let text = match structured.text(&value)? {
        Some(text) => text,
        None => table(&decode::<Vec<_>>(path, value)?),
    };
    cx.print(&text)?;
    Ok(0)
}

/// Prints what the API answers below a pool.
async fn show(
    cx: &mut Context,
    arguments: &OfPool,
    below: &str,
    failing: &'static str,
    shown: impl Fn(serde_json::Value, &View) -> anyhow::Result<String>,
) -> anyhow::Result<u8> {
    let pool = find(cx, &arguments.pool).await?;
    let path = format!("/v1/node/pool/{}{below}", segment(&pool.name));
    let value = cx.http.get_value(&path, &[]).await.context(failing)?;
    let text = match arguments.structured.text(&value)? {
        Some(text) => text,
        None => shown(value, &cx.view(arguments.verbose))?,
    };
    cx.print(&text)?;
    Ok(0)
}

/// The pool whose name is or begins with `prefix`.
async fn find(cx: &Context, prefix: &str) -> anyhow::Result<NodePool> {
    let retrieving = "Error retrieving node pool";
    let pools: Vec<NodePool> = cx
        .http
        .get("/v1/node/pools", &[("prefix", prefix)])
        .await
        .context(retrieving)?;
    match pools.as_slice() {
        [] => bail!(
            "{retrieving}: No node pool with prefix {} found",
            quoted(prefix)
        ),
        [only] => Ok(only.clone()),
        several => match several.iter().find(|pool| pool.name == prefix) {
            Some(pool) => Ok(pool.clone()),
            None => bail!("Prefix matched multiple node pools\n\n{}", table(several)),
        },
    }
}

fn table(pools: &[NodePool]) -> String {
    let row = |pool: &NodePool| [pool.name.clone(), pool.description.clone()];
    columns::table(["Name", "Description"], pools.iter().map(row).collect())
}

fn info(pool: &NodePool, view: &View) -> String {
    let mut head = vec![
        ("Name", pool.name.clone()),
        ("Description", pool.description.clone()),
    ];
    if !pool.node_identity_ttl.is_zero() {
        head.push(("Node Identity TTL", pool.node_identity_ttl.to_string()));
    }
    let labels: Vec<(&str, String)> = pool
        .meta
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    let meta = match labels.as_slice() {
        [] => "No metadata".to_owned(),
        labels => columns::key_values(labels),
    };
    let scheduler = pool.scheduler_configuration.as_ref();
    let algorithm = scheduler
        .and_then(|scheduler| scheduler.get("SchedulerAlgorithm"))
        .and_then(serde_json::Value::as_str);
    let scheduler = match algorithm {
        None => "No scheduler configuration".to_owned(),
        Some(algorithm) => columns::key_values(&[("Scheduler Algorithm", algorithm.to_owned())]),
    };
    format!(
        "{}\n\n{}\n{meta}\n\n{}\n{scheduler}",
        columns::key_values(&head),
        view.paint.title("Metadata"),
        view.paint.title("Scheduler Configuration"),
    )
}

fn node_rows(value: serde_json::Value, view: &View) -> anyhow::Result<String> {
    let found: Vec<NodeListStub> = decode("", value)?;
    Ok(match found.as_slice() {
        [] => "No nodes".to_owned(),
        found => nodes::of_pool(found, view),
    })
}

fn rows_of_jobs(value: serde_json::Value, view: &View) -> anyhow::Result<String> {
    let found: Vec<JobListStub> = decode("", value)?;
    Ok(match found.as_slice() {
        [] => "No jobs".to_owned(),
        found => job_rows::list(found, false, view),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;

    #[test]
    fn a_pool_is_shown_with_what_is_set_for_it() {
        let mut pool = NodePool {
            name: "gpu".into(),
            ..NodePool::default()
        };
        assert_eq!(
            info(&pool, &test_view()),
            "Name        = gpu
Description = <none>

Metadata
No metadata

Scheduler Configuration
No scheduler configuration"
        );
        pool.meta = [("room".to_owned(), "4".to_owned())].into();
        pool.scheduler_configuration = Some(serde_json::json!({"SchedulerAlgorithm": "spread"}));
        let text = info(&pool, &test_view());
        assert!(text.contains("\nroom = 4\n"), "{text}");
        assert!(text.ends_with("\nScheduler Algorithm = spread"), "{text}");
    }
}

//! `node …`: the machines; a file per command.

mod detail;
mod drain;
mod eligibility;
mod meta;
mod pool;
pub(super) mod status;

use crate::{context::Context, http::Http};
use anyhow::Context as _;
use jobs::wire::AgentSelf;

/// Look at and act on nodes.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List nodes, or show one
    Status(status::Arguments),
    /// Say whether a node takes new allocations
    Eligibility(eligibility::Arguments),
    /// Empty a node, or end that
    Drain(drain::Arguments),
    /// Change and show the labels of a node
    #[command(subcommand)]
    Meta(meta::Command),
    /// Look at groups of nodes
    #[command(subcommand)]
    Pool(pool::Command),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Status(arguments) => Box::pin(status::run(cx, &arguments)).await,
        Command::Eligibility(arguments) => eligibility::run(cx, &arguments).await,
        Command::Drain(arguments) => Box::pin(drain::run(cx, &arguments)).await,
        Command::Meta(command) => Box::pin(meta::run(cx, command)).await,
        Command::Pool(command) => Box::pin(pool::run(cx, command)).await,
    }
}

/// The id of the node of the agent that is asked.
async fn own_id(http: &Http) -> anyhow::Result<String> {
    let agent: AgentSelf = http
        .get("/v1/agent/self", &[])
        .await
        .context("Error querying agent info")?;
    let client = agent
        .stats
        .get("client")
        .context("the agent is not running in client mode")?;
    let id = client.get("node_id").filter(|id| !id.is_empty());
    Ok(id.context("Failed to determine node ID")?.clone())
}

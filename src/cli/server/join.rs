//! `server join` and `server force-leave`.

use crate::context::Context;
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

/// Arguments of `server join`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// RPC addresses of servers
    #[arg(required = true)]
    addresses: Vec<String>,
}

/// Arguments of `server force-leave`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ForceLeave {
    /// Name of the server, as `server members` shows it
    node: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Joined {
    num_joined: u64,
    error: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let addresses = arguments.addresses.iter();
    let query: Vec<(&str, &str)> = addresses
        .map(|address| ("address", address.as_str()))
        .collect();
    let joined = cx.http.put_bytes("/v1/agent/join", &query, Vec::new());
    let joined: Joined = joined.await.context("Error joining")?;
    if joined.num_joined == 0 {
        anyhow::bail!("Error joining: {}", joined.error);
    }
    cx.print(&format!(
        "Joined {} servers successfully",
        joined.num_joined
    ))?;
    Ok(0)
}

pub(super) async fn force_leave(cx: &mut Context, arguments: &ForceLeave) -> anyhow::Result<u8> {
    let query = [("node", arguments.node.as_str())];
    let left = cx
        .http
        .put_bytes::<Value>("/v1/agent/force-leave", &query, Vec::new());
    left.await.context("Error force-leaving")?;
    Ok(0)
}

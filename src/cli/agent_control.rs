//! `reload`, `leave`, `join` and `monitor`: what concerns one agent as a whole.

use super::{catalog_options::CatalogOptions, context::Context, http::segment};
use anyhow::Context as _;
use futures_util::StreamExt as _;
use serde_json::Value;

/// Arguments of `reload`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Reload {
    #[command(flatten)]
    options: CatalogOptions,
}

/// Arguments of `leave`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Leave {
    #[command(flatten)]
    options: CatalogOptions,
}

/// Arguments of `join`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Join {
    #[command(flatten)]
    options: CatalogOptions,
    /// Join as a server of another datacenter
    #[arg(long)]
    wan: bool,
    /// Addresses of agents
    addresses: Vec<String>,
}

/// Arguments of `monitor`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Monitor {
    #[command(flatten)]
    options: CatalogOptions,
    /// trace, debug, info, warn or err
    #[arg(long, default_value = "INFO", value_name = "LEVEL")]
    log_level: String,
    /// Print lines as JSON
    #[arg(long)]
    log_json: bool,
}

pub(super) async fn reload(cx: &mut Context, arguments: &Reload) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let done = http.put_bytes::<Value>("/v1/agent/reload", &[], Vec::new());
    done.await.context("Error reloading")?;
    cx.print("Configuration reload triggered")?;
    Ok(0)
}

pub(super) async fn leave(cx: &mut Context, arguments: &Leave) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let done = http.put_bytes::<Value>("/v1/agent/leave", &[], Vec::new());
    done.await.context("Error leaving")?;
    cx.print("Graceful leave complete")?;
    Ok(0)
}

pub(super) async fn join(cx: &mut Context, arguments: &Join) -> anyhow::Result<u8> {
    if arguments.addresses.is_empty() {
        cx.complain("At least one address to join must be specified.");
        return Ok(1);
    }
    let http = arguments.options.http(cx)?;
    let query: &[(&str, &str)] = if arguments.wan { &[("wan", "1")] } else { &[] };
    let mut joined = 0;
    for address in &arguments.addresses {
        let path = format!("/v1/agent/join/{}", segment(address));
        match http.put_bytes::<Value>(&path, query, Vec::new()).await {
            Ok(_) => joined += 1,
            Err(error) => cx.complain(&format!("Error joining address '{address}': {error}")),
        }
    }
    if joined == 0 {
        cx.complain("Failed to join any nodes.");
        return Ok(1);
    }
    let text = format!("Successfully joined cluster by contacting {joined} nodes.");
    cx.print(&text)?;
    Ok(u8::from(joined < arguments.addresses.len()))
}

/// Prints until the agent stops or nobody reads any more.
pub(super) async fn monitor(cx: &mut Context, arguments: &Monitor) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let json = arguments.log_json.to_string();
    let query = [
        ("loglevel", arguments.log_level.as_str()),
        ("logjson", json.as_str()),
    ];
    let lines = http.stream("/v1/agent/monitor", &query).await;
    let mut lines = lines.context("Error starting monitor")?;
    while let Some(piece) = lines.next().await {
        let text = piece.context("Error reading the log")?;
        let text = String::from_utf8_lossy(&text);
        cx.print(text.trim_end_matches('\n'))?;
    }
    cx.complain("Remote side ended the monitor! This usually means that the remote side has exited or crashed.");
    Ok(0)
}

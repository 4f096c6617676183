//! `catalog …`: a file per command.

mod nodes;
mod services;

use super::{catalog_options::CatalogOptions, context::Context};

/// Look at nodes and services.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the datacenters
    Datacenters(Datacenters),
    /// List the nodes, or those of a service
    Nodes(nodes::Arguments),
    /// List the services, or those of a node
    Services(services::Arguments),
}

/// Arguments of `catalog datacenters`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Datacenters {
    #[command(flatten)]
    options: CatalogOptions,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Datacenters(arguments) => datacenters(cx, &arguments).await,
        Command::Nodes(arguments) => nodes::run(cx, &arguments).await,
        Command::Services(arguments) => services::run(cx, &arguments).await,
    }
}

async fn datacenters(cx: &mut Context, arguments: &Datacenters) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let names: Vec<String> = http.get("/v1/catalog/datacenters", &[]).await?;
    for name in names {
        cx.print(&name)?;
    }
    Ok(0)
}

/// The parameters that pick nodes: by distance, metadata and an expression.
fn picked<'a>(
    near: Option<&'a String>,
    metadata: &'a [String],
    filter: Option<&'a String>,
) -> Vec<(&'a str, &'a str)> {
    let near = near.map(|near| ("near", near.as_str()));
    let metadata = metadata.iter().map(|pair| ("node-meta", pair.as_str()));
    let filter = filter.map(|filter| ("filter", filter.as_str()));
    near.into_iter().chain(metadata).chain(filter).collect()
}

/// `key=value` as the API wants it.
fn node_meta(text: &str) -> Result<String, String> {
    text.split_once('=')
        .map(|(key, value)| format!("{key}:{value}"))
        .ok_or_else(|| "must be KEY=VALUE".to_owned())
}

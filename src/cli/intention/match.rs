//! `intention match`.

use super::Intention;
use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use std::collections::BTreeMap;

/// Arguments of `intention match`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// The name is that of a destination; so it is unless `-source` is given
    #[arg(long)]
    destination: bool,
    /// The name is that of a source
    #[arg(long)]
    source: bool,
    /// Name of a service
    names: Vec<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let [name] = arguments.names.as_slice() else {
        cx.complain("Error: command requires exactly one argument: src or dst");
        return Ok(1);
    };
    if arguments.source && arguments.destination {
        cx.complain("Error: only one of -source or -destination may be specified");
        return Ok(1);
    }
    let by = if arguments.source {
        "source"
    } else {
        "destination"
    };
    let http = arguments.options.http(cx)?;
    let query = arguments
        .options
        .read(&[("by", by), ("name", name.as_str())]);
    let found = http.get("/v1/connect/intentions/match", &query).await;
    let mut found: BTreeMap<String, Vec<Intention>> =
        found.context("Error matching the connection")?;
    for intention in found.remove(name).unwrap_or_default() {
        cx.print(&intention.line())?;
    }
    Ok(0)
}

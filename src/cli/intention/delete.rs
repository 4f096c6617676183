//! `intention delete`.

use super::Which;
use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use serde_json::Value;

/// Arguments of `intention delete`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Source and destination, or an id
    names: Vec<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Some(which) = Which::of(&arguments.names) else {
        cx.complain("Error: command requires exactly 1 or 2 arguments");
        return Ok(1);
    };
    let http = arguments.options.http(cx)?;
    let query = arguments.options.write(&which.query());
    let deleted = http.delete::<Value>(&which.path(), &query).await;
    deleted.context("Error deleting the intention")?;
    cx.print("Intention deleted.")?;
    Ok(0)
}

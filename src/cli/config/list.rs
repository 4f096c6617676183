//! `config list`.

use crate::{catalog_options::CatalogOptions, context::Context, http::segment};
use anyhow::Context as _;
use serde_json::Value;

/// Arguments of `config list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Kind of the entries
    #[arg(long)]
    kind: Option<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let kind = arguments.kind.as_ref().filter(|kind| !kind.is_empty());
    let Some(kind) = kind else {
        cx.complain("Must specify the -kind parameter");
        return Ok(1);
    };
    let http = arguments.options.http(cx)?;
    let path = format!("/v1/config/{}", segment(kind));
    let rows = http.get(&path, &arguments.options.read(&[])).await;
    let rows: Vec<Value> =
        rows.with_context(|| format!("Error listing config entries for kind {kind:?}"))?;
    for row in rows {
        cx.print(row["Name"].as_str().unwrap_or_default())?;
    }
    Ok(0)
}

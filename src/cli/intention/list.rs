//! `intention list`.

use super::Intention;
use crate::{catalog_options::CatalogOptions, context::Context, render::columns};
use anyhow::Context as _;

/// Arguments of `intention list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let query = arguments.options.read(&[]);
    let rows = http.get("/v1/connect/intentions", &query).await;
    let rows: Vec<Intention> = rows.context("Failed to retrieve the intentions list")?;
    if rows.is_empty() {
        cx.complain("There are no intentions.");
        return Ok(0);
    }
    let header = ["ID", "Source", "Action", "Destination", "Precedence"];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    lines.extend(rows.into_iter().map(|row| {
        vec![
            row.id,
            row.source_name,
            row.action,
            row.destination_name,
            row.precedence.to_string(),
        ]
    }));
    cx.print(&columns::sparse(&lines))?;
    Ok(0)
}

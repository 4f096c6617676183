//! `intention check`.

use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use serde::Deserialize;

/// Arguments of `intention check`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Source and destination
    names: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    allowed: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let [source, destination] = arguments.names.as_slice() else {
        cx.complain("Error: command requires exactly two arguments: src and dst");
        return Ok(2);
    };
    let http = arguments.options.http(cx)?;
    let pair = [
        ("source", source.as_str()),
        ("destination", destination),
        ("source-type", "consul"),
    ];
    let query = arguments.options.read(&pair);
    let answer = http.get("/v1/connect/intentions/check", &query).await;
    let answer: Answer = answer.context("Error checking the connection")?;
    cx.print(if answer.allowed { "Allowed" } else { "Denied" })?;
    Ok(u8::from(!answer.allowed))
}

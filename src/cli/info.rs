//! `info`: figures of the agent.

use super::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Arguments of `info`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
}

/// The agent, as far as its figures go.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Agent {
    stats: BTreeMap<String, BTreeMap<String, String>>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let agent = http.get("/v1/agent/self", &[]).await;
    let agent: Agent = agent.context("Error querying agent")?;
    let mut text = String::new();
    for (section, figures) in &agent.stats {
        // Writing to a text cannot fail.
        let _written = writeln!(text, "{section}:");
        for (name, value) in figures {
            let _written = writeln!(text, "\t{name} = {value}");
        }
    }
    cx.print(text.trim_end())?;
    Ok(0)
}

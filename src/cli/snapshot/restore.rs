//! `snapshot restore`.

use super::file;
use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use serde_json::Value;
use std::path::PathBuf;

/// Arguments of `snapshot restore`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// File with the snapshot
    file: Option<PathBuf>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Some(path) = file(cx, arguments.file.as_ref()) else {
        return Ok(1);
    };
    let name = path.display();
    let archive =
        std::fs::read(path).with_context(|| format!("Error opening snapshot file `{name}`"))?;
    let http = arguments.options.http(cx)?;
    let query = arguments.options.write(&[]);
    let restored = http.put_bytes::<Value>("/v1/snapshot", &query, archive);
    restored.await.context("Error restoring snapshot")?;
    cx.print("Restored snapshot")?;
    Ok(0)
}

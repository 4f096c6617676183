//! `kv import`.

use super::{data, path, plain};
use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use mesh::wire::KvExport;

/// Arguments of `kv import`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Put this before every key
    #[arg(long, default_value = "")]
    prefix: String,
    /// What `kv export` printed; `@file` for a file, `-` for standard input
    data: Option<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let given = arguments.data.as_ref();
    let text = data(given.context("Error! Missing DATA argument")?)?;
    let entries: Vec<KvExport> = serde_json::from_slice(&text).context("Cannot unmarshal data")?;
    // Everything is looked at before anything is written.
    let mut pairs = Vec::with_capacity(entries.len());
    for entry in entries {
        let value = entry.bytes();
        let value =
            value.with_context(|| format!("Error base64 decoding value for key {}", entry.key))?;
        pairs.push((joined(&arguments.prefix, &entry.key), entry.flags, value));
    }
    for (key, flags, value) in pairs {
        let flags = flags.to_string();
        let more = [("flags", flags.as_str())];
        let query = arguments.options.write(&more);
        let written: bool = http
            .put_bytes(&path(&key), &query, value)
            .await
            .with_context(|| format!("Error! Failed writing data for key {key}"))?;
        anyhow::ensure!(written, "Error! Failed writing data for key {key}");
        cx.print(&format!("Imported: {key}"))?;
    }
    Ok(0)
}

/// The key below the prefix.
fn joined(prefix: &str, key: &str) -> String {
    match plain(prefix).trim_end_matches('/') {
        "" => plain(key).to_owned(),
        prefix => format!("{prefix}/{}", plain(key)),
    }
}

//! `config read`.

use super::entry;
use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use serde::Serialize as _;
use serde_json::Value;

/// Arguments of `config read`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Kind of the entry
    #[arg(long)]
    kind: Option<String>,
    /// Name of the entry
    #[arg(long)]
    name: Option<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Some((kind, name, path)) = entry(cx, arguments.kind.as_ref(), arguments.name.as_ref())
    else {
        return Ok(1);
    };
    let http = arguments.options.http(cx)?;
    let found = http.get_value(&path, &arguments.options.read(&[])).await;
    let found: Value =
        found.with_context(|| format!("Error reading config entry {kind}/{name}"))?;
    cx.print(&indented(&found)?)?;
    Ok(0)
}

/// JSON with four spaces, as people know it from here.
fn indented(value: &Value) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut text, formatter,
    ))?;
    Ok(String::from_utf8(text)?)
}

//! `config write`.

use crate::{catalog_options::CatalogOptions, context::Context, definition_file};
use anyhow::Context as _;
use serde_json::Value;

/// Arguments of `config write`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Only when the entry has the version in `-modify-index`; 0 for none yet
    #[arg(long)]
    cas: bool,
    /// Version for `-cas`
    #[arg(long, default_value_t = 0)]
    modify_index: u64,
    /// File with the entry as HCL or JSON; `-` for standard input
    file: Option<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Some(file) = &arguments.file else {
        cx.complain(
            "Must provide exactly one positional argument to specify the config entry to write",
        );
        return Ok(1);
    };
    let entry = definition_file::read(file)?;
    let field = |names: [&str; 2]| {
        let values = names.iter().map(|name| &entry[*name]);
        let mut texts = values.filter_map(Value::as_str);
        texts.next().unwrap_or_default().to_owned()
    };
    let (kind, name) = (field(["Kind", "kind"]), field(["Name", "name"]));
    let http = arguments.options.http(cx)?;
    let version = arguments.modify_index.to_string();
    let condition = [("cas", version.as_str())];
    let condition = if arguments.cas { &condition[..] } else { &[] };
    let query = arguments.options.write(condition);
    let written = http.put_value("/v1/config", &query, &entry).await;
    let written = written.with_context(|| format!("Error writing config entry {kind}/{name}"))?;
    if written == false {
        cx.complain(&format!("Config entry not updated: {kind}/{name}"));
        return Ok(1);
    }
    cx.print(&format!("Config entry written: {kind}/{name}"))?;
    Ok(0)
}

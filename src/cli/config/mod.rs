//! `config …`: a file per command.

mod list;
mod read;
mod write;

use super::{catalog_options::CatalogOptions, context::Context, http::segment};
use anyhow::Context as _;
use serde_json::Value;

/// Read and write configuration entries.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Remove an entry
    Delete(Delete),
    /// List the entries of a kind
    List(list::Arguments),
    /// Print an entry
    Read(read::Arguments),
    /// Write an entry
    Write(write::Arguments),
}

/// Arguments of `config delete`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Delete {
    #[command(flatten)]
    options: CatalogOptions,
    /// Only when the entry has the version in `-modify-index`
    #[arg(long)]
    cas: bool,
    /// Kind of the entry
    #[arg(long)]
    kind: Option<String>,
    /// Version for `-cas`
    #[arg(long, default_value_t = 0)]
    modify_index: u64,
    /// Name of the entry
    #[arg(long)]
    name: Option<String>,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Delete(arguments) => delete(cx, &arguments).await,
        Command::List(arguments) => list::run(cx, &arguments).await,
        Command::Read(arguments) => read::run(cx, &arguments).await,
        Command::Write(arguments) => write::run(cx, &arguments).await,
    }
}

/// Where an entry is; none after it was said what is missing.
fn entry<'a>(
    cx: &mut Context,
    kind: Option<&'a String>,
    name: Option<&'a String>,
) -> Option<(&'a str, &'a str, String)> {
    let Some(kind) = kind.filter(|kind| !kind.is_empty()) else {
        cx.complain("Must specify the -kind parameter");
        return None;
    };
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        cx.complain("Must specify the -name parameter");
        return None;
    };
    let path = format!("/v1/config/{}/{}", segment(kind), segment(name));
    Some((kind, name, path))
}

async fn delete(cx: &mut Context, arguments: &Delete) -> anyhow::Result<u8> {
    let Some((kind, name, path)) = entry(cx, arguments.kind.as_ref(), arguments.name.as_ref())
    else {
        return Ok(1);
    };
    let http = arguments.options.http(cx)?;
    let version = arguments.modify_index.to_string();
    let condition = [("cas", version.as_str())];
    let condition = if arguments.cas { &condition[..] } else { &[] };
    let query = arguments.options.write(condition);
    let deleted = http.delete(&path, &query).await;
    let deleted: Value =
        deleted.with_context(|| format!("Error deleting config entry {kind}/{name}"))?;
    if deleted == false {
        cx.complain(&format!("Config entry not deleted: {kind}/{name}"));
        return Ok(1);
    }
    cx.print(&format!("Config entry deleted: {kind}/{name}"))?;
    Ok(0)
}

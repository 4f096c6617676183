//! `snapshot save`.

use super::{file, read};
use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::Context as _;
use serde_json::Value;
use std::path::{Path, PathBuf};
use sys::files::{Durability, write_atomic};

/// Arguments of `snapshot save`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// What to put into the name of the file: any of `version`, `dc`, `node` and `status`, joined
    /// by commas
    #[arg(
        long,
        value_name = "WORDS",
        default_value = "",
        hide_default_value = true
    )]
    append_filename: String,
    /// File to write
    file: Option<PathBuf>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Some(path) = file(cx, arguments.file.as_ref()) else {
        return Ok(1);
    };
    let http = arguments.options.http(cx)?;
    let words: Vec<&str> = arguments.append_filename.split(',').collect();
    let path = if arguments.append_filename.is_empty() {
        path.to_path_buf()
    } else {
        let agent: Value = http.get("/v1/agent/self", &[]).await?;
        named(path, &words, &agent, arguments.options.is_stale())
    };
    let query = arguments.options.read(&[]);
    let archive = http.get_bytes("/v1/snapshot", &query).await;
    let archive = archive.context("Error requesting snapshot")?;
    let name = path.display();
    write_atomic(&path, &archive, Durability::Power)
        .with_context(|| format!("Error writing snapshot file `{name}`"))?;
    let index = read(&path)
        .context("Error verifying snapshot file")?
        .meta
        .index;
    cx.print(&format!("Saved and verified snapshot to index {index}"))?;
    Ok(0)
}

/// The file's name with what was asked for before its extension.
fn named(path: &Path, words: &[&str], agent: &Value, is_stale: bool) -> PathBuf {
    let config = |key: &str| agent["Config"][key].as_str().unwrap_or_default().to_owned();
    let parts = words.iter().filter_map(|word| match *word {
        "version" => Some(config("Version")),
        "dc" => Some(config("Datacenter")),
        "node" => Some(config("NodeName")),
        "status" => Some(if is_stale { "follower" } else { "leader" }.to_owned()),
        _ => None,
    });
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut name = stem.into_owned();
    for part in parts {
        name.push('-');
        name.push_str(&part);
    }
    if let Some(extension) = path.extension() {
        name.push('.');
        name.push_str(&extension.to_string_lossy());
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_files_say_what_was_asked_for() {
        let agent = json!({"Config": {"Version": "1.22.0", "Datacenter": "dc1", "NodeName": "n"}});
        let name = |words: &[&str]| named(Path::new("/tmp/q.tgz"), words, &agent, false);
        assert_eq!(
            name(&["version", "dc", "node", "status", "other"]),
            Path::new("/tmp/q-1.22.0-dc1-n-leader.tgz")
        );
        assert_eq!(name(&[]), Path::new("/tmp/q.tgz"));
    }
}

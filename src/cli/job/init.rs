//! `job init`.

use super::super::context::Context;
use anyhow::{Context as _, bail};
use std::io::Write as _;

/// Where the example is written unless told otherwise.
const DEFAULT_FILE: &str = "example.nomad.hcl";
const EXAMPLE: &str = include_str!("example.nomad.hcl");
const EXAMPLE_SHORT: &str = include_str!("example-short.nomad.hcl");

/// Arguments of `job init`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// File to write
    #[arg(default_value = DEFAULT_FILE)]
    file: String,
    /// Without comments
    #[arg(long)]
    short: bool,
}

pub(in super::super) fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let file = &arguments.file;
    let text = if arguments.short {
        EXAMPLE_SHORT
    } else {
        EXAMPLE
    };
    write_example(file, &format!("Job '{file}' already exists"), text)?;
    cx.print(&format!("Example job file written to {file}"))?;
    Ok(0)
}

/// Writes an example into a new file; one that is there is refused as `exists`.
pub(in super::super) fn write_example(file: &str, exists: &str, text: &str) -> anyhow::Result<()> {
    let created = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file);
    let mut created = match created {
        Ok(created) => created,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{exists}");
        }
        Err(error) => bail!("Failed to write '{file}': {error}"),
    };
    created
        .write_all(text.as_bytes())
        .with_context(|| format!("Failed to write '{file}'"))
}

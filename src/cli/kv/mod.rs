//! `kv …`: a file per command.

mod delete;
mod export;
mod get;
mod import;
mod put;

use std::io::Read as _;

use anyhow::Context as _;

use super::context::Context;
use super::http::segments;

/// Read and write keys.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Delete a key, or all keys with a prefix
    Delete(delete::Arguments),
    /// Print keys with their values as JSON
    Export(export::Arguments),
    /// Print the value of a key
    Get(get::Arguments),
    /// Write keys that were exported
    Import(import::Arguments),
    /// Write a key
    Put(put::Arguments),
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Delete(arguments) => delete::run(cx, &arguments).await,
        Command::Export(arguments) => export::run(cx, &arguments).await,
        Command::Get(arguments) => get::run(cx, &arguments).await,
        Command::Import(arguments) => import::run(cx, &arguments).await,
        Command::Put(arguments) => put::run(cx, &arguments).await,
    }
}

/// The key that is meant: people begin it with a slash, which no key can.
fn plain(key: &str) -> &str {
    key.strip_prefix('/').unwrap_or(key)
}

/// The key that is meant, where one is needed.
fn required(key: Option<&String>) -> anyhow::Result<&str> {
    let key = key.map(|key| plain(key)).filter(|key| !key.is_empty());
    key.context("Error! Missing KEY argument")
}

fn path(key: &str) -> String {
    format!("/v1/kv/{}", segments(key))
}

/// What an argument stands for: `@file` for a file, `-` for standard input, else itself; `\@` and
/// `\-` for what begins so.
fn data(argument: &str) -> anyhow::Result<Vec<u8>> {
    if let Some(file) = argument.strip_prefix('@') {
        return std::fs::read(file)
            .with_context(|| format!("Error! Failed to read file: `{file}`"));
    }
    if argument == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("Error! Failed to read stdin")?;
        return Ok(bytes);
    }
    let text = match argument.strip_prefix('\\') {
        Some(rest) if rest.starts_with(['@', '-']) => rest,
        _ => argument,
    };
    Ok(text.as_bytes().to_vec())
}

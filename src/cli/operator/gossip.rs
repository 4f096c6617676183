//! `operator gossip keyring …`: the keys that seal what servers tell each other.

use crate::{context::Context, keygen, render::columns};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Look after what servers tell each other.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Look after the keys that seal it
    #[command(subcommand)]
    Keyring(Keyring),
}

/// Look after the keys that seal what servers tell each other.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Keyring {
    /// Make a key
    Generate,
    /// List the keys of all servers
    List,
    /// Let all servers understand a key
    Install(Key),
    /// Let all servers seal with a key that is installed
    Use(Key),
    /// Let no server understand a key any more
    Remove(Key),
}

/// A key.
#[derive(Clone, Debug, clap::Args)]
pub struct Key {
    /// The key, base64
    key: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    keys: BTreeMap<String, usize>,
    num_nodes: usize,
}

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    let Command::Keyring(command) = command;
    let (said, verb, key) = match command {
        Keyring::Generate => return keygen::run(cx),
        Keyring::List => return list(cx).await,
        Keyring::Install(key) => ("Installing new gossip encryption key...", "install", key),
        Keyring::Use(key) => ("Changing primary gossip encryption key...", "use", key),
        Keyring::Remove(key) => ("Removing gossip encryption key...", "remove", key),
    };
    cx.print(said)?;
    let path = format!("/v1/agent/keyring/{verb}");
    let _: Value = cx
        .http
        .put(&path, &[], &json!({ "Key": key.key }))
        .await
        .context("error")?;
    Ok(0)
}

async fn list(cx: &mut Context) -> anyhow::Result<u8> {
    cx.print("Gathering installed encryption keys...\n")?;
    let answer: Answer = cx
        .http
        .get("/v1/agent/keyring/list", &[])
        .await
        .context("error")?;
    let rows = answer
        .keys
        .into_iter()
        .map(|(key, count)| [key, format!("{count}/{}", answer.num_nodes)]);
    cx.print(&columns::table(["Key", "Servers"], rows.collect()))?;
    Ok(0)
}

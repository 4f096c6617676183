//! `operator root keyring …`: the keys that variables are encrypted with.

use crate::{context::Context, http::segment, render::columns, view::View};
use anyhow::{Context as _, bail};
use jobs::{
    model::{RootKeyState, Timestamp},
    wire::{RootKeyMeta, RootKeyRotateResponse},
};
use serde_json::Value;

/// Look after keys that encrypt.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Look after the keys that variables are encrypted with
    #[command(subcommand)]
    Keyring(Keyring),
}

/// Look after the keys that variables are encrypted with.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Keyring {
    /// List the keys
    List(ListArguments),
    /// Make a new key, which encrypts from now on
    Rotate(RotateArguments),
    /// Remove a key
    Remove(RemoveArguments),
}

/// Arguments of `operator root keyring list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListArguments {
    /// Print whole ids
    #[arg(long)]
    verbose: bool,
}

/// Arguments of `operator root keyring rotate`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RotateArguments {
    /// Encrypt what is there already with the new key, too
    #[arg(long)]
    full: bool,
    /// Use the new key at once
    #[arg(long)]
    now: bool,
    /// Publish the new key for so long before it is used
    #[arg(long, value_name = "DURATION")]
    prepublish: Option<String>,
    /// Print whole ids
    #[arg(long)]
    verbose: bool,
}

/// Arguments of `operator root keyring remove`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RemoveArguments {
    /// Also when variables can be read with no other
    #[arg(long)]
    force: bool,
    /// Id of the key, or the start of it
    key: String,
}

const PATH: &str = "/v1/operator/keyring/keys";

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    let Command::Keyring(command) = command;
    match command {
        Keyring::List(arguments) => {
            let keys: Vec<RootKeyMeta> = cx.http.get(PATH, &[]).await.context("error")?;
            cx.print(&table(&cx.view(arguments.verbose), &keys))?;
            Ok(0)
        }
        Keyring::Rotate(arguments) => rotate(cx, &arguments).await,
        Keyring::Remove(arguments) => remove(cx, &arguments).await,
    }
}

async fn rotate(cx: &mut Context, arguments: &RotateArguments) -> anyhow::Result<u8> {
    if arguments.now == arguments.prepublish.is_some() {
        bail!(
            "One of -now and -prepublish must be given: -now uses the new key at once, \
             -prepublish DURATION publishes it for so long first"
        );
    }
    if arguments.prepublish.is_some() {
        bail!(
            "-prepublish: this version signs nothing with root keys, so there is nothing to publish; use -now"
        );
    }
    let full: &[(&str, &str)] = if arguments.full {
        &[("full", "true")]
    } else {
        &[]
    };
    let path = "/v1/operator/keyring/rotate";
    let rotated: RootKeyRotateResponse = cx
        .http
        .put(path, full, &Value::Null)
        .await
        .context("error")?;
    cx.print(&table(&cx.view(arguments.verbose), &[rotated.key]))?;
    Ok(0)
}

async fn remove(cx: &mut Context, arguments: &RemoveArguments) -> anyhow::Result<u8> {
    let keys: Vec<RootKeyMeta> = cx.http.get(PATH, &[]).await.context("error")?;
    let wanted = arguments.key.to_ascii_lowercase();
    let found: Vec<RootKeyMeta> = keys
        .into_iter()
        .filter(|key| key.key_id.to_string().starts_with(&wanted))
        .collect();
    let id = match found.as_slice() {
        [] => bail!("No encryption key(s) with prefix or ID {wanted:?} found"),
        [key] => key.key_id,
        several => bail!(
            "Prefix matched multiple keys\n\n{}",
            table(&cx.view(true), several)
        ),
    };
    let force: &[(&str, &str)] = if arguments.force {
        &[("force", "true")]
    } else {
        &[]
    };
    let path = format!("/v1/operator/keyring/key/{}", segment(id));
    let _: Value = cx.http.delete(&path, force).await.context("error")?;
    cx.print(&format!("Removed encryption key {id}"))?;
    Ok(0)
}

fn table(view: &View, keys: &[RootKeyMeta]) -> String {
    let rows = keys.iter().map(|key| {
        let state = match key.state {
            RootKeyState::Active => "active",
            RootKeyState::Inactive => "inactive",
        };
        let published = if key.publish_time == Timestamp::default() {
            String::new()
        } else {
            view.time(key.publish_time)
        };
        [
            view.id(key.key_id),
            state.to_owned(),
            view.time(key.create_time),
            published,
        ]
    });
    columns::table(
        ["Key", "State", "Create Time", "Publish Time"],
        rows.collect(),
    )
}

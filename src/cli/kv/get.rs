//! `kv get`.

use super::{path, plain, required};
use crate::{
    catalog_options::CatalogOptions,
    context::Context,
    http::{Error, Http},
};
use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh::wire::KvPair;

/// Arguments of `kv get`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Print values as base64
    #[arg(long)]
    base64: bool,
    /// Print what is known of the key besides its value
    #[arg(long)]
    detailed: bool,
    /// Print the names of keys that start so, not their values
    #[arg(long)]
    keys: bool,
    /// Print all keys that start so
    #[arg(long)]
    recurse: bool,
    /// Where names end for `-keys`
    #[arg(long, default_value = "/")]
    separator: String,
    /// Key, or the start of keys
    key: Option<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let http = arguments.options.http(cx)?;
    let prefix = plain(arguments.key.as_deref().unwrap_or_default());
    if arguments.keys {
        let more = [("keys", ""), ("separator", arguments.separator.as_str())];
        let names: Vec<String> = read(&http, arguments, prefix, &more).await?;
        for name in names {
            cx.print(&name)?;
        }
        return Ok(0);
    }
    if arguments.recurse {
        let pairs: Vec<KvPair> = read(&http, arguments, prefix, &[("recurse", "")]).await?;
        for (ordinal, pair) in pairs.iter().enumerate() {
            show_one_of_many(cx, arguments, pair, ordinal > 0)?;
        }
        return Ok(0);
    }
    let key = required(arguments.key.as_ref())?;
    let pairs: Vec<KvPair> = read(&http, arguments, key, &[]).await?;
    let Some(pair) = pairs.first() else {
        cx.complain(&format!("Error! No key exists at: {key}"));
        return Ok(1);
    };
    if arguments.detailed {
        cx.print(&details(pair, arguments.base64))?;
    } else {
        show_value(cx, pair, arguments.base64)?;
    }
    Ok(0)
}

/// Reads rows; none for 404.
async fn read<T: serde::de::DeserializeOwned>(
    http: &Http,
    arguments: &Arguments,
    key: &str,
    more: &[(&str, &str)],
) -> anyhow::Result<Vec<T>> {
    let query = arguments.options.read(more);
    match http.get(&path(key), &query).await {
        Err(Error::Status { status: 404, .. }) => Ok(Vec::new()),
        answer => answer.context("Error querying the agent"),
    }
}

fn show_value(cx: &mut Context, pair: &KvPair, base64: bool) -> anyhow::Result<()> {
    let value = value(pair, base64);
    // A terminal must not be driven by what somebody stored.
    if cx.is_terminal() {
        return cx.print(&String::from_utf8_lossy(&value));
    }
    cx.write(&[value.as_slice(), b"\n"].concat())
}

fn show_one_of_many(
    cx: &mut Context,
    arguments: &Arguments,
    pair: &KvPair,
    is_later: bool,
) -> anyhow::Result<()> {
    if arguments.detailed {
        let gap = if is_later { "\n" } else { "" };
        return cx.print(&format!("{gap}{}", details(pair, arguments.base64)));
    }
    let value = value(pair, arguments.base64);
    if cx.is_terminal() {
        return cx.print(&format!("{}:{}", pair.key, String::from_utf8_lossy(&value)));
    }
    cx.write(&[pair.key.as_bytes(), b":", &value, b"\n"].concat())
}

fn value(pair: &KvPair, base64: bool) -> Vec<u8> {
    if base64 {
        STANDARD.encode(&pair.value).into_bytes()
    } else {
        pair.value.clone()
    }
}

fn details(pair: &KvPair, base64: bool) -> String {
    let session = pair.session.as_deref().unwrap_or("-");
    let value = value(pair, base64);
    let value = String::from_utf8_lossy(&value);
    let rows = [
        ("CreateIndex", pair.create_index.to_string()),
        ("Flags", pair.flags.to_string()),
        ("Key", pair.key.clone()),
        ("LockIndex", pair.lock_index.to_string()),
        ("ModifyIndex", pair.modify_index.to_string()),
        ("Session", session.to_owned()),
        ("Value", value.into_owned()),
    ];
    rows.map(|(name, value)| format!("{name:<17}{value}"))
        .join("\n")
}

//! `kv put`.

use super::{data, path, required};
use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Arguments of `kv put`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Lock the key for the session
    #[arg(long)]
    acquire: bool,
    /// The value is base64
    #[arg(long)]
    base64: bool,
    /// Write only when the key was changed last at -modify-index
    #[arg(long)]
    cas: bool,
    /// Number to store beside the value
    #[arg(long, default_value_t = 0)]
    flags: u64,
    /// For -cas; 0 only creates the key
    #[arg(long, default_value_t = 0)]
    modify_index: u64,
    /// Unlock the key that the session holds
    #[arg(long)]
    release: bool,
    /// Id of the session for -acquire and -release
    #[arg(long, default_value = "")]
    session: String,
    /// Key
    key: Option<String>,
    /// Value; `@file` for a file, `-` for standard input
    #[arg(allow_hyphen_values = true)]
    value: Option<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let key = required(arguments.key.as_ref())?;
    let needs_session = arguments.acquire || arguments.release;
    if needs_session && arguments.session.is_empty() {
        bail!("Error! Missing -session (required with -acquire and -release)");
    }
    if arguments.modify_index > 0 && !arguments.cas {
        bail!("Error! Cannot use -modify-index without -cas");
    }
    let http = arguments.options.http(cx)?;
    let (flags, index) = (
        arguments.flags.to_string(),
        arguments.modify_index.to_string(),
    );
    let mut more = vec![("flags", flags.as_str())];
    let (wins, loses) = if arguments.cas {
        more.push(("cas", &index));
        let wins = format!("Success! Data written to: {key}");
        let reason = match arguments.modify_index {
            0 => "CAS performed with index=0 and key already exists.",
            _ => "CAS failed",
        };
        (wins, format!("Error! Did not write to {key}: {reason}"))
    } else if arguments.acquire {
        more.push(("acquire", &arguments.session));
        let wins = format!("Success! Lock acquired on: {key}");
        (wins, "Error! Did not acquire lock".to_owned())
    } else if arguments.release {
        more.push(("release", &arguments.session));
        let wins = format!("Success! Lock released on: {key}");
        (wins, format!("Error! Did not release lock: {key}"))
    } else {
        let wins = format!("Success! Data written to: {key}");
        (wins, format!("Error! Did not write to {key}"))
    };
    let query = arguments.options.write(&more);
    let done: bool = http
        .put_bytes(&path(key), &query, value(arguments)?)
        .await
        .context("Error! Failed writing data")?;
    if !done {
        cx.complain(&loses);
        return Ok(1);
    }
    cx.print(&wins)?;
    Ok(0)
}

fn value(arguments: &Arguments) -> anyhow::Result<Vec<u8>> {
    let bytes = data(arguments.value.as_deref().unwrap_or_default())?;
    if !arguments.base64 {
        return Ok(bytes);
    }
    STANDARD
        .decode(bytes)
        .context("Error! Cannot base 64 decode data")
}

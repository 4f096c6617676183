//! `kv delete`.

use super::{path, plain, required};
use crate::{catalog_options::CatalogOptions, context::Context};
use anyhow::{Context as _, bail};

/// Arguments of `kv delete`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Delete only when the key was changed last at -modify-index
    #[arg(long)]
    cas: bool,
    /// For -cas
    #[arg(long, default_value_t = 0)]
    modify_index: u64,
    /// Delete all keys that start so
    #[arg(long)]
    recurse: bool,
    /// Key, or the start of keys
    key: Option<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.cas && arguments.recurse {
        bail!("Cannot specify both -cas and -recurse!");
    }
    if arguments.modify_index > 0 && !arguments.cas {
        bail!("Cannot specify -modify-index without -cas!");
    }
    if arguments.cas && arguments.modify_index == 0 {
        bail!("Must specify a -modify-index greater than 0 with -cas!");
    }
    let http = arguments.options.http(cx)?;
    let key = if arguments.recurse {
        plain(arguments.key.as_deref().unwrap_or_default())
    } else {
        required(arguments.key.as_ref())?
    };
    let index = arguments.modify_index.to_string();
    let more: &[(&str, &str)] = match (arguments.recurse, arguments.cas) {
        (true, _) => &[("recurse", "")],
        (false, true) => &[("cas", &index)],
        (false, false) => &[],
    };
    let query = arguments.options.write(more);
    let done: bool = http
        .delete(&path(key), &query)
        .await
        .with_context(|| format!("Error! Did not delete key {key}"))?;
    if !done {
        cx.complain(&format!("Error! Did not delete key {key}: CAS failed"));
        return Ok(1);
    }
    cx.print(&if arguments.recurse {
        format!("Success! Deleted keys with prefix: {key}")
    } else {
        format!("Success! Deleted key: {key}")
    })?;
    Ok(0)
}

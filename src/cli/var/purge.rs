//! `var purge`.

use super::{explain_conflict, one_namespace, path};
use crate::context::Context;
use anyhow::Context as _;
use serde_json::Value;

/// Arguments of `var purge`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Remove it only when it was changed last at this index
    #[arg(long, value_name = "INDEX")]
    check_index: Option<u64>,
    /// Path
    path: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    one_namespace(cx)?;
    let index = arguments.check_index.map(|index| index.to_string());
    let query: Vec<(&str, &str)> = index.iter().map(|index| ("cas", index.as_str())).collect();
    let path = path(&arguments.path);
    let answer = cx.http.delete::<Value>(&path, &query).await;
    if let Err(error) = answer {
        let asked = arguments.check_index.unwrap_or_default();
        return explain_conflict(cx, asked, error).context("Error purging variable");
    }
    cx.print(&format!(
        "Successfully purged variable {:?}!",
        arguments.path
    ))?;
    Ok(0)
}

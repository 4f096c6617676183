//! `service list`.

use super::{Names, table};
use crate::{context::Context, http::decode, structured::Structured};
use anyhow::Context as _;

/// Arguments of `service list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let path = "/v1/services";
    let value = cx.http.get_value(path, &[]).await;
    let value = value.context("Error listing service registrations")?;
    if value.as_array().is_some_and(Vec::is_empty) {
        cx.print("No service registrations found")?;
        return Ok(0);
    }
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let found: Vec<Names> = decode(path, value)?;
    let all_namespaces = cx.namespace.as_deref() == Some("*");
    cx.print(&table(&found, all_namespaces))?;
    Ok(0)
}

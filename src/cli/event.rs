//! `event`: fires an event.

use super::{catalog_options::CatalogOptions, context::Context, http::segment};
use anyhow::Context as _;
use serde::Deserialize;

/// Arguments of `event`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: CatalogOptions,
    /// Name of the event
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only for nodes whose name matches this pattern
    #[arg(long, default_value = "", hide_default_value = true)]
    node: String,
    /// Only for nodes that run a service whose name matches this pattern
    #[arg(long, default_value = "", hide_default_value = true)]
    service: String,
    /// Only for services with a tag that matches this pattern
    #[arg(long, default_value = "", hide_default_value = true)]
    tag: String,
    /// What the event carries
    payload: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Fired {
    #[serde(rename = "ID")]
    id: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let name = arguments.name.as_ref().filter(|name| !name.is_empty());
    let Some(name) = name else {
        cx.complain("Event name must be specified");
        return Ok(1);
    };
    if !arguments.tag.is_empty() && arguments.service.is_empty() {
        cx.complain("Cannot provide tag filter without service filter.");
        return Ok(1);
    }
    let http = arguments.options.http(cx)?;
    let filters = [
        ("node", arguments.node.as_str()),
        ("service", arguments.service.as_str()),
        ("tag", arguments.tag.as_str()),
    ];
    let filters = filters.into_iter().filter(|(_, text)| !text.is_empty());
    let filters: Vec<(&str, &str)> = filters.collect();
    let query = arguments.options.write(&filters);
    let path = format!("/v1/event/fire/{}", segment(name));
    let payload = arguments.payload.clone().unwrap_or_default().into_bytes();
    let fired = http.put_bytes(&path, &query, payload).await;
    let fired: Fired = fired.context("Error firing event")?;
    cx.print(&format!("Event ID: {}", fired.id))?;
    Ok(0)
}

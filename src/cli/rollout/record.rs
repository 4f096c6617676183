//! `rollout record`.

use crate::{context::Context, http::segment, lookup};
use anyhow::Context as _;

/// Arguments of `rollout record`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Deployment id or its beginning, or the name of the job
    of: String,
    /// Task group; the first with canaries without it
    #[arg(long, default_value = "")]
    group: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let current = lookup::deployment_or_job(cx, &arguments.of).await?;
    let path = format!("/v1/trivet/rollout/{}/record", segment(current.id));
    let mut query = Vec::new();
    if !arguments.group.is_empty() {
        query.push(("group", arguments.group.as_str()));
    }
    let http = cx.http.in_namespace(&current.namespace);
    let bytes = http.get_bytes(&path, &query).await;
    let bytes = bytes.context("Error querying the record")?;
    cx.print(String::from_utf8_lossy(&bytes).trim_end())?;
    Ok(0)
}

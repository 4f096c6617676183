//! `service delete`.

use crate::{context::Context, http::segment};
use anyhow::Context as _;
use serde_json::Value;

/// Arguments of `service delete`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Name of the service
    name: String,
    /// Id of the instance
    id: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Arguments { name, id } = arguments;
    let path = format!("/v1/service/{}/{}", segment(name), segment(id));
    let _: Value = cx
        .http
        .delete(&path, &[])
        .await
        .context("Error deleting service registration")?;
    cx.print("Successfully deleted service registration")?;
    Ok(0)
}

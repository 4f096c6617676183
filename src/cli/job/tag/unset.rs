//! `job tag unset`.

use crate::{context::Context, lookup};
use anyhow::Context as _;
use jobs::wire::JobTagResponse;

/// Arguments of `job tag unset`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Name to take away
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    name: String,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    super::path("", &arguments.name)?;
    let job = lookup::job(cx, &arguments.job).await?;
    let path = super::path(&job.id, &arguments.name)?;
    let _: JobTagResponse = cx
        .http
        .in_namespace(&job.namespace)
        .delete(&path, &[])
        .await
        .context("Error tagging job version")?;
    cx.print(&format!(
        "Tag \"{}\" removed from job \"{}\"",
        arguments.name, arguments.job
    ))?;
    Ok(0)
}

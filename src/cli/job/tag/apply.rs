//! `job tag apply`.

use crate::{context::Context, lookup};
use anyhow::Context as _;
use jobs::model::Job;
use jobs::wire::{JobTagResponse, TagVersionRequest};

/// Arguments of `job tag apply`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Name of the version
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    name: String,
    /// What is special about the version
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    description: String,
    /// Version to name; the current one unless given
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    super::path("", &arguments.name)?;
    let job = lookup::job(cx, &arguments.job).await?;
    let http = cx.http.in_namespace(&job.namespace);
    let path = super::path(&job.id, &arguments.name)?;
    let version = match &arguments.version {
        Some(text) => text
            .parse()
            .with_context(|| format!("Error parsing version: `{text}`"))?,
        None => {
            let path = format!("/v1/job/{}", crate::http::segment(&job.id));
            let current: Job = http
                .get(&path, &[])
                .await
                .context("Error retrieving job versions")?;
            current.version
        }
    };
    let request = TagVersionRequest {
        version,
        latest: false,
        description: arguments.description.clone(),
    };
    let _: JobTagResponse = http
        .put(&path, &[], &request)
        .await
        .context("Error tagging job version")?;
    cx.print(&format!(
        "Job version {version} tagged with name \"{}\"",
        arguments.name
    ))?;
    Ok(0)
}

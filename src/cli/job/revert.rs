//! `job revert`: goes back to an earlier version.

use crate::{context::Context, http::segment, lookup};
use anyhow::Context as _;
use jobs::wire::{JobRegisterResponse, JobRevertRequest};

/// Arguments of `job revert`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Version to go back to, or its name
    version: String,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let job = lookup::job(cx, &arguments.job).await?;
    let http = cx.http.in_namespace(&job.namespace);
    let version = match arguments.version.parse() {
        Ok(version) => version,
        Err(_) => super::history::named(&http, &job.id, &arguments.version)
            .await
            .context("Error retrieving job versions")?,
    };
    let request = JobRevertRequest {
        job_id: job.id.clone(),
        job_version: version,
        enforce_prior_version: None,
    };
    let answer: JobRegisterResponse = http
        .put(
            &format!("/v1/job/{}/revert", segment(&job.id)),
            &[],
            &request,
        )
        .await
        .context("Error retrieving job versions")?;
    super::follow(
        cx,
        &http,
        answer.eval_id,
        arguments.detach,
        arguments.verbose,
    )
    .await
}

//! `job promote`.

use super::super::context::Context;
use super::super::deployment::{Ways, promote::promote};
use super::super::http::segment;
use super::super::lookup;
use anyhow::{Context as _, bail};
use jobs::model::Deployment;

/// Arguments of `job promote`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Promote this group only; may be repeated
    #[arg(long)]
    group: Vec<String>,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let job = lookup::job(cx, &arguments.job).await?;
    let latest: Option<Deployment> = cx
        .http
        .in_namespace(&job.namespace)
        .get(&format!("/v1/job/{}/deployment", segment(&job.id)), &[])
        .await
        .context("Error retrieving deployment")?;
    let Some(latest) = latest else {
        bail!("Job {:?} has no deployment to promote", job.id);
    };
    let ways = Ways {
        detach: arguments.detach,
        verbose: arguments.verbose,
    };
    let promoting = format!(
        "Error promoting deployment {:?} for job {:?}",
        latest.id.to_string(),
        job.id
    );
    promote(cx, &latest, &arguments.group, ways, promoting).await
}

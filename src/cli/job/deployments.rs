//! `job deployments`.

use crate::{
    context::Context,
    http::{decode, segment},
    lookup,
    render::deployments,
    structured::Structured,
};
use anyhow::Context as _;
use jobs::model::Deployment;

/// Arguments of `job deployments`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Show only the newest one, in full
    #[arg(long)]
    latest: bool,
    /// Show also deployments of earlier jobs with this id
    #[arg(long)]
    all: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let job = lookup::job(cx, &arguments.job).await?;
    let http = cx.http.in_namespace(&job.namespace);
    let path = format!("/v1/job/{}", segment(&job.id));
    let retrieving = "Error retrieving deployments";
    let value = if arguments.latest {
        http.get_value(&format!("{path}/deployment"), &[]).await
    } else {
        let all = if arguments.all { "true" } else { "false" };
        http.get_value(&format!("{path}/deployments"), &[("all", all)])
            .await
    };
    let value = value.context(retrieving)?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let view = cx.view(arguments.verbose);
    let text = if arguments.latest {
        let latest: Option<Deployment> = decode(&path, value)?;
        match latest {
            Some(latest) => deployments::detail(&latest, &view),
            None => "No deployment found".to_owned(),
        }
    } else {
        let mut all: Vec<Deployment> = decode(&path, value)?;
        all.sort_by_key(|one| std::cmp::Reverse(one.create_index));
        deployments::list(&all, &view)
    };
    cx.print(&text)?;
    Ok(0)
}

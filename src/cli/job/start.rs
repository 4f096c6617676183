//! `job start`: undoes stops.

use super::super::{
    context::Context,
    http::{decode, segment},
    lookup,
};
use super::periodic::next_launch;
use anyhow::{Context as _, bail};
use jobs::{model::Job, wire::JobRegisterResponse};
use serde_json::{Value, json};

/// Arguments of `job start`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job ids or their beginnings
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let mut worst = 0;
    for id in &arguments.jobs {
        // One job that cannot be started does not keep the others from it.
        let code = match start(cx, id.trim(), arguments).await {
            Ok(code) => code,
            Err(error) if arguments.jobs.len() > 1 => {
                cx.complain(&format!("{error:#}"));
                1
            }
            Err(error) => return Err(error),
        };
        worst = worst.max(code);
    }
    Ok(worst)
}

async fn start(cx: &mut Context, id: &str, arguments: &Arguments) -> anyhow::Result<u8> {
    let found = lookup::job(cx, id).await?;
    let http = cx.http.in_namespace(&found.namespace);
    let path = format!("/v1/job/{}", segment(&found.id));
    let mut value = http
        .get_value(&path, &[])
        .await
        .context("Error querying job")?;
    let job: Job = decode(&path, value.clone())?;
    if !job.stop {
        bail!("Job {:?} has not been stopped", job.name);
    }
    value["Stop"] = Value::Bool(false);
    // The text that it was registered with still describes it; a job of the API has none.
    let version = job.version.to_string();
    let submission = http
        .get_value(&format!("{path}/submission"), &[("version", &version)])
        .await
        .unwrap_or_default();
    let request = json!({ "Job": value, "Submission": submission });
    let answer: JobRegisterResponse = http
        .put("/v1/jobs", &[], &request)
        .await
        .context("Error submitting job")?;
    if arguments.detach || answer.eval_id.is_none() {
        cx.print("Job start successful")?;
    }
    let next = job.periodic.as_ref().filter(|_| !job.is_parameterized());
    if let Some(next) = next.and_then(|periodic| next_launch(periodic, cx.view(false))) {
        cx.print(&format!("Approximate next launch time: {next}"))?;
    }
    let detach = arguments.detach;
    super::follow(cx, &http, answer.eval_id, detach, arguments.verbose).await
}

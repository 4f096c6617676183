//! `job eval`: evaluates a job again.

use crate::{context::Context, http::segment, lookup, view::quoted};
use anyhow::Context as _;
use jobs::wire::{EvalOptions, JobEvaluateRequest, JobRegisterResponse};

/// Arguments of `job eval`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Replace failed allocations whatever their policy says
    #[arg(long)]
    force_reschedule: bool,
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
    let request = JobEvaluateRequest {
        job_id: job.id.clone(),
        eval_options: EvalOptions {
            force_reschedule: arguments.force_reschedule,
        },
    };
    let answer: JobRegisterResponse = http
        .put(
            &format!("/v1/job/{}/evaluate", segment(&job.id)),
            &[],
            &request,
        )
        .await
        .context("Error evaluating job")?;
    if arguments.detach {
        let id = quoted(cx.view(arguments.verbose).id(answer.eval_id));
        cx.print(&format!("Created eval ID: {id}"))?;
        return Ok(0);
    }
    super::follow(cx, &http, answer.eval_id, false, arguments.verbose).await
}

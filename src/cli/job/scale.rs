//! `job scale`.

use super::super::context::Context;
use super::super::http::segment;
use super::super::lookup;
use super::run::warnings;
use anyhow::{Context as _, bail};
use jobs::wire::{JobRegisterResponse, JobScaleStatus, ScalingRequest};
use std::collections::BTreeMap;

/// What is recorded with the change.
const MESSAGE: &str = "submitted from the command line";

/// Arguments of `job scale`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Group, then count; the count alone when the job has one group
    #[arg(required = true, num_args = 1..=2, value_names = ["GROUP", "COUNT"])]
    target: Vec<String>,
    /// Scale only when the job's modify index is this
    #[arg(long, value_name = "INDEX")]
    check_index: Option<u64>,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let (group, count) = match arguments.target.as_slice() {
        [count] => (None, count),
        [group, count] => (Some(group.clone()), count),
        _ => bail!("Command requires at least two arguments and no more than three"),
    };
    let count: u32 = count
        .parse()
        .with_context(|| format!("Failed to convert count string to int: `{count}`"))?;
    let job = lookup::job(cx, &arguments.job).await?;
    let http = cx.http.in_namespace(&job.namespace);
    let path = format!("/v1/job/{}/scale", segment(&job.id));
    let status: JobScaleStatus = http.get(&path, &[]).await.context("Error querying job")?;
    let group = match group {
        Some(group) if status.task_groups.keys().any(|name| *name == group) => group,
        Some(group) => bail!("Group {group} not found within job"),
        None => only_group(&status)?,
    };
    let request = ScalingRequest {
        count: Some(i64::from(count)),
        target: BTreeMap::from([
            (ScalingRequest::TARGET_JOB.to_owned(), job.id.to_string()),
            (ScalingRequest::TARGET_GROUP.to_owned(), group),
        ]),
        message: MESSAGE.to_owned(),
        job_modify_index: arguments.check_index.unwrap_or(0),
        ..ScalingRequest::default()
    };
    let answer: JobRegisterResponse = http
        .put(&path, &[], &request)
        .await
        .context("Error submitting scaling request")?;
    if let Some(text) = warnings(cx, &answer.warnings) {
        cx.print(&text)?;
    }
    if arguments.detach || answer.eval_id.is_none() {
        cx.print("Job scale successful")?;
    }
    super::follow(
        cx,
        &http,
        answer.eval_id,
        arguments.detach,
        arguments.verbose,
    )
    .await
}

fn only_group(status: &JobScaleStatus) -> anyhow::Result<String> {
    let mut names = status.task_groups.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.to_string()),
        (None, _) => bail!("Job {:?} has no task groups", status.job_id),
        _ => {
            let names: Vec<&str> = status
                .task_groups
                .keys()
                .map(|name| name.as_str())
                .collect();
            bail!(
                "Group name required: job {:?} has {}",
                status.job_id,
                names.join(", ")
            )
        }
    }
}

//! `job run`.

use super::super::context::Context;
use super::super::hints::Page;
use super::super::http::Error;
use super::super::structured;
use super::super::view::Ink;
use super::periodic::next_launch;
use super::source::Source;
use anyhow::{Context as _, anyhow};
use jobs::model::DEFAULT_NAMESPACE;
use jobs::wire::{JobRegisterRequest, JobRegisterResponse};

/// The text of a refusal by `-check-index` begins so.
const ENFORCE_PREFIX: &str = "Enforcing job modify index";

/// Arguments of `job run`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Return as soon as the job is registered
    #[arg(long)]
    detach: bool,
    /// Register only when the job's modify index is this; 0 when it must not exist
    #[arg(long, value_name = "INDEX")]
    check_index: Option<u64>,
    /// Print the job as JSON and do not register it
    #[arg(long)]
    output: bool,
    /// Priority of the evaluation
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    eval_priority: Option<i32>,
    /// Keep the counts of groups that exist
    #[arg(long)]
    preserve_counts: bool,
    /// Keep the resources of tasks that exist
    #[arg(long)]
    preserve_resources: bool,
    /// Accepted for old scripts: there are no policies to override
    #[arg(long)]
    policy_override: bool,
    /// Namespace of the catalog that the job uses
    #[arg(long, value_name = "NAMESPACE")]
    consul_namespace: Option<String>,
    /// Namespace of Vault that the job uses
    #[arg(long, value_name = "NAMESPACE")]
    vault_namespace: Option<String>,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    /// Open its page of the web UI in the browser of this machine
    #[arg(long)]
    ui: bool,
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let mut loaded = arguments.source.load().await?;
    for (namespace, of_job) in [
        (
            &arguments.consul_namespace,
            &mut loaded.job.consul_namespace,
        ),
        (&arguments.vault_namespace, &mut loaded.job.vault_namespace),
    ] {
        if namespace.is_some() {
            of_job.clone_from(namespace);
        }
    }
    if arguments.output {
        let object = serde_json::json!({ "Job": loaded.job });
        cx.print(&structured::json(&object))?;
        return Ok(0);
    }
    let http = loaded.http(cx);
    let id = loaded.id().to_owned();
    let parameterized = loaded.job.parameterized_job.is_some();
    let periodic = loaded.job.periodic.clone().filter(|_| !parameterized);
    let namespace = http.namespace().unwrap_or(DEFAULT_NAMESPACE).to_owned();
    let request = JobRegisterRequest {
        job: Some(Box::new(loaded.job)),
        submission: loaded.submission,
        enforce_index: arguments.check_index.is_some(),
        job_modify_index: arguments.check_index.unwrap_or(0),
        preserve_counts: arguments.preserve_counts,
        preserve_resources: arguments.preserve_resources,
        eval_priority: arguments.eval_priority.unwrap_or(0),
        policy_override: arguments.policy_override,
        ..JobRegisterRequest::default()
    };
    let answer: JobRegisterResponse = match http.put("/v1/jobs", &[], &request).await {
        Ok(answer) => answer,
        Err(error) => return Err(refused(error)),
    };
    if let Some(text) = warnings(cx, &answer.warnings) {
        cx.print(&text)?;
    }
    if arguments.detach || answer.eval_id.is_none() {
        cx.print("Job registration successful")?;
    }
    if let Some(periodic) = periodic.filter(|_| answer.eval_id.is_none())
        && let Some(next) = next_launch(&periodic, cx.view(false))
    {
        cx.print(&format!("Approximate next launch time: {next}"))?;
    }
    let page = Page::ChangedJob {
        id: &id,
        namespace: &namespace,
    };
    let Some(eval_id) = answer.eval_id.filter(|_| !arguments.detach) else {
        let code = super::follow(cx, &http, answer.eval_id, true, arguments.verbose).await?;
        cx.hint_or_open(page, arguments.ui).await;
        return Ok(code);
    };
    cx.hint_or_open(page, arguments.ui).await;
    super::follow(cx, &http, Some(eval_id), false, arguments.verbose).await
}

fn refused(error: Error) -> anyhow::Error {
    if let Error::Status { body, .. } = &error
        && let Some(at) = body.find(ENFORCE_PREFIX)
    {
        let text = body.get(at..).unwrap_or_default();
        return anyhow!("{}\nJob not updated", text.trim());
    }
    Err::<(), _>(error)
        .context("Error submitting job")
        .err()
        .unwrap_or_else(|| anyhow!("Error submitting job"))
}

/// The block that shows what the servers found doubtful; none when they found nothing.
pub(super) fn warnings(cx: &Context, text: &str) -> Option<String> {
    let text = text.trim_end();
    if text.is_empty() {
        return None;
    }
    let paint = cx.view(false).paint;
    Some(format!(
        "{}\n",
        paint.ink(Ink::Yellow, &format!("Job Warnings:\n{text}"))
    ))
}

//! `job status`: all jobs as a list, or one in full.

use super::{
    children,
    detail::{self, Parts},
};
use crate::{
    context::Context,
    hints::Page,
    http::{Http, decode, segment},
    lookup,
    render::jobs::list,
    structured::Structured,
};
use anyhow::Context as _;
use jobs::model::{EvalId, Evaluation, Job};
use jobs::wire::{AllocationListStub, JobListStub};
use std::collections::BTreeMap;

/// Arguments of `job status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning; without one, all are listed
    job: Option<String>,
    /// Show the head only
    #[arg(long)]
    short: bool,
    /// Show the evaluations
    #[arg(long)]
    evals: bool,
    /// Show also allocations of earlier jobs with this id
    #[arg(long)]
    all_allocs: bool,
    /// Show full ids, absolute times and the evaluations
    #[arg(long)]
    verbose: bool,
    /// Open its page of the web UI in the browser of this machine
    #[arg(long)]
    ui: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(crate) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let Some(id) = &arguments.job else {
        return list_all(cx, arguments).await;
    };
    let found = lookup::job(cx, id).await?;
    let http = cx.http.in_namespace(&found.namespace);
    let path = format!("/v1/job/{}", segment(&found.id));
    let value = http
        .get_value(&path, &[])
        .await
        .context("Error querying job")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let job: Job = decode(&path, value)?;
    let view = cx.view(arguments.verbose);
    cx.print(&detail::head(&job, &view))?;
    if job.is_parent() && !arguments.short {
        children::show(cx, &http, &path, &job, &view).await?;
    } else if !arguments.short {
        let parts = Parts::fetch(&http, &path, arguments.all_allocs).await?;
        let evals = arguments.evals || arguments.verbose;
        cx.print(&detail::body(&parts, evals, &view))?;
    }
    let (id, namespace) = (&job.id, &job.namespace);
    cx.hint_or_open(Page::Job { id, namespace }, arguments.ui)
        .await;
    Ok(0)
}

/// Shows the job with this id, or lists all.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn show(
    cx: &mut Context,
    job: Option<String>,
    verbose: bool,
) -> anyhow::Result<u8> {
    let arguments = Arguments {
        job,
        verbose,
        ..Arguments::default()
    };
    run(cx, &arguments).await
}

async fn list_all(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let value = cx.http.get_value("/v1/jobs", &[]).await;
    let value = value.context("Error querying jobs")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let mut jobs: Vec<JobListStub> = decode("/v1/jobs", value)?;
    if jobs.is_empty() {
        cx.print("No running jobs")?;
        cx.hint_or_open(Page::Jobs, arguments.ui).await;
        return Ok(0);
    }
    jobs.sort_by(|a, b| (&a.id, &a.namespace).cmp(&(&b.id, &b.namespace)));
    let all_namespaces = cx.namespace.as_deref() == Some("*");
    let text = list(&jobs, all_namespaces, &cx.view(arguments.verbose));
    cx.print(&text)?;
    cx.hint_or_open(Page::Jobs, arguments.ui).await;
    Ok(0)
}

/// Follow-up evaluations read for one status.
const FOLLOWUPS_MAX: usize = 32;

impl Parts {
    async fn fetch(http: &Http, path: &str, all_allocs: bool) -> anyhow::Result<Self> {
        let all = if all_allocs { "true" } else { "false" };
        let mut allocs: Vec<AllocationListStub> = http
            .get(&format!("{path}/allocations"), &[("all", all)])
            .await
            .context("Error querying job allocations")?;
        allocs.sort_by_key(|one| std::cmp::Reverse(one.create_index));
        let mut evals: Vec<Evaluation> = http
            .get(&format!("{path}/evaluations"), &[])
            .await
            .context("Error querying job evaluations")?;
        evals.sort_by_key(|one| std::cmp::Reverse(one.create_index));
        let deployment = http
            .get(&format!("{path}/deployment"), &[])
            .await
            .context("Error querying latest job deployment")?;
        let summary = http
            .get(&format!("{path}/summary"), &[])
            .await
            .context("Error querying job summary")?;
        let waiting: BTreeMap<&str, EvalId> = allocs
            .iter()
            .filter(|one| one.next_allocation.is_none())
            .filter_map(|one| Some((one.task_group.as_str(), one.followup_eval_id?)))
            .take(FOLLOWUPS_MAX)
            .collect();
        let mut followups = Vec::new();
        for (group, id) in waiting {
            let path = format!("/v1/evaluation/{}", segment(id));
            // A follow-up that is collected already is no news.
            if let Ok(eval) = http.get::<Evaluation>(&path, &[]).await
                && !eval.wait_until.is_zero()
            {
                followups.push((group.to_owned(), eval));
            }
        }
        Ok(Self {
            summary,
            allocs,
            evals,
            deployment,
            followups,
        })
    }
}

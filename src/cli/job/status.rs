//! `job status`, `job allocs` and `job deployments`.

use super::super::context::Context;
use super::super::http::{Http, decode, segment};
use super::super::structured::Structured;
use super::super::view::View;
use super::super::{alloc, columns, deployment, eval, lookup, placement};
use anyhow::Context as _;
use jobs::model::{Deployment, EvalId, EvalStatus, Evaluation, Job, JobSummary};
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
    #[command(flatten)]
    structured: Structured,
}

/// Arguments of `job allocs`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AllocsArguments {
    /// Job id or its beginning
    job: String,
    /// Show also allocations of earlier jobs with this id
    #[arg(long)]
    all: bool,
    /// Show full ids and absolute times
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

/// Arguments of `job deployments`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DeploymentsArguments {
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

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
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
    cx.print(&head(&job, &view))?;
    if arguments.short {
        return Ok(0);
    }
    let parts = Parts::fetch(&http, &path, arguments.all_allocs).await?;
    let evals = arguments.evals || arguments.verbose;
    cx.print(&body(&parts, evals, &view))?;
    Ok(0)
}

/// Shows the job with this id, or lists all.
///
/// # Errors
/// When it cannot be read.
pub(in super::super) async fn show(
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
        return Ok(0);
    }
    jobs.sort_by(|a, b| (&a.id, &a.namespace).cmp(&(&b.id, &b.namespace)));
    let all_namespaces = cx.namespace.as_deref() == Some("*");
    let text = list(&jobs, all_namespaces, &cx.view(arguments.verbose));
    cx.print(&text)?;
    Ok(0)
}

/// What a job's status shows besides the job.
#[derive(Debug, Default)]
struct Parts {
    summary: JobSummary,
    allocs: Vec<AllocationListStub>,
    evals: Vec<Evaluation>,
    deployment: Option<Deployment>,
    /// Evaluations that will replace failed allocations later.
    followups: Vec<(String, Evaluation)>,
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

/// A table of jobs.
pub(in super::super) fn list(jobs: &[JobListStub], namespaces: bool, view: &View) -> String {
    let row = |cells: [(bool, String); 6]| -> Vec<String> {
        cells
            .into_iter()
            .filter_map(|(shown, cell)| shown.then_some(cell))
            .collect()
    };
    let mut lines = vec![row([
        (true, "ID".into()),
        (namespaces, "Namespace".into()),
        (true, "Type".into()),
        (true, "Priority".into()),
        (true, "Status".into()),
        (true, "Submit Date".into()),
    ])];
    for job in jobs {
        lines.push(row([
            (true, job.id.clone()),
            (namespaces, job.namespace.clone()),
            (true, type_text(job)),
            (true, job.priority.to_string()),
            (true, status_text(job.status.as_str(), job.stop)),
            (true, view.time(job.submit_time)),
        ]));
    }
    columns::list(&lines)
}

fn type_text(job: &JobListStub) -> String {
    let suffix = match (job.periodic, job.parameterized_job) {
        (true, _) => "/periodic",
        (false, true) => "/parameterized",
        (false, false) => "",
    };
    format!("{}{suffix}", job.job_type.as_str())
}

fn status_text(status: &str, stopped: bool) -> String {
    if stopped {
        format!("{status} (stopped)")
    } else {
        status.to_owned()
    }
}

fn head(job: &Job, view: &View) -> String {
    columns::key_values(&[
        ("ID", job.id.clone()),
        ("Name", job.name.clone()),
        ("Submit Date", view.time(job.submit_time)),
        ("Type", job.job_type.as_str().to_owned()),
        ("Priority", job.priority.to_string()),
        ("Datacenters", job.datacenters.join(",")),
        ("Namespace", job.namespace.clone()),
        ("Node Pool", job.node_pool.clone()),
        ("Status", status_text(job.status.as_str(), job.stop)),
        ("Periodic", "false".to_owned()),
        ("Parameterized", "false".to_owned()),
    ])
}

fn body(parts: &Parts, with_evals: bool, view: &View) -> String {
    let section = |title: &str, text: String| format!("\n{}\n{text}", view.paint.title(title));
    let mut out = vec![section("Summary", summary(&parts.summary))];
    if with_evals {
        out.push(section("Evaluations", evaluations(&parts.evals, view)));
    }
    let blocked = parts
        .evals
        .iter()
        .any(|one| one.status == EvalStatus::Blocked);
    let failed = parts
        .evals
        .iter()
        .filter(|one| !one.failed_tg_allocs.is_empty())
        .max_by_key(|one| one.create_index);
    if let Some(failed) = failed.filter(|_| blocked) {
        let text = placement::groups(&failed.failed_tg_allocs, view.paint);
        out.push(section("Placement Failure", text));
    }
    if !parts.followups.is_empty() {
        let rows = parts
            .followups
            .iter()
            .map(|(group, eval)| [group.clone(), view.id(eval.id), view.ago(eval.wait_until.0)]);
        let text = columns::table(["Task Group", "Eval ID", "Eval Time"], rows.collect());
        out.push(section("Future Rescheduling Attempts", text));
    }
    if let Some(latest) = &parts.deployment {
        out.push(section(
            "Latest Deployment",
            deployment::brief(latest, view),
        ));
    }
    out.push(section(
        "Allocations",
        alloc::status::stubs(&parts.allocs, view),
    ));
    out.join("\n")
}

fn summary(summary: &JobSummary) -> String {
    let rows = summary.summary.iter().map(|(group, counts)| {
        [
            group.clone(),
            counts.queued.to_string(),
            counts.starting.to_string(),
            counts.running.to_string(),
            counts.failed.to_string(),
            counts.complete.to_string(),
            counts.lost.to_string(),
            counts.unknown.to_string(),
        ]
    });
    columns::table(
        [
            "Task Group",
            "Queued",
            "Starting",
            "Running",
            "Failed",
            "Complete",
            "Lost",
            "Unknown",
        ],
        rows.collect(),
    )
}

fn evaluations(evals: &[Evaluation], view: &View) -> String {
    let rows = evals.iter().map(|one| {
        [
            view.id(one.id),
            one.priority.to_string(),
            one.triggered_by.as_str().to_owned(),
            one.status.as_str().to_owned(),
            eval::placement_failures(one),
        ]
    });
    columns::table(
        [
            "ID",
            "Priority",
            "Triggered By",
            "Status",
            "Placement Failures",
        ],
        rows.collect(),
    )
}

pub(super) async fn allocs(cx: &mut Context, arguments: &AllocsArguments) -> anyhow::Result<u8> {
    let job = lookup::job(cx, &arguments.job).await?;
    let path = format!("/v1/job/{}/allocations", segment(&job.id));
    let all = if arguments.all { "true" } else { "false" };
    let value = cx
        .http
        .in_namespace(&job.namespace)
        .get_value(&path, &[("all", all)])
        .await
        .context("Error retrieving allocations")?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let mut allocs: Vec<AllocationListStub> = decode(&path, value)?;
    allocs.sort_by_key(|one| std::cmp::Reverse(one.create_index));
    let text = alloc::status::stubs(&allocs, &cx.view(arguments.verbose));
    cx.print(&text)?;
    Ok(0)
}

pub(super) async fn deployments(
    cx: &mut Context,
    arguments: &DeploymentsArguments,
) -> anyhow::Result<u8> {
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
            Some(latest) => deployment::detail(&latest, &view),
            None => "No deployment found".to_owned(),
        }
    } else {
        let mut all: Vec<Deployment> = decode(&path, value)?;
        all.sort_by_key(|one| std::cmp::Reverse(one.create_index));
        deployment::list(&all, &view)
    };
    cx.print(&text)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::super::super::view::test_view;
    use super::*;

    #[test]
    fn the_list_marks_stopped_jobs() {
        let jobs: Vec<JobListStub> = decode(
            "",
            serde_json::json!([
                {"ID": "web", "Type": "service", "Priority": 50, "Status": "running",
                 "SubmitTime": 1_772_445_600_000_000_000_i64},
                {"ID": "old", "Type": "batch", "Priority": 1, "Status": "dead", "Stop": true,
                 "SubmitTime": 1_772_445_600_000_000_000_i64, "ParameterizedJob": true},
            ]),
        )
        .unwrap();
        assert_eq!(
            list(&jobs, false, &test_view()),
            "ID   Type                 Priority  Status          Submit Date
web  service              50        running         2026-03-02T10:00:00Z
old  batch/parameterized  1         dead (stopped)  2026-03-02T10:00:00Z"
        );
    }

    #[test]
    fn a_running_job_in_full() {
        let job: Job = decode(
            "",
            serde_json::json!({"ID": "web", "Name": "web", "Type": "service", "Priority": 50,
                "Datacenters": ["dc1", "dc2"], "Namespace": "default", "NodePool": "default",
                "Status": "running", "SubmitTime": 1_772_445_600_000_000_000_i64}),
        )
        .unwrap();
        let parts = Parts {
            summary: decode("", serde_json::json!({"Summary": {"app": {"Running": 3}}})).unwrap(),
            allocs: decode(
                "",
                serde_json::json!([{"ID": "51c8e77d-0000-4000-8000-000000000001", "NodeID": "7ab3c2ff-0000-4000-8000-000000000001", "TaskGroup": "app",
                    "DesiredStatus": "run", "ClientStatus": "running",
                    "CreateTime": 1_772_445_708_000_000_000_i64,
                    "ModifyTime": 1_772_445_722_000_000_000_i64}]),
            )
            .unwrap(),
            evals: decode(
                "",
                serde_json::json!([{"ID": "000000e1-0000-4000-8000-000000000001", "Status": "blocked", "CreateIndex": 3},
                    {"ID": "000000e0-0000-4000-8000-000000000001", "Status": "complete", "CreateIndex": 2, "FailedTGAllocs":
                        {"app": {"NodesEvaluated": 1, "NodesExhausted": 1}}}]),
            )
            .unwrap(),
            ..Parts::default()
        };
        let view = test_view();
        assert_eq!(
            format!("{}\n{}", head(&job, &view), body(&parts, false, &view)),
            "ID            = web
Name          = web
Submit Date   = 2026-03-02T10:00:00Z
Type          = service
Priority      = 50
Datacenters   = dc1,dc2
Namespace     = default
Node Pool     = default
Status        = running
Periodic      = false
Parameterized = false

Summary
Task Group  Queued  Starting  Running  Failed  Complete  Lost  Unknown
app         0       0         3        0       0         0     0

Placement Failure
Task Group \"app\" (failed to place 1 allocation):
  * Resources exhausted on 1 nodes

Allocations
ID        Node ID   Task Group  Version  Desired  Status   Created    Modified
51c8e77d  7ab3c2ff  app         0        run      running  3m12s ago  2m58s ago"
        );
    }
}

//! `deployment …`: how a new version replaces the old one.

use super::context::Context;
use super::http::{decode, segment};
use super::structured::Structured;
use super::view::{View, quoted};
use super::{alloc, columns, lookup, monitor};
use anyhow::{Context as _, bail};
use jobs::model::{Deployment, DeploymentState, EvalId};
use jobs::wire::{
    AllocationListStub, DeploymentFailRequest, DeploymentPauseRequest, DeploymentPromoteRequest,
    DeploymentUpdateResponse,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Look at and act on deployments.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List deployments
    List(ListArguments),
    /// Show one deployment
    Status(StatusArguments),
    /// Make canaries normal and go on
    Promote(PromoteArguments),
    /// Give a deployment up
    Fail(ActArguments),
    /// Hold a deployment
    Pause(IdArguments),
    /// Go on with a held deployment
    Resume(ActArguments),
}

/// Arguments of `deployment list`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListArguments {
    /// Show full ids
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

/// Arguments of `deployment status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StatusArguments {
    /// Deployment id or its beginning; without one, all are listed
    id: Option<String>,
    /// Show full ids and the allocations
    #[arg(long)]
    verbose: bool,
    /// Follow it until it is decided
    #[arg(long)]
    monitor: bool,
    /// Longest wait of one read while following
    #[arg(long, default_value = "2s", value_parser = super::process::duration)]
    wait: Duration,
    #[command(flatten)]
    structured: Structured,
}

/// Arguments of a command on one deployment.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct IdArguments {
    /// Deployment id or its beginning
    id: String,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

/// Arguments of a command that starts an evaluation.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ActArguments {
    /// Deployment id or its beginning
    id: String,
    /// Do not follow the evaluation
    #[arg(long)]
    detach: bool,
    /// Show full ids
    #[arg(long)]
    verbose: bool,
}

/// Arguments of `deployment promote`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PromoteArguments {
    /// Deployment id or its beginning
    id: String,
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

pub(super) async fn run(cx: &mut Context, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List(arguments) => list_all(cx, arguments.verbose, &arguments.structured).await,
        Command::Status(arguments) => Box::pin(status(cx, &arguments)).await,
        Command::Promote(arguments) => {
            let current = lookup::deployment(cx, &arguments.id).await?;
            let ways = Ways {
                detach: arguments.detach,
                verbose: arguments.verbose,
            };
            let promoting = "Error promoting deployment";
            Box::pin(promote(cx, &current, &arguments.group, ways, promoting)).await
        }
        Command::Fail(arguments) => Box::pin(fail(cx, &arguments)).await,
        Command::Pause(arguments) => {
            let current = lookup::deployment(cx, &arguments.id).await?;
            pause(cx, &current, true).await?;
            cx.print(&format!(
                "Deployment {} paused",
                quoted(current.id.to_string())
            ))?;
            Ok(monitor::DONE)
        }
        Command::Resume(arguments) => Box::pin(resume(cx, &arguments)).await,
    }
}

async fn list_all(cx: &mut Context, verbose: bool, structured: &Structured) -> anyhow::Result<u8> {
    let value = cx.http.get_value("/v1/deployments", &[]).await;
    let value = value.context("Error retrieving deployments")?;
    if let Some(text) = structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let mut all: Vec<Deployment> = decode("/v1/deployments", value)?;
    all.sort_by_key(|one| std::cmp::Reverse(one.create_index));
    let text = list(&all, &cx.view(verbose));
    cx.print(&text)?;
    Ok(0)
}

async fn status(cx: &mut Context, arguments: &StatusArguments) -> anyhow::Result<u8> {
    if arguments.monitor && arguments.structured.is_wanted() {
        bail!("The monitor flag cannot be used with the '-json' or '-t' flags");
    }
    let Some(id) = &arguments.id else {
        return list_all(cx, arguments.verbose, &arguments.structured).await;
    };
    let value = lookup::deployment_value(cx, id).await?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let current: Deployment = decode("/v1/deployment", value)?;
    let http = cx.http.in_namespace(&current.namespace);
    let view = cx.view(arguments.verbose);
    if arguments.monitor {
        let id = quoted(view.id(current.id));
        cx.print(&format!("{}: Monitoring deployment {id}", view.now()))?;
        let wait = Some(arguments.wait);
        let last = monitor::deployment(cx, &http, current.id, wait, arguments.verbose).await?;
        let done = last == Some(jobs::model::DeploymentStatus::Successful);
        return Ok(if done { monitor::DONE } else { monitor::FAILED });
    }
    let mut text = detail(&current, &view);
    if arguments.verbose {
        let path = format!("/v1/deployment/allocations/{}", segment(current.id));
        let allocs: Vec<AllocationListStub> = http
            .get(&path, &[])
            .await
            .context("Error fetching allocations")?;
        text.push_str(&format!(
            "\n\n{}\n{}",
            view.paint.title("Allocations"),
            alloc::status::stubs(&allocs, &view)
        ));
    }
    cx.print(&text)?;
    Ok(0)
}

/// How a write is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    pub(super) detach: bool,
    pub(super) verbose: bool,
}

/// Promotes the canaries of a deployment; `failing` begins the error's text.
///
/// # Errors
/// When the agent refuses.
pub(super) async fn promote(
    cx: &mut Context,
    current: &Deployment,
    groups: &[String],
    ways: Ways,
    failing: &'static str,
) -> anyhow::Result<u8> {
    let request = DeploymentPromoteRequest {
        deployment_id: current.id.to_string(),
        all: groups.is_empty(),
        groups: groups.to_vec(),
    };
    let http = cx.http.in_namespace(&current.namespace);
    let path = format!("/v1/deployment/promote/{}", segment(current.id));
    let answer: DeploymentUpdateResponse = http.put(&path, &[], &request).await.context(failing)?;
    follow(cx, current, answer.eval_id, ways).await
}

async fn follow(
    cx: &mut Context,
    current: &Deployment,
    eval_id: Option<EvalId>,
    ways: Ways,
) -> anyhow::Result<u8> {
    let Some(eval_id) = eval_id else {
        return Ok(monitor::DONE);
    };
    if ways.detach {
        cx.print(&format!("Evaluation ID: {eval_id}"))?;
        return Ok(monitor::DONE);
    }
    let http = cx.http.in_namespace(&current.namespace);
    monitor::evaluation(cx, &http, eval_id, ways.verbose).await
}

async fn fail(cx: &mut Context, arguments: &ActArguments) -> anyhow::Result<u8> {
    let current = lookup::deployment(cx, &arguments.id).await?;
    let request = DeploymentFailRequest {
        deployment_id: current.id.to_string(),
    };
    let path = format!("/v1/deployment/fail/{}", segment(current.id));
    let http = cx.http.in_namespace(&current.namespace);
    let answer: DeploymentUpdateResponse = http
        .put(&path, &[], &request)
        .await
        .context("Error failing deployment")?;
    let id = quoted(current.id.to_string());
    cx.print(&match answer.reverted_job_version {
        None => format!("Deployment {id} failed"),
        Some(version) => {
            format!("Deployment {id} failed. Auto-reverted to job version {version}.")
        }
    })?;
    if !arguments.detach {
        cx.print("")?;
    }
    // The deployment itself has just failed, so the code is that of the evaluation's own outcome.
    let ways = Ways {
        detach: arguments.detach,
        verbose: arguments.verbose,
    };
    follow(cx, &current, answer.eval_id, ways).await
}

async fn pause(
    cx: &Context,
    current: &Deployment,
    pause: bool,
) -> anyhow::Result<DeploymentUpdateResponse> {
    let request = DeploymentPauseRequest {
        deployment_id: current.id.to_string(),
        pause,
    };
    let path = format!("/v1/deployment/pause/{}", segment(current.id));
    let verb = if pause { "pausing" } else { "resuming" };
    cx.http
        .in_namespace(&current.namespace)
        .put(&path, &[], &request)
        .await
        .with_context(|| format!("Error {verb} deployment"))
}

async fn resume(cx: &mut Context, arguments: &ActArguments) -> anyhow::Result<u8> {
    let current = lookup::deployment(cx, &arguments.id).await?;
    let answer = pause(cx, &current, false).await?;
    cx.print(&format!(
        "Deployment {} resumed",
        quoted(current.id.to_string())
    ))?;
    if !arguments.detach {
        cx.print("")?;
    }
    let ways = Ways {
        detach: arguments.detach,
        verbose: arguments.verbose,
    };
    follow(cx, &current, answer.eval_id, ways).await
}

/// A table of deployments.
pub(super) fn list(all: &[Deployment], view: &View) -> String {
    if all.is_empty() {
        return "No deployments found".to_owned();
    }
    let rows = all.iter().map(|one| {
        [
            view.id(one.id),
            one.job_id.clone(),
            one.job_version.to_string(),
            one.status.as_str().to_owned(),
            one.status_description.clone(),
        ]
    });
    columns::table(
        ["ID", "Job ID", "Job Version", "Status", "Description"],
        rows.collect(),
    )
}

/// One deployment with its progress by group.
pub(super) fn detail(current: &Deployment, view: &View) -> String {
    let head = columns::key_values(&[
        ("ID", view.id(current.id)),
        ("Job ID", current.job_id.clone()),
        ("Job Version", current.job_version.to_string()),
        ("Status", current.status.as_str().to_owned()),
        ("Description", current.status_description.clone()),
    ]);
    with_progress(head, current, view)
}

/// One deployment below its job, which is named already.
pub(super) fn brief(current: &Deployment, view: &View) -> String {
    let head = columns::key_values(&[
        ("ID", view.id(current.id)),
        ("Status", current.status.as_str().to_owned()),
        ("Description", current.status_description.clone()),
    ]);
    with_progress(head, current, view)
}

fn with_progress(head: String, current: &Deployment, view: &View) -> String {
    if current.task_groups.is_empty() {
        return head;
    }
    let title = view.paint.title("Deployed");
    format!(
        "{head}\n\n{title}\n{}",
        progress(&current.task_groups, view)
    )
}

/// A row per group; columns that no group uses are left out.
fn progress(groups: &BTreeMap<String, DeploymentState>, view: &View) -> String {
    let reverts = groups.values().any(|group| group.auto_revert);
    let canaries = groups.values().any(|group| group.desired_canaries > 0);
    let deadline = groups.values().any(|group| group.progress_deadline != 0);
    let row = |cells: [(bool, String); 9]| -> Vec<String> {
        cells
            .into_iter()
            .filter_map(|(shown, cell)| shown.then_some(cell))
            .collect()
    };
    let mut lines = vec![row([
        (true, "Task Group".into()),
        (reverts, "Auto Revert".into()),
        (canaries, "Promoted".into()),
        (true, "Desired".into()),
        (canaries, "Canaries".into()),
        (true, "Placed".into()),
        (true, "Healthy".into()),
        (true, "Unhealthy".into()),
        (deadline, "Progress Deadline".into()),
    ])];
    for (name, group) in groups {
        let promoted = if group.desired_canaries > 0 {
            group.promoted.to_string()
        } else {
            "N/A".to_owned()
        };
        lines.push(row([
            (true, name.clone()),
            (reverts, group.auto_revert.to_string()),
            (canaries, promoted),
            (true, group.desired_total.to_string()),
            (canaries, group.desired_canaries.to_string()),
            (true, group.placed_allocs.to_string()),
            (true, group.healthy_allocs.to_string()),
            (true, group.unhealthy_allocs.to_string()),
            (deadline, view.time_or_na(group.require_progress_by)),
        ]));
    }
    columns::list(&lines)
}

#[cfg(test)]
mod tests {
    use super::super::view::test_view;
    use super::*;

    fn fixture() -> Deployment {
        let value = serde_json::json!({
            "ID": "9d0be1aa-5c5e-4a2e-a1f6-000000000000", "JobID": "web", "JobVersion": 1,
            "Status": "running",
            "StatusDescription": "Deployment is running but requires manual promotion",
            "TaskGroups": {
                "app": {"DesiredCanaries": 1, "DesiredTotal": 5, "PlacedAllocs": 1, "HealthyAllocs": 1,
                    "ProgressDeadline": 600_000_000_000_i64,
                    "RequireProgressBy": "2026-03-02T10:10:01Z"},
                "db": {"DesiredTotal": 1, "ProgressDeadline": 0, "AutoRevert": true},
            },
        });
        decode("", value).unwrap()
    }

    #[test]
    fn columns_appear_when_some_group_uses_them() {
        assert_eq!(
            detail(&fixture(), &test_view()),
            "ID          = 9d0be1aa
Job ID      = web
Job Version = 1
Status      = running
Description = Deployment is running but requires manual promotion

Deployed
Task Group  Auto Revert  Promoted  Desired  Canaries  Placed  Healthy  Unhealthy  Progress Deadline
app         false        false     5        1         1       1        0          2026-03-02T10:10:01Z
db          true         N/A       1        0         0       0        0          N/A"
        );
    }

    #[test]
    fn a_plain_deployment_shows_the_plain_columns() {
        let mut plain = fixture();
        plain.task_groups.clear();
        plain.task_groups.insert(
            "app".into(),
            DeploymentState {
                desired_total: 3,
                ..DeploymentState::default()
            },
        );
        let text = brief(&plain, &test_view());
        assert!(
            text.ends_with(
                "Task Group  Desired  Placed  Healthy  Unhealthy\napp         3        0       0        0"
            ),
            "{text}"
        );
    }
}

//! `job restart`: restarts or replaces the allocations of a job, some at a time.

use crate::{
    context::Context,
    http::{Http, segment},
    lookup,
    render::monitor::next_index,
    terminal::Terminal,
    view::quoted,
};
use anyhow::{Context as _, anyhow, bail};
use futures_util::future::join_all;
use jobs::model::{
    AllocId, ClientStatus, DesiredStatus, FlatMap, Index, JobType, Span, TaskName, TaskPhase,
    TaskState,
};
use jobs::wire::{
    AllocRestartRequest, AllocStopResponse, AllocationListStub, EvalOptions, JobEvaluateRequest,
};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, io::IsTerminal as _};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// How much of an id is shown.
const ID_SHORT: usize = 8;
/// What stands before lines that belong to the one above.
const INDENT: &str = "    ";
/// What is said of an evaluation that finds no place.
const PLACEMENT_FAILURES: &str = "has placement failures";
/// Lines of a batch that wait to be printed.
const LINES_MAX: usize = 64;

/// Arguments of `job restart`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// How many at a time: a number, or a percentage of those that run
    #[arg(long, value_name = "N|N%", default_value = "1")]
    batch_size: String,
    /// How long to wait between batches, or `ask`
    #[arg(long, value_name = "DURATION|ask", default_value = "0s")]
    batch_wait: String,
    /// Only allocations of this group; may be repeated
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Only this task; may be repeated
    #[arg(long, value_name = "TASK")]
    task: Vec<String>,
    /// Also tasks that have ended
    #[arg(long)]
    all_tasks: bool,
    /// Stop them and let others be placed instead
    #[arg(long)]
    reschedule: bool,
    /// What to do when a batch fails: `ask` or `fail`
    #[arg(long, value_name = "ask|fail", default_value = "ask")]
    on_error: String,
    /// Do not wait between leaving the catalog and the kill signal
    #[arg(long)]
    no_shutdown_delay: bool,
    /// Do not ask back
    #[arg(long, short = 'y')]
    yes: bool,
    /// Show full ids, and what is left out
    #[arg(long)]
    verbose: bool,
}

/// What is looked at of a deployment.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SeenDeployment {
    #[serde(rename = "ID")]
    id: String,
    status: String,
}

/// What is looked at of an evaluation.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SeenEval {
    #[serde(rename = "ID")]
    id: String,
    status: String,
    create_index: Index,
    #[serde(rename = "FailedTGAllocs")]
    failed: Option<BTreeMap<String, Value>>,
}

/// What is looked at of an allocation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SeenAlloc {
    client_status: ClientStatus,
    next_allocation: String,
    task_states: Option<FlatMap<TaskName, TaskState>>,
}

/// Why a batch is not waited for.
enum Stopped {
    OnPurpose,
    By(anyhow::Error),
}

impl From<anyhow::Error> for Stopped {
    fn from(error: anyhow::Error) -> Self {
        Self::By(error)
    }
}

/// What the arguments mean.
struct Plan<'a> {
    given: &'a Arguments,
    /// A number, or a percentage.
    size: (usize, bool),
    /// None asks.
    wait: Option<Span>,
    asks_on_error: bool,
}

impl<'a> Plan<'a> {
    fn new(given: &'a Arguments) -> anyhow::Result<Self> {
        let size = &given.batch_size;
        let digits = size.strip_suffix('%');
        let number = digits.unwrap_or(size).parse::<usize>().map_err(|_| {
            anyhow!(
                "Invalid -batch-size value {size:?}: batch size must be an integer or a percentage"
            )
        })?;
        if number == 0 {
            bail!("Invalid -batch-size value {size:?}: number value must be greater than zero");
        }
        let can_ask = given.yes || std::io::stdin().is_terminal();
        let silent = "cannot be used when terminal is not interactive";
        let wait = match given.batch_wait.as_str() {
            "ask" if !can_ask => bail!("Invalid -batch-wait value \"ask\": \"ask\" {silent}"),
            "ask" => None,
            text => Some(
                Span::parse(text).with_context(|| format!("Invalid -batch-wait value {text:?}"))?,
            ),
        };
        let asks_on_error = match given.on_error.as_str() {
            "ask" if !can_ask => bail!("Invalid -on-error value \"ask\": \"ask\" {silent}"),
            "ask" => true,
            "fail" => false,
            other => {
                bail!("Invalid -on-error value {other:?}: valid options are \"ask\" and \"fail\"")
            }
        };
        if given.all_tasks && !given.task.is_empty() {
            bail!("The -all-tasks option cannot be used with -task");
        }
        if given.reschedule && !given.task.is_empty() {
            bail!("The -reschedule option cannot be used with -task");
        }
        Ok(Self {
            given,
            size: (number, digits.is_some()),
            wait,
            asks_on_error,
        })
    }

    /// Allocations at a time of so many.
    fn batch(&self, count: usize) -> usize {
        match self.size {
            (number, true) => count.saturating_mul(number).div_ceil(100).max(1),
            (number, false) => number,
        }
    }

    fn id(&self, id: AllocId) -> String {
        self.shown(&id.to_string())
    }

    /// An id in quotes, cut short unless everything is to be shown.
    fn shown(&self, id: &str) -> String {
        let short = id.get(..ID_SHORT).filter(|_| !self.given.verbose);
        quoted(short.unwrap_or(id))
    }

    /// Why an allocation is left out; none when it is restarted.
    fn objection(&self, alloc: &AllocationListStub) -> Option<String> {
        let runs = alloc.client_status == ClientStatus::Running
            || alloc.desired_status == DesiredStatus::Run;
        if !runs {
            let (client, desired) = (alloc.client_status.as_str(), alloc.desired_status.as_str());
            return Some(format!(
                "desired status is {desired:?} and client status is {client:?}"
            ));
        }
        if let Some(next) = alloc.next_allocation {
            return Some(format!("it has already been replaced by {}", self.id(next)));
        }
        let groups = &self.given.group;
        if !groups.is_empty()
            && !groups
                .iter()
                .any(|group| alloc.task_group.as_str() == group)
        {
            return Some("it doesn't have any of requested groups".to_owned());
        }
        let tasks = &self.given.task;
        let has = |task: &String| alloc.task_states.contains_key(task.as_str());
        if !tasks.is_empty() && !tasks.iter().any(has) {
            return Some("it doesn't have any of requested tasks".to_owned());
        }
        None
    }
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let mut plan = Plan::new(arguments)?;
    let job = lookup::job(cx, &arguments.job).await?;
    let http = cx.http.in_namespace(&job.namespace);
    if arguments.reschedule && job.job_type == JobType::Sysbatch {
        bail!("Jobs of type \"sysbatch\" are not allowed to be rescheduled.");
    }
    let path = format!("/v1/job/{}", segment(&job.id));
    let allocs: Vec<AllocationListStub> = http
        .get(&format!("{path}/allocations"), &[("all", "true")])
        .await
        .with_context(|| format!("Error retrieving allocations for job {:?}", job.id))?;
    let mut chosen = Vec::new();
    for alloc in allocs {
        match plan.objection(&alloc) {
            None => chosen.push(alloc),
            Some(why) if arguments.verbose => {
                let id = plan.id(alloc.id);
                step(cx, &format!("Skipping allocation {id} because {why}"))?;
            }
            Some(_) => {}
        }
    }
    if chosen.is_empty() {
        cx.print("No allocations to restart")?;
        return Ok(0);
    }
    let noun = if chosen.len() == 1 {
        "allocation"
    } else {
        "allocations"
    };
    title(cx, &format!("Restarting {} {noun}", chosen.len()))?;
    let mut terminal = Terminal::open()?;
    let mut errors = Vec::new();
    let mut is_canceled = false;
    let size = plan.batch(chosen.len());
    let batches = chosen.chunks(size);
    let last = batches.len();
    for (number, batch) in (1..).zip(batches) {
        if let Some(error) = active_deployment(&http, &path, &plan).await? {
            errors.push(error);
            break;
        }
        if size > 1 {
            let text = format!(
                "Restarting {} batch of {} allocations",
                ordinal(number),
                batch.len()
            );
            title(cx, &text)?;
        }
        let Some(failed) = restart_batch(cx, &mut terminal, &http, &plan, batch).await? else {
            return canceled(cx);
        };
        errors.extend(failed.iter().cloned());
        if number == last {
            break;
        }
        if !failed.is_empty() && !plan.asks_on_error {
            title(cx, "Stopping job restart due to error")?;
            break;
        }
        if arguments.yes && !may_help(&failed) {
            title(cx, "Stopping job restart due to unrecoverable error")?;
            break;
        }
        let asks = plan.wait.is_none() || !failed.is_empty();
        if asks && !arguments.yes {
            for error in &failed {
                cx.complain(error);
            }
            if !proceeds(cx, &mut terminal, &mut plan, &failed).await? {
                title(cx, "Job restart canceled")?;
                is_canceled = true;
                break;
            }
        }
        if let Some(wait) = plan.wait.filter(|wait| !wait.is_zero()) {
            title(
                cx,
                &format!("Waiting {wait} before restarting the next batch"),
            )?;
            if !pause(cx, &mut terminal, wait).await? {
                return canceled(cx);
            }
        }
    }
    if !errors.is_empty() {
        if !is_canceled {
            title(cx, "Job restart finished with errors")?;
        }
        let noun = if errors.len() == 1 { "error" } else { "errors" };
        let points: Vec<String> = errors.iter().map(|error| format!("* {error}")).collect();
        let count = errors.len();
        bail!(
            "{count} {noun} occurred while restarting job:\n{}",
            points.join("\n")
        );
    }
    if !is_canceled {
        title(cx, "Job restart finished")?;
        cx.print("\nJob restarted successfully!")?;
    }
    Ok(0)
}

fn title(cx: &mut Context, text: &str) -> anyhow::Result<()> {
    let view = cx.view(false);
    let line = format!("==> {}: {text}", view.now());
    cx.print(&view.paint.title(&line))
}

fn step(cx: &mut Context, text: &str) -> anyhow::Result<()> {
    let now = cx.view(false).now();
    cx.print(&format!("    {now}: {text}"))
}

/// The end of a command that was interrupted on purpose.
fn canceled(cx: &mut Context) -> anyhow::Result<u8> {
    cx.print("\nCanceling job restart process")?;
    Ok(0)
}

/// Whether an interrupt was meant, as somebody at the terminal says. Without an answer it was.
async fn exits(cx: &mut Context, terminal: &mut Terminal) -> anyhow::Result<bool> {
    loop {
        let question = "Restart interrupted, no more allocations will be restarted.";
        title(cx, question)?;
        cx.write(
            format!("{INDENT}Are you sure you want to stop the restart process? [y/N] ").as_bytes(),
        )?;
        let Some(line) = terminal.answer().await? else {
            return Ok(true);
        };
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => return Ok(true),
            "" | "n" | "no" => {
                title(cx, "Going on with the restarts")?;
                return Ok(false);
            }
            text => cx.print(&format!("{INDENT}Invalid answer {text:?}"))?,
        }
    }
}

/// Waits between two batches; false when the command was interrupted on purpose.
async fn pause(cx: &mut Context, terminal: &mut Terminal, wait: Span) -> anyhow::Result<bool> {
    let until = Instant::now() + wait.to_std();
    loop {
        tokio::select! {
            () = sleep_until(until) => return Ok(true),
            () = terminal.interrupted() => {}
        }
        if exits(cx, terminal).await? {
            return Ok(false);
        }
    }
}

/// True unless the next batch is as good as sure to fail like this one.
fn may_help(failed: &[String]) -> bool {
    let is_final =
        |error: &String| error.contains(PLACEMENT_FAILURES) || error.contains("Permission denied");
    !failed.iter().any(is_final)
}

/// Whether to go on, as somebody at the terminal says.
async fn proceeds(
    cx: &mut Context,
    terminal: &mut Terminal,
    plan: &mut Plan<'_>,
    failed: &[String],
) -> anyhow::Result<bool> {
    let went_well = failed.is_empty();
    let mut question = match (went_well, may_help(failed)) {
        (true, _) => "Proceed with the next batch? [Y/n".to_owned(),
        (false, true) => "Ignore the errors above and proceed with the next batch? [y/N".to_owned(),
        (false, false) => format!(
            "The errors above are likely to happen again.\n\
             {INDENT}Ignore them anyway and proceed with the next batch? [y/N"
        ),
    };
    if plan.wait.is_none() {
        question.push_str("/<wait duration>");
    }
    loop {
        let now = cx.view(false).now();
        cx.write(format!("==> {now}: {question}] ").as_bytes())?;
        let Some(line) = terminal.answer().await? else {
            return Ok(false);
        };
        match line.trim().to_lowercase().as_str() {
            "" => return Ok(went_well),
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            text => match Span::parse(text) {
                Ok(wait) if plan.wait.is_none() => {
                    plan.wait = Some(wait);
                    title(
                        cx,
                        &format!("Proceeding restarts with new wait time of {wait}"),
                    )?;
                    return Ok(true);
                }
                _ => cx.complain(&format!("Invalid answer {text:?}")),
            },
        }
    }
}

/// The deployment of the job that is under way, as a sentence.
async fn active_deployment(
    http: &Http,
    path: &str,
    plan: &Plan<'_>,
) -> anyhow::Result<Option<String>> {
    let all: Vec<SeenDeployment> = http
        .get(&format!("{path}/deployments"), &[("all", "true")])
        .await
        .context("Error retrieving deployments")?;
    let is_over = |status: &str| matches!(status, "failed" | "successful" | "cancelled");
    let active = all.iter().find(|one| !is_over(&one.status));
    Ok(active.map(|one| format!("Deployment {} is {:?}", plan.shown(&one.id), one.status)))
}

/// Restarts some allocations at a time, and waits for them; the errors are answered, and nothing
/// when the command was interrupted on purpose.
async fn restart_batch(
    cx: &mut Context,
    terminal: &mut Terminal,
    http: &Http,
    plan: &Plan<'_>,
    batch: &[AllocationListStub],
) -> anyhow::Result<Option<Vec<String>>> {
    let (lines, mut heard) = mpsc::channel(LINES_MAX);
    let each = batch.iter().map(|alloc| {
        let lines = lines.clone();
        async move {
            let done = if plan.given.reschedule {
                replace(http, plan, alloc, &lines).await
            } else {
                restart(http, plan, alloc, &lines).await
            };
            let what = format!("Error restarting allocation {}", plan.id(alloc.id));
            done.map_err(|error| format!("{what}: {error:#}")).err()
        }
    });
    let each: Vec<_> = each.collect();
    drop(lines);
    let all = async { Ok(join_all(each).await) };
    // Those that are under way go on while somebody is asked.
    let print = async {
        loop {
            tokio::select! {
                line = heard.recv() => match line {
                    Some(line) => step(cx, &line)?,
                    None => return Ok(()),
                },
                () = terminal.interrupted() => {
                    if exits(cx, terminal).await? {
                        return Err(Stopped::OnPurpose);
                    }
                }
            }
        }
    };
    match tokio::try_join!(all, print) {
        Ok((failed, ())) => Ok(Some(failed.into_iter().flatten().collect())),
        Err(Stopped::OnPurpose) => Ok(None),
        Err(Stopped::By(error)) => Err(error),
    }
}

async fn look(http: &Http, id: &str, index: &mut Index) -> anyhow::Result<SeenAlloc> {
    let path = format!("/v1/allocation/{}", segment(id));
    let asked = Instant::now();
    let answer = http
        .get_after::<SeenAlloc>(&path, &[], *index, None)
        .await?;
    *index = next_index(*index, answer.index, asked).await;
    Ok(answer.body)
}

/// Restarts tasks where they are, and waits until they run again.
async fn restart(
    http: &Http,
    plan: &Plan<'_>,
    alloc: &AllocationListStub,
    lines: &mpsc::Sender<String>,
) -> anyhow::Result<()> {
    let (id, group) = (plan.id(alloc.id), quoted(alloc.task_group.as_str()));
    let path = format!("/v1/client/allocation/{}/restart", segment(alloc.id));
    let is_asked = |task: &TaskName| {
        let tasks = &plan.given.task;
        tasks.is_empty() || tasks.iter().any(|asked| task.as_str() == asked)
    };
    let ran = alloc.task_states.iter();
    let ran = ran.filter(|&(task, state)| is_asked(task) && state.state == TaskPhase::Running);
    let before: Vec<(&TaskName, &TaskState)> = ran.collect();
    let mut asked = vec![String::new()];
    if !plan.given.task.is_empty() {
        let has = |task: &&String| alloc.task_states.contains_key(task.as_str());
        asked = plan.given.task.iter().filter(has).cloned().collect();
    }
    for task in asked {
        let what = match (&task, plan.given.all_tasks) {
            (_, true) => "all tasks".to_owned(),
            (task, false) if task.is_empty() => "running tasks".to_owned(),
            (task, false) => format!("task {}", quoted(task)),
        };
        let line = format!("Restarting {what} in allocation {id} for group {group}");
        lines.send(line).await?;
        let request = AllocRestartRequest {
            task_name: task,
            all_tasks: plan.given.all_tasks,
        };
        http.put_value(&path, &[], &request).await?;
    }
    let mut index = 0;
    loop {
        let seen = look(http, &alloc.id.to_string(), &mut index).await?;
        let now = seen.task_states.unwrap_or_default();
        let is_back = |task: &TaskName, earlier: &TaskState| {
            now.get(task).is_some_and(|state| {
                let began = state.restarts != earlier.restarts
                    || state.last_restart != earlier.last_restart
                    || state.started_at != earlier.started_at;
                began && state.state == TaskPhase::Running
            })
        };
        if before.iter().all(|&(task, earlier)| is_back(task, earlier)) {
            return Ok(());
        }
        if seen.client_status.is_terminal() {
            bail!("it is {}", seen.client_status.as_str());
        }
    }
}

/// Stops an allocation, and waits until the one that replaces it runs.
async fn replace(
    http: &Http,
    plan: &Plan<'_>,
    alloc: &AllocationListStub,
    lines: &mpsc::Sender<String>,
) -> anyhow::Result<()> {
    let (id, group) = (plan.id(alloc.id), quoted(alloc.task_group.as_str()));
    let line = format!("Rescheduling allocation {id} for group {group}");
    lines.send(line).await?;
    let query: &[(&str, &str)] = match plan.given.no_shutdown_delay {
        true => &[("no_shutdown_delay", "true")],
        false => &[],
    };
    let path = format!("/v1/allocation/{}/stop", segment(alloc.id));
    let stopped: AllocStopResponse = http
        .put(&path, query, &serde_json::json!({}))
        .await
        .context("Failed to stop allocation")?;
    if alloc.job_type == JobType::System {
        let request = JobEvaluateRequest {
            job_id: alloc.job_id.clone(),
            eval_options: EvalOptions {
                force_reschedule: true,
            },
        };
        let path = format!("/v1/job/{}/evaluate", segment(&alloc.job_id));
        http.put_value(&path, &[], &request)
            .await
            .context("Failed evaluate job")?;
    }
    tokio::select! {
        done = follow_replacement(http, plan, alloc, lines) => done,
        blocked = follow_failures(http, plan, alloc, stopped.index) => blocked,
    }
}

async fn follow_replacement(
    http: &Http,
    plan: &Plan<'_>,
    alloc: &AllocationListStub,
    lines: &mpsc::Sender<String>,
) -> anyhow::Result<()> {
    let first = alloc.id.to_string();
    let (mut current, mut index) = (first.clone(), 0);
    loop {
        let seen = look(http, &current, &mut index).await?;
        if !seen.next_allocation.is_empty() {
            let (old, new) = (plan.shown(&current), plan.shown(&seen.next_allocation));
            let line =
                format!("Allocation {old} replaced by {new}, waiting for {new} to start running");
            lines.send(line).await?;
            (current, index) = (seen.next_allocation, 0);
            continue;
        }
        if current != first && seen.client_status == ClientStatus::Running {
            let line = format!("Allocation {} is \"running\"", plan.shown(&current));
            lines.send(line).await?;
            return Ok(());
        }
    }
}

/// Ends when an evaluation says that nothing can be placed.
async fn follow_failures(
    http: &Http,
    plan: &Plan<'_>,
    alloc: &AllocationListStub,
    since: Index,
) -> anyhow::Result<()> {
    let path = format!("/v1/job/{}/evaluations", segment(&alloc.job_id));
    let mut index = 0;
    loop {
        let asked = Instant::now();
        let answer = http
            .get_after::<Vec<SeenEval>>(&path, &[], index, None)
            .await?;
        for eval in answer.body {
            let is_new = eval.create_index >= since && eval.status == "blocked";
            let group = alloc.task_group.as_str();
            if is_new && eval.failed.is_some_and(|failed| failed.contains_key(group)) {
                let id = plan.shown(&eval.id);
                bail!("Evaluation {id} {PLACEMENT_FAILURES} for group {group:?}");
            }
        }
        index = next_index(index, answer.index, asked).await;
    }
}

/// `1st`, `2nd`, `3rd`, `4th` …
fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (1, last) if last != 11 => "st",
        (2, last) if last != 12 => "nd",
        (3, last) if last != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_endings() {
        let shown = [1, 2, 3, 4, 11, 12, 13, 21, 101, 112].map(ordinal);
        let expected = [
            "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "101st", "112th",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_batch_that_is_sure_to_fail_is_not_tried() {
        for (errors, expected) in [
            (&[][..], true),
            (&["Error restarting allocation \"1\": it is failed"], true),
            (
                &[
                    "x",
                    "Evaluation \"1\" has placement failures for group \"g\"",
                ],
                false,
            ),
            (
                &["Unexpected response code: 403 (Permission denied)"],
                false,
            ),
        ] {
            let errors: Vec<String> = errors.iter().map(|&error| error.to_owned()).collect();
            assert_eq!(may_help(&errors), expected, "{errors:?}");
        }
    }

    #[test]
    fn batches_are_numbers_or_shares_of_all() {
        let given = |size: &str| Arguments {
            batch_size: size.into(),
            batch_wait: "0s".into(),
            on_error: "fail".into(),
            ..Arguments::default()
        };
        for (size, count, batch) in [("1", 9, 1), ("4", 9, 4), ("50%", 3, 2), ("1%", 3, 1)] {
            let arguments = given(size);
            let plan = Plan::new(&arguments).unwrap();
            assert_eq!(plan.batch(count), batch, "{size}");
        }
        for size in ["0", "x", "%", "-1"] {
            assert!(Plan::new(&given(size)).is_err(), "{size}");
        }
    }
}

//! Follows an evaluation and then its deployment until both are decided.
//!
//! It waits by blocking queries. On a terminal the deployment's block is repainted in place; elsewhere
//! each change is appended.

use super::context::Context;
use super::http::{Answer, Error, Http, segment};
use super::view::{View, quoted};
use super::{alloc, deployment, placement};
use jobs::model::{
    AllocId, Deployment, DeploymentId, DeploymentStatus, DesiredStatus, EvalId, EvalStatus,
    Evaluation, Index,
};
use jobs::wire::AllocationListStub;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Placed everything, or finished well.
pub(super) const DONE: u8 = 0;
/// Anything that is no placement failure.
pub(super) const FAILED: u8 = 1;
/// Not everything could be placed.
pub(super) const PLACEMENT_FAILED: u8 = 2;

/// How often a failed read of a deployment is repeated.
const RETRIES_MAX: u32 = 10;
/// Longest pause between two such reads.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(12);
/// How often the spinner turns.
const REPAINT_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for the deployment that rolls a failed one back.
const ROLLBACK_WAIT: Duration = Duration::from_secs(5);
/// Evaluations followed one after the other.
const CHAIN_MAX: usize = 64;
/// An agent that answers a blocking query faster than this without news does not block.
const BLOCKING_MIN: Duration = Duration::from_millis(50);
/// Pause before asking such an agent again.
const POLL_PAUSE: Duration = Duration::from_secs(1);
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Follows the evaluation of a job in its namespace and returns the exit code.
///
/// # Errors
/// When the output is closed.
pub(super) async fn evaluation(
    cx: &mut Context,
    http: &Http,
    id: EvalId,
    verbose: bool,
) -> anyhow::Result<u8> {
    let mut id = id;
    for _ in 0..CHAIN_MAX {
        let Some(eval) = one_evaluation(cx, http, id, verbose).await? else {
            return Ok(FAILED);
        };
        if let Some(next) = eval.next_eval {
            let view = cx.view(verbose);
            if eval.wait > 0 {
                cx.print(&format!(
                    "==> {}: Monitoring next evaluation {} in {}",
                    view.now(),
                    quoted(view.id(next)),
                    super::view::duration(eval.wait)
                ))?;
            }
            id = next;
            continue;
        }
        let failed = !eval.failed_tg_allocs.is_empty();
        let Some(deployment_id) = eval.deployment_id else {
            return Ok(if failed { PLACEMENT_FAILED } else { DONE });
        };
        let view = cx.view(verbose);
        cx.print(&format!(
            "==> {}: Monitoring deployment {}",
            view.now(),
            quoted(view.id(eval.deployment_id))
        ))?;
        let last = deployment(cx, http, deployment_id, None, verbose).await?;
        let done = last == Some(DeploymentStatus::Successful);
        return Ok(if done { DONE } else { FAILED });
    }
    Ok(FAILED)
}

/// Follows one evaluation to its end; none when it cannot be read.
async fn one_evaluation(
    cx: &mut Context,
    http: &Http,
    id: EvalId,
    verbose: bool,
) -> anyhow::Result<Option<Evaluation>> {
    let view = cx.view(verbose);
    cx.print(&format!(
        "==> {}: Monitoring evaluation {}",
        view.now(),
        quoted(view.id(id))
    ))?;
    let path = format!("/v1/evaluation/{}", segment(id));
    let mut seen = Seen::default();
    let mut index = 0;
    loop {
        let asked = Instant::now();
        let answer: Answer<Evaluation> = match http.get_after(&path, &[], index, None).await {
            Ok(answer) => answer,
            Err(error) => {
                complain(cx, verbose, &evaluation_error(&id.to_string(), &error));
                return Ok(None);
            }
        };
        let eval = answer.body;
        let allocs = http.get(&format!("{path}/allocations"), &[]).await;
        let allocs: Vec<AllocationListStub> = match allocs {
            Ok(allocs) => allocs,
            Err(error) => {
                complain(cx, verbose, &format!("Error reading allocations: {error}"));
                return Ok(None);
            }
        };
        let view = cx.view(verbose);
        for line in seen.news(&eval, &allocs, &view) {
            cx.print(&format!("    {}: {line}", view.now()))?;
        }
        if eval.status.is_terminal() {
            cx.print(&finished(&eval, &view))?;
            return Ok(Some(eval));
        }
        index = next_index(index, answer.index, asked).await;
    }
}

fn evaluation_error(id: &str, error: &Error) -> String {
    if error.is_not_found() {
        format!("No evaluation with id {} found", quoted(id))
    } else {
        format!("Error reading evaluation: {error}")
    }
}

fn complain(cx: &mut Context, verbose: bool, text: &str) {
    let now = cx.view(verbose).now();
    cx.complain(&format!("==> {now}: {text}"));
}

/// The index to ask with next. Against an agent that does not block, asking is slowed down.
async fn next_index(asked_with: Index, answered: Index, since: Instant) -> Index {
    if answered <= asked_with && since.elapsed() < BLOCKING_MIN {
        tokio::time::sleep(POLL_PAUSE).await;
    }
    // A smaller index means that the servers were restored: start over.
    if answered < asked_with { 0 } else { answered }
}

/// What was told of an evaluation already.
#[derive(Debug, Default)]
struct Seen {
    told: bool,
    node: bool,
    deployment: bool,
    status: EvalStatus,
    clients: BTreeMap<AllocId, &'static str>,
}

impl Seen {
    /// Lines for what changed since the last call.
    fn news(
        &mut self,
        eval: &Evaluation,
        allocs: &[AllocationListStub],
        view: &View,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.node && eval.node_id.is_some() {
            self.node = true;
            let node = quoted(view.id(eval.node_id));
            lines.push(format!("Evaluation triggered by node {node}"));
        }
        if !self.told {
            self.told = true;
            let job = quoted(&eval.job_id);
            lines.push(format!("Evaluation triggered by job {job}"));
        }
        if !self.deployment && eval.deployment_id.is_some() {
            self.deployment = true;
            let id = quoted(view.id(eval.deployment_id));
            lines.push(format!("Evaluation within deployment: {id}"));
        }
        for alloc in allocs {
            lines.extend(self.alloc_news(eval, alloc, view));
        }
        if eval.status != self.status && eval.status != EvalStatus::Pending {
            lines.push(format!(
                "Evaluation status changed: {} -> {}",
                quoted(self.status.as_str()),
                quoted(eval.status.as_str())
            ));
            self.status = eval.status;
        }
        lines
    }

    fn alloc_news(
        &mut self,
        eval: &Evaluation,
        alloc: &AllocationListStub,
        view: &View,
    ) -> Option<String> {
        let now = alloc.client_status.as_str();
        let id = quoted(view.id(alloc.id));
        let before = self.clients.insert(alloc.id, now);
        let Some(before) = before else {
            let what = if alloc.create_index < eval.create_index {
                "modified"
            } else if alloc.desired_status == DesiredStatus::Run {
                "created"
            } else {
                return None;
            };
            return Some(format!(
                "Allocation {id} {what}: node {}, group {}",
                quoted(view.id(alloc.node_id)),
                quoted(&alloc.task_group)
            ));
        };
        if before == now {
            return None;
        }
        let why = match alloc.client_description.as_str() {
            "" => String::new(),
            text => format!(" ({text})"),
        };
        Some(format!(
            "Allocation {id} status changed: {} -> {}{why}",
            quoted(before),
            quoted(now)
        ))
    }
}

/// The closing lines of an evaluation.
fn finished(eval: &Evaluation, view: &View) -> String {
    let now = view.now();
    let id = quoted(view.id(eval.id));
    let status = quoted(eval.status.as_str());
    if eval.failed_tg_allocs.is_empty() {
        return format!("==> {now}: Evaluation {id} finished with status {status}");
    }
    let mut lines = vec![format!(
        "==> {now}: Evaluation {id} finished with status {status} but failed to place all allocations:"
    )];
    for (group, metric) in &eval.failed_tg_allocs {
        let title = placement::group_title(group, metric);
        lines.push(format!("    {now}: {title}:"));
        let bullets = placement::bullets(metric, view.paint, "      ");
        if !bullets.is_empty() {
            lines.push(bullets);
        }
    }
    if eval.blocked_eval.is_some() {
        let blocked = quoted(view.id(eval.blocked_eval));
        lines.push(format!(
            "    {now}: Evaluation {blocked} waiting for additional capacity to place remainder"
        ));
    }
    lines.join("\n")
}

/// Follows a deployment until it is decided; its last status, or none when it cannot be read.
///
/// A failed deployment that is rolled back is followed by the one that rolls back; the status is
/// that of the first.
///
/// # Errors
/// When the output is closed.
pub(super) async fn deployment(
    cx: &mut Context,
    http: &Http,
    id: DeploymentId,
    wait: Option<Duration>,
    verbose: bool,
) -> anyhow::Result<Option<DeploymentStatus>> {
    let Some((first, index)) = one_deployment(cx, http, id, wait, verbose).await? else {
        return Ok(None);
    };
    let reverts = first.task_groups.values().any(|group| group.auto_revert);
    if first.status == DeploymentStatus::Failed
        && reverts
        && let Some(rollback) = rollback(http, &first, index).await
    {
        cx.print("")?;
        one_deployment(cx, http, rollback, wait, verbose).await?;
    }
    Ok(Some(first.status))
}

/// The deployment that rolls back a failed one, once it exists.
async fn rollback(http: &Http, failed: &Deployment, index: Index) -> Option<DeploymentId> {
    let path = format!("/v1/job/{}/deployment", segment(&failed.job_id));
    let query = [("namespace", failed.namespace.as_str())];
    let end = Instant::now() + ROLLBACK_WAIT;
    let mut index = index;
    let mut at_once = true;
    loop {
        let asked = Instant::now();
        let wait = end.saturating_duration_since(asked);
        if wait.is_zero() {
            return None;
        }
        let from = if at_once { 0 } else { index };
        at_once = false;
        let answer: Answer<Option<Deployment>> =
            http.get_after(&path, &query, from, Some(wait)).await.ok()?;
        if let Some(latest) = answer.body.filter(|latest| latest.id != failed.id) {
            return Some(latest.id);
        }
        index = next_index(index, answer.index.max(1), asked).await;
    }
}

async fn one_deployment(
    cx: &mut Context,
    http: &Http,
    id: DeploymentId,
    wait: Option<Duration>,
    verbose: bool,
) -> anyhow::Result<Option<(Deployment, Index)>> {
    let path = format!("/v1/deployment/{}", segment(id));
    let mut screen = Screen::new(cx.is_terminal());
    let mut index = 0;
    let mut shown: Option<Deployment> = None;
    loop {
        let asked = Instant::now();
        let read = read_deployment(http, &path, index, wait);
        let answer = match screen.while_waiting(cx, id, verbose, read).await? {
            Ok(answer) => answer,
            Err(error) => {
                complain(cx, verbose, &format!("Error fetching deployment: {error}"));
                return Ok(None);
            }
        };
        let current = answer.body;
        if shown.as_ref() != Some(&current) {
            let allocs = if verbose {
                allocations(http, id).await
            } else {
                None
            };
            let block = block(&current, allocs.as_deref(), &cx.view(verbose));
            screen.show(cx, &current, block, verbose)?;
            shown = Some(current.clone());
        }
        if !current.status.is_active() {
            screen.close(cx, &current, verbose)?;
            return Ok(Some((current, answer.index)));
        }
        index = next_index(index, answer.index, asked).await;
    }
}

/// Reads a deployment, and again after a while when that fails.
async fn read_deployment(
    http: &Http,
    path: &str,
    index: Index,
    wait: Option<Duration>,
) -> Result<Answer<Deployment>, Error> {
    let mut attempt = 0;
    loop {
        match http.get_after(path, &[("stale", "")], index, wait).await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_not_found() || attempt >= RETRIES_MAX => return Err(error),
            Err(_) => {}
        }
        let pause = Duration::from_secs(1 << attempt.min(4)).min(RETRY_PAUSE_MAX);
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

/// The allocations of a deployment; none when they cannot be read, since the progress matters more.
async fn allocations(http: &Http, id: DeploymentId) -> Option<Vec<AllocationListStub>> {
    let path = format!("/v1/deployment/allocations/{}", segment(id));
    http.get(&path, &[]).await.ok()
}

/// One state of a deployment as it is shown, without indentation.
fn block(current: &Deployment, allocs: Option<&[AllocationListStub]>, view: &View) -> String {
    let mut text = format!("{}\n{}", view.now(), deployment::detail(current, view));
    if let Some(allocs) = allocs {
        text.push_str(&format!(
            "\n\n{}\n{}",
            view.paint.title("Allocations"),
            alloc::status::stubs(allocs, view)
        ));
    }
    text
}

/// How a deployment's progress is painted.
#[derive(Debug)]
struct Screen {
    repaints: bool,
    frame: usize,
    block: String,
    /// Lines on the terminal that the next painting replaces.
    painted: usize,
}

impl Screen {
    fn new(repaints: bool) -> Self {
        Self {
            repaints,
            frame: 0,
            block: String::new(),
            painted: 0,
        }
    }

    /// Turns the spinner until the future is done.
    async fn while_waiting<T>(
        &mut self,
        cx: &mut Context,
        id: DeploymentId,
        verbose: bool,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        if !self.repaints {
            return Ok(work.await);
        }
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(REPAINT_INTERVAL);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                _ = tick.tick() => {
                    self.frame += 1;
                    let spinner = SPINNER.get(self.frame % SPINNER.len()).unwrap_or(&' ');
                    let view = cx.view(verbose);
                    let head = format!("  {spinner} Deployment {} in progress...", quoted(view.id(id)));
                    self.paint(cx, &head)?;
                }
            }
        }
    }

    /// Takes a new state over.
    fn show(
        &mut self,
        cx: &mut Context,
        current: &Deployment,
        block: String,
        verbose: bool,
    ) -> anyhow::Result<()> {
        if !self.repaints {
            return cx.print(&format!("\n{block}"));
        }
        self.block = indented(&block);
        let view = cx.view(verbose);
        let spinner = SPINNER.get(self.frame % SPINNER.len()).unwrap_or(&' ');
        let id = quoted(view.id(current.id));
        self.paint(cx, &format!("  {spinner} Deployment {id} in progress..."))
    }

    /// Leaves the last state on the terminal.
    fn close(&mut self, cx: &mut Context, last: &Deployment, verbose: bool) -> anyhow::Result<()> {
        if !self.repaints {
            return Ok(());
        }
        let mark = match last.status {
            DeploymentStatus::Successful => '✓',
            _ => '!',
        };
        let id = quoted(cx.view(verbose).id(last.id));
        let status = last.status.as_str();
        self.paint(cx, &format!("  {mark} Deployment {id} {status}"))
    }

    fn paint(&mut self, cx: &mut Context, head: &str) -> anyhow::Result<()> {
        let mut lines = vec![head.to_owned()];
        if !self.block.is_empty() {
            lines.push(String::new());
            lines.extend(self.block.lines().map(str::to_owned));
        }
        lines.push(String::new());
        let mut text = String::new();
        if self.painted > 0 {
            text.push_str(&format!("\u{1b}[{}A", self.painted));
        }
        // Wrapped lines would break the count, so wrapping is off while painting.
        text.push_str("\u{1b}[J\u{1b}[?7l");
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("\u{1b}[?7h");
        self.painted = lines.len();
        cx.write(text.as_bytes())
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.is_empty() {
                String::new()
            } else {
                format!("    {line}")
            }
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::view::{test_id, test_view};
    use super::*;
    use jobs::model::{AllocMetric, ClientStatus};

    fn eval(status: EvalStatus) -> Evaluation {
        Evaluation {
            id: test_id("3f2a91c0"),
            job_id: "web".into(),
            status,
            create_index: 10,
            ..Evaluation::default()
        }
    }

    fn alloc(client_status: ClientStatus, create_index: Index) -> AllocationListStub {
        AllocationListStub {
            id: test_id("51c8e77d"),
            node_id: test_id("7ab3c2ff"),
            task_group: "app".into(),
            client_status,
            client_description: "Tasks are running".into(),
            create_index,
            ..AllocationListStub::default()
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let view = test_view();
        let mut seen = Seen::default();
        let pending = eval(EvalStatus::Pending);
        assert_eq!(
            seen.news(&pending, &[], &view),
            ["Evaluation triggered by job \"web\""]
        );
        assert!(seen.news(&pending, &[], &view).is_empty());
        let mut done = eval(EvalStatus::Complete);
        done.deployment_id = Some(test_id("9d0be1aa"));
        assert_eq!(
            seen.news(&done, &[alloc(ClientStatus::Pending, 10)], &view),
            [
                "Evaluation within deployment: \"9d0be1aa\"",
                "Allocation \"51c8e77d\" created: node \"7ab3c2ff\", group \"app\"",
                "Evaluation status changed: \"pending\" -> \"complete\"",
            ]
        );
        assert_eq!(
            seen.news(&done, &[alloc(ClientStatus::Running, 10)], &view),
            [
                "Allocation \"51c8e77d\" status changed: \"pending\" -> \"running\" (Tasks are running)"
            ]
        );
    }

    #[test]
    fn an_older_allocation_is_a_modified_one() {
        let mut seen = Seen::default();
        let lines = seen.news(
            &eval(EvalStatus::Pending),
            &[alloc(ClientStatus::Running, 9)],
            &test_view(),
        );
        assert!(
            lines.iter().any(|line| line.contains("modified: node")),
            "{lines:?}"
        );
    }

    #[test]
    fn failed_placements_are_explained() {
        let mut eval = eval(EvalStatus::Complete);
        eval.blocked_eval = Some(test_id("aabbccdd"));
        let metric = AllocMetric {
            nodes_evaluated: 1,
            nodes_exhausted: 1,
            dimension_exhausted: jobs::model::FlatMap::from([("memory".to_owned(), 1)]),
            ..AllocMetric::default()
        };
        eval.failed_tg_allocs.insert("app".into(), metric);
        assert_eq!(
            finished(&eval, &test_view()),
            "==> 2026-03-02T10:05:00Z: Evaluation \"3f2a91c0\" finished with status \"complete\" but failed to place all allocations:
    2026-03-02T10:05:00Z: Task Group \"app\" (failed to place 1 allocation):
      * Resources exhausted on 1 nodes
      * Dimension \"memory\" exhausted on 1 nodes
    2026-03-02T10:05:00Z: Evaluation \"aabbccdd\" waiting for additional capacity to place remainder"
        );
    }
}

//! Following a deployment, and the one that rolls it back.

use super::{complain, next_index, screen::Screen};
use crate::view::View;
use crate::{
    context::Context,
    http::{Answer, Error, Http, segment},
    render::{allocations, deployments},
};
use jobs::model::{Deployment, DeploymentId, DeploymentStatus, Index};
use jobs::wire::AllocationListStub;
use std::time::Duration;
use tokio::time::Instant;

/// How often a failed read of a deployment is repeated.
const RETRIES_MAX: u32 = 10;

/// Longest pause between two such reads.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(12);

/// How long to wait for the deployment that rolls a failed one back.
const ROLLBACK_WAIT: Duration = Duration::from_secs(5);

/// Follows a deployment until it is decided; its last status, or none when it cannot be read.
///
/// A failed deployment that is rolled back is followed by the one that rolls back; the status is
/// that of the first.
///
/// # Errors
/// When the output is closed.
pub(crate) async fn follow(
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
                placed(http, id).await
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
async fn placed(http: &Http, id: DeploymentId) -> Option<Vec<AllocationListStub>> {
    let path = format!("/v1/deployment/allocations/{}", segment(id));
    http.get(&path, &[]).await.ok()
}

/// One state of a deployment as it is shown, without indentation.
fn block(current: &Deployment, allocs: Option<&[AllocationListStub]>, view: &View) -> String {
    let mut text = format!("{}\n{}", view.now(), deployments::detail(current, view));
    if let Some(allocs) = allocs {
        text.push_str(&format!(
            "\n\n{}\n{}",
            view.paint.title("Allocations"),
            allocations::list(allocs, view)
        ));
    }
    text
}

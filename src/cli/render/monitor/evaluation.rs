//! Following evaluations: each change is told once.

use super::{DONE, FAILED, PLACEMENT_FAILED, complain, deployment, next_index};
use crate::view::{View, quoted};
use crate::{
    context::Context,
    http::{Answer, Error, Http, segment},
    render::placement,
};
use jobs::model::{AllocId, DeploymentStatus, DesiredStatus, EvalId, EvalStatus, Evaluation, Span};
use jobs::wire::AllocationListStub;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Evaluations followed one after the other.
const CHAIN_MAX: usize = 64;

/// Follows the evaluation of a job in its namespace and returns the exit code.
///
/// # Errors
/// When the output is closed.
pub(crate) async fn follow(
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
            if eval.wait > Span::ZERO {
                cx.print(&format!(
                    "==> {}: Monitoring next evaluation {} in {}",
                    view.now(),
                    quoted(view.id(next)),
                    eval.wait
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
            quoted(view.id(deployment_id))
        ))?;
        let last = deployment::follow(cx, http, deployment_id, None, verbose).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{test_id, test_view};
    use jobs::model::{AllocMetric, ClientStatus, Index};

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

//! How one job is shown.

use super::periodic::next_launch;
use crate::render::{
    allocations, columns, deployments, evaluations::placement_failures, jobs::status_text,
    placement,
};
use crate::view::View;
use jobs::model::{Deployment, EvalStatus, Evaluation, Job, JobSummary};
use jobs::wire::AllocationListStub;

/// What a job's status shows besides the job.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) summary: JobSummary,
    pub(super) allocs: Vec<AllocationListStub>,
    pub(super) evals: Vec<Evaluation>,
    pub(super) deployment: Option<Deployment>,
    /// Evaluations that will replace failed allocations later.
    pub(super) followups: Vec<(String, Evaluation)>,
}

/// What it is.
pub(super) fn head(job: &Job, view: &View) -> String {
    let mut pairs = vec![
        ("ID", job.id.to_string()),
        ("Name", job.name.clone()),
        ("Submit Date", view.time(job.submit_time)),
        ("Type", job.job_type.as_str().to_owned()),
        ("Priority", job.priority.to_string()),
        ("Datacenters", job.datacenters.join(",")),
        ("Namespace", job.namespace.to_string()),
        ("Node Pool", job.node_pool.clone()),
        ("Status", status_text(job.status.as_str(), job.stop)),
        ("Periodic", job.periodic.is_some().to_string()),
        ("Parameterized", job.is_parameterized().to_string()),
    ];
    let token = Some(&job.dispatch_idempotency_token).filter(|token| !token.is_empty());
    pairs.extend(token.map(|token| ("Idempotency Token", token.clone())));
    if let Some(periodic) = job.periodic.as_ref().filter(|_| !job.is_parameterized()) {
        let next = if job.stop {
            Some("none (job stopped)".to_owned())
        } else {
            next_launch(periodic, view.clone())
        };
        pairs.extend(next.map(|next| ("Next Periodic Launch", next)));
    }
    columns::key_values(&pairs)
}

/// How it stands.
pub(super) fn body(parts: &Parts, with_evals: bool, view: &View) -> String {
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
            .map(|(group, eval)| [group.clone(), view.id(eval.id), view.ago(eval.wait_until)]);
        let text = columns::table(["Task Group", "Eval ID", "Eval Time"], rows.collect());
        out.push(section("Future Rescheduling Attempts", text));
    }
    if let Some(latest) = &parts.deployment {
        out.push(section(
            "Latest Deployment",
            deployments::brief(latest, view),
        ));
    }
    out.push(section(
        "Allocations",
        allocations::list(&parts.allocs, view),
    ));
    out.join("\n")
}

fn summary(summary: &JobSummary) -> String {
    let rows = summary.summary.iter().map(|(group, counts)| {
        [
            group.to_string(),
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
            placement_failures(one),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::decode;
    use crate::view::test_view;

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

//! `eval status`: one evaluation, shown or followed.

use crate::view::{View, quoted};
use crate::{
    context::Context,
    hints::Page,
    http::{decode, segment},
    lookup,
    render::{allocations, columns, evaluations, monitor, placement},
    structured::Structured,
};
use anyhow::{Context as _, bail};
use jobs::model::{DesiredUpdates, Evaluation, FlatMap, GroupName, PreemptedAlloc, Trigger};
use jobs::wire::{AllocationListStub, EvaluationStub};

/// Arguments of `eval status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Evaluation id or its beginning
    id: String,
    /// Follow it until it is decided
    #[arg(long)]
    monitor: bool,
    /// Show full ids and absolute times
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.monitor && arguments.structured.is_wanted() {
        bail!("The monitor flag cannot be used with the '-json' or '-t' flags");
    }
    let found = lookup::evaluation(cx, &arguments.id).await?;
    show(cx, &found, arguments).await
}

/// Shows the evaluation with this id, as `status` does.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn show_id(cx: &mut Context, id: &str, verbose: bool) -> anyhow::Result<u8> {
    let arguments = Arguments {
        id: id.to_owned(),
        verbose,
        ..Arguments::default()
    };
    run(cx, &arguments).await
}

async fn show(cx: &mut Context, found: &Evaluation, arguments: &Arguments) -> anyhow::Result<u8> {
    let http = cx.http.in_namespace(&found.namespace);
    if arguments.monitor {
        return monitor::evaluation::follow(cx, &http, found.id, arguments.verbose).await;
    }
    let path = format!("/v1/evaluation/{}", segment(found.id));
    let querying = "Error querying evaluation";
    let value = http
        .get_value(&path, &[("related", "true")])
        .await
        .context(querying)?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let eval: jobs::wire::Evaluation = decode(&path, value)?;
    let allocs: Vec<AllocationListStub> = http
        .get(&format!("{path}/allocations"), &[])
        .await
        .context("Error querying related allocations")?;
    cx.print(&detail(&eval, &allocs, &cx.view(arguments.verbose)))?;
    cx.hint(Page::Evaluation(&found.id.to_string())).await;
    Ok(0)
}

fn head(eval: &Evaluation, view: &View) -> String {
    let description = match eval.status_description.as_str() {
        "" => eval.status.as_str(),
        text => text,
    };
    let mut pairs = vec![
        ("ID", view.id(eval.id)),
        ("Create Time", view.when(eval.create_time)),
        ("Modify Time", view.when(eval.modify_time)),
        ("Status", eval.status.as_str().to_owned()),
        ("Status Description", description.to_owned()),
        ("Type", eval.job_type.as_str().to_owned()),
        ("TriggeredBy", eval.triggered_by.as_str().to_owned()),
        ("Job ID", eval.job_id.to_string()),
        ("Namespace", eval.namespace.to_string()),
    ];
    match eval.triggered_by {
        Trigger::NodeUpdate => {
            pairs.extend(eval.node_id.map(|id| ("Node ID", id.to_string())));
        }
        Trigger::MaxPlanAttempts => {
            pairs.extend(
                eval.previous_eval
                    .map(|id| ("Previous Eval", id.to_string())),
            );
        }
        _ => {}
    }
    pairs.push(("Priority", eval.priority.to_string()));
    pairs.push(("Placement Failures", evaluations::placement_failures(eval)));
    if !eval.wait_until.is_zero() {
        pairs.push(("Wait Until", view.time(eval.wait_until)));
    }
    pairs.push(("Previous Eval", view.id(eval.previous_eval)));
    pairs.push(("Next Eval", view.id(eval.next_eval)));
    pairs.push(("Blocked Eval", view.id(eval.blocked_eval)));
    columns::key_values(&pairs)
}

fn detail(eval: &jobs::wire::Evaluation, allocs: &[AllocationListStub], view: &View) -> String {
    let row = &eval.row;
    let section = |title: &str, text: &str| format!("\n{}\n{text}", view.paint.title(title));
    let mut out = vec![head(row, view)];
    if !eval.related_evals.is_empty() {
        let text = related(&eval.related_evals, view);
        out.push(section("Related Evaluations", &text));
    }
    if let Some(plan) = &row.plan_annotations
        && !plan.desired_tg_updates.is_empty()
    {
        let text = annotations(&plan.desired_tg_updates, view.verbose);
        out.push(section("Plan Annotations", &text));
    }
    let evicted = row
        .plan_annotations
        .iter()
        .flat_map(|plan| &plan.preempted_allocs);
    let evicted: Vec<&PreemptedAlloc> = evicted.collect();
    if !evicted.is_empty() {
        out.push(section("Preempted Allocations", &preempted(&evicted, view)));
    }
    if !allocs.is_empty() {
        // Short rows here: the evaluation and the node's name would only repeat.
        let narrow = View {
            verbose: false,
            ..view.clone()
        };
        let text = allocations::list(allocs, &narrow);
        out.push(section("Placed Allocations", &text));
    }
    if !row.failed_tg_allocs.is_empty() {
        let text = placement::groups(&row.failed_tg_allocs, view.paint);
        out.push(section("Failed Placements", &text));
        if row.blocked_eval.is_some() {
            out.push(format!(
                "\nEvaluation {} waiting for additional capacity to place remainder",
                quoted(view.id(row.blocked_eval))
            ));
        }
    }
    out.join("\n")
}

fn preempted(allocs: &[&PreemptedAlloc], view: &View) -> String {
    let rows = allocs.iter().map(|alloc| {
        [
            view.id(alloc.id),
            alloc.job_id.to_string(),
            view.id(alloc.node_id),
            alloc.task_group.to_string(),
            alloc.job_version.to_string(),
            alloc.desired_status.as_str().to_owned(),
            alloc.client_status.as_str().to_owned(),
            view.ago(alloc.create_time),
            view.ago(alloc.modify_time),
        ]
    });
    let header = [
        "ID",
        "Job ID",
        "Node ID",
        "Task Group",
        "Version",
        "Desired",
        "Status",
        "Created",
        "Modified",
    ];
    columns::table(header, rows.collect())
}

fn related(evals: &[EvaluationStub], view: &View) -> String {
    let rows = evals.iter().map(|eval| {
        [
            view.id(eval.id),
            eval.priority.to_string(),
            eval.triggered_by.as_str().to_owned(),
            view.id(eval.node_id),
            eval.status.as_str().to_owned(),
            eval.status_description.clone(),
        ]
    });
    columns::table(
        [
            "ID",
            "Priority",
            "Triggered By",
            "Node ID",
            "Status",
            "Description",
        ],
        rows.collect(),
    )
}

/// A column of the plan that is shown when some group uses it.
type OptionalColumn = (&'static str, fn(&DesiredUpdates) -> u64);

fn annotations(groups: &FlatMap<GroupName, DesiredUpdates>, verbose: bool) -> String {
    let optional: [OptionalColumn; 7] = [
        ("Migrate", |group| group.migrate),
        ("Canary", |group| group.canary),
        ("Preemptions", |group| group.preemptions),
        ("Reschedule Now", |group| group.reschedule_now),
        ("Reschedule Later", |group| group.reschedule_later),
        ("Disconnect", |group| group.disconnect),
        ("Reconnect", |group| group.reconnect),
    ];
    let shown: Vec<&OptionalColumn> = optional
        .iter()
        .filter(|(_, count)| verbose || groups.values().any(|group| count(group) > 0))
        .collect();
    let fixed = [
        "Task Group",
        "Ignore",
        "Place",
        "Stop",
        "InPlace",
        "Destructive",
    ];
    let mut lines: Vec<Vec<String>> = vec![
        fixed
            .into_iter()
            .chain(shown.iter().map(|(name, _)| *name))
            .map(str::to_owned)
            .collect(),
    ];
    for (name, group) in groups {
        let mut line = vec![
            name.to_string(),
            group.ignore.to_string(),
            group.place.to_string(),
            group.stop.to_string(),
            group.in_place_update.to_string(),
            group.destructive_update.to_string(),
        ];
        line.extend(shown.iter().map(|(_, count)| count(group).to_string()));
        lines.push(line);
    }
    columns::list(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;

    #[test]
    fn an_evaluation_that_could_not_place_all() {
        let value = serde_json::json!({
            "ID": "3f2a91c0-0000-4000-8000-000000000001", "Status": "complete", "Type": "service", "TriggeredBy": "job-register",
            "JobID": "web", "Namespace": "default", "Priority": 50, "BlockedEval": "aabbccdd-0000-4000-8000-000000000001",
            "CreateTime": 1_772_445_840_000_000_000_i64, "ModifyTime": 1_772_445_841_000_000_000_i64,
            "PlanAnnotations": {"DesiredTGUpdates": {"app": {"Place": 2, "Canary": 1}}},
            "FailedTGAllocs": {"app": {"NodesEvaluated": 1, "NodesExhausted": 1,
                "DimensionExhausted": {"cpu": 1}}},
        });
        let eval: jobs::wire::Evaluation = decode("", value).unwrap();
        assert_eq!(
            detail(&eval, &[], &test_view()),
            "ID                 = 3f2a91c0
Create Time        = 1m ago
Modify Time        = 59s ago
Status             = complete
Status Description = complete
Type               = service
TriggeredBy        = job-register
Job ID             = web
Namespace          = default
Priority           = 50
Placement Failures = true
Previous Eval      = <none>
Next Eval          = <none>
Blocked Eval       = aabbccdd

Plan Annotations
Task Group  Ignore  Place  Stop  InPlace  Destructive  Canary
app         0       2      0     0        0            1

Failed Placements
Task Group \"app\" (failed to place 1 allocation):
  * Resources exhausted on 1 nodes
  * Dimension \"cpu\" exhausted on 1 nodes

Evaluation \"aabbccdd\" waiting for additional capacity to place remainder"
        );
    }
}

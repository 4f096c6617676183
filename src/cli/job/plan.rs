//! `job plan`.

use super::super::context::Context;
use super::super::http::{decode, segment};
use super::super::render::{columns, placement};
use super::super::structured::Structured;
use super::super::view::{Ink, View, escaped, quoted};
use super::diff;
use super::run::warnings;
use super::source::Source;
use crate::arguments::switches;
use anyhow::Context as _;
use jobs::model::{PreemptedAlloc, Timestamp, Trigger};
use jobs::wire::{DiffType, Job, JobPlanRequest, JobPlanResponse};
use std::collections::BTreeMap;
use sys::clock::now;

/// From so many rows on, evicted allocations are counted by job, and jobs by type.
const EVICTIONS_SHOWN_MAX: usize = 10;
/// Nothing would be placed or stopped.
const UNCHANGED: u8 = 0;
/// Something would be placed or stopped.
const CHANGES: u8 = 1;

/// Arguments of `job plan`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(mut_args(switches(&["diff"])))]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Show the difference to the current version
    #[arg(long, default_value_t = true)]
    diff: bool,
    /// Accepted for old scripts: there are no policies to override
    #[arg(long)]
    policy_override: bool,
    /// Namespace of Vault that the job uses
    #[arg(long, value_name = "NAMESPACE")]
    vault_namespace: Option<String>,
    /// Print the API's object as JSON
    #[arg(long, conflicts_with = "template")]
    json_output: bool,
    /// Print the API's object through a Go template
    #[arg(short = 't', value_name = "TEMPLATE")]
    template: Option<String>,
    /// Show the content of added and deleted groups and tasks
    #[arg(long)]
    verbose: bool,
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let mut loaded = arguments.source.load().await?;
    if let Some(namespace) = &arguments.vault_namespace {
        loaded.job.vault_namespace = Some(namespace.clone());
    }
    let http = loaded.http(cx);
    let request = JobPlanRequest {
        job: Some(Box::new(loaded.job.clone())),
        diff: true,
        policy_override: arguments.policy_override,
        ..JobPlanRequest::default()
    };
    let path = format!("/v1/job/{}/plan", segment(loaded.id()));
    let value = http
        .put_value(&path, &[], &request)
        .await
        .context("Error during plan")?;
    let wanted = Structured::new(arguments.json_output, arguments.template.clone());
    let text = wanted.text(&value)?;
    let preview: JobPlanResponse = decode(&path, value)?;
    if let Some(text) = text {
        cx.print(&text)?;
        return Ok(exit_code(&preview));
    }
    let view = cx.view(arguments.verbose);
    if let Some(difference) = preview.diff.as_ref().filter(|_| arguments.diff) {
        let text = diff::render(difference, &view);
        cx.print(&format!("{}\n", text.trim()))?;
    }
    let mut lines = dry_run(&preview, &loaded.job, &view);
    if let Some(launch) = next_launch(&preview, &loaded.job, now()) {
        lines.push('\n');
        lines.push_str(&view.paint.ink(Ink::Green, &launch));
    }
    cx.print(&lines)?;
    cx.print("")?;
    if let Some(text) = warnings(cx, &preview.warnings) {
        cx.print(&text)?;
    }
    if let Some(text) = evictions(&preview.annotations.preempted_allocs) {
        let title = view.paint.ink(Ink::Yellow, "Preemptions:\n");
        cx.print(&format!("{}\n{text}", view.paint.title(&title)))?;
    }
    let flags = run_flags(&arguments.source, cx.namespace.as_deref());
    let program = cx.program.clone();
    cx.print(&trailer(
        preview.job_modify_index,
        &format!(
            "{program} job run -check-index {} {flags}{}",
            preview.job_modify_index, arguments.source.path
        ),
        &view,
    ))?;
    Ok(exit_code(&preview))
}

/// 1 when something would be placed or stopped.
fn exit_code(preview: &JobPlanResponse) -> u8 {
    let unchanged = preview
        .diff
        .as_ref()
        .is_some_and(|diff| diff.diff_type == DiffType::None);
    if unchanged {
        return UNCHANGED;
    }
    let changes = preview
        .annotations
        .desired_tg_updates
        .values()
        .any(|group| {
            group.stop + group.place + group.migrate + group.destructive_update + group.canary > 0
        });
    if changes { CHANGES } else { UNCHANGED }
}

/// The flags of the plan that a run needs too.
fn run_flags(source: &Source, namespace: Option<&str>) -> String {
    let mut flags = String::new();
    for var in &source.var {
        flags.push_str(&format!("-var={} ", quoted(var)));
    }
    for file in &source.var_file {
        flags.push_str(&format!(
            "-var-file={} ",
            quoted(file.display().to_string())
        ));
    }
    if let Some(namespace) = namespace {
        flags.push_str(&format!("-namespace={} ", quoted(namespace)));
    }
    if !source.hcl2_strict {
        flags.push_str("-hcl2-strict=false ");
    }
    flags
}

/// What the scheduler would place.
fn dry_run(preview: &JobPlanResponse, job: &Job, view: &View) -> String {
    let paint = view.paint;
    let mut lines = vec![paint.title("Scheduler dry-run:")];
    if preview.failed_tg_allocs.is_empty() {
        lines.push(paint.ink(Ink::Green, "- All tasks successfully allocated."));
    } else {
        let whole = if job.job_type.as_deref() == Some("system") {
            "- WARNING: Failed to place allocations on all nodes."
        } else {
            "- WARNING: Failed to place all allocations."
        };
        lines.push(paint.ink(Ink::Yellow, whole));
        for (at, (group, metric)) in preview.failed_tg_allocs.iter().enumerate() {
            if at > 0 {
                lines.push(String::new());
            }
            let title = format!("  {}:", placement::group_title(group, metric));
            lines.push(paint.ink(Ink::Yellow, &title));
            let bullets = placement::bullets(metric, paint, "    ");
            if !bullets.is_empty() {
                lines.push(bullets);
            }
        }
    }
    let rolling = preview
        .created_evals
        .iter()
        .find(|eval| eval.triggered_by == Trigger::RollingUpdate);
    if let Some(eval) = rolling {
        let text = format!(
            "- Rolling update, next evaluation will be in {}.",
            eval.wait
        );
        lines.push(paint.ink(Ink::Green, &text));
    }
    for rollout in &preview.rollouts {
        lines.push(paint.ink(Ink::Green, &format!("- {rollout}.")));
    }
    lines.join("\n")
}

/// Who would be evicted: one by one, or counted where they are many; none for nobody.
fn evictions(evicted: &[PreemptedAlloc]) -> Option<String> {
    if evicted.len() < EVICTIONS_SHOWN_MAX {
        let rows = evicted.iter().map(|alloc| {
            [
                alloc.id.to_string(),
                alloc.job_id.to_string(),
                alloc.task_group.to_string(),
            ]
        });
        let header = ["Alloc ID", "Job ID", "Task Group"];
        return (!evicted.is_empty()).then(|| columns::table(header, rows.collect()));
    }
    let mut of_jobs: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut of_types: BTreeMap<&str, usize> = BTreeMap::new();
    for alloc in evicted {
        let job_type = alloc.job_type.as_str();
        let key = (job_type, alloc.job_id.as_str(), alloc.namespace.as_str());
        *of_jobs.entry(key).or_default() += 1;
        *of_types.entry(job_type).or_default() += 1;
    }
    if of_jobs.len() < EVICTIONS_SHOWN_MAX {
        let rows = of_jobs
            .into_iter()
            .map(|((job_type, id, namespace), count)| {
                [id, namespace, job_type, &count.to_string()].map(str::to_owned)
            });
        let header = ["Job ID", "Namespace", "Job Type", "Preemptions"];
        return Some(columns::table(header, rows.collect()));
    }
    let rows = of_types
        .into_iter()
        .map(|(job_type, count)| [job_type.to_owned(), count.to_string()]);
    let header = ["Job Type", "Preemptions"];
    Some(columns::table(header, rows.collect()))
}

/// When a job that is launched at set times would be launched; none for others.
fn next_launch(preview: &JobPlanResponse, job: &Job, now: Timestamp) -> Option<String> {
    let text = preview.next_periodic_launch.as_str();
    if job.parameterized_job.is_some() || text.is_empty() || text == JobPlanResponse::NEVER {
        return None;
    }
    let at: jiff::Timestamp = text.parse().ok()?;
    let second = |at: Timestamp| Timestamp::from_secs(at.as_nanos().div_euclid(1_000_000_000));
    let wait = Timestamp::from_secs(at.as_second()) - second(now);
    Some(format!(
        "- If submitted now, next periodic launch would be at {} ({wait} from now).",
        escaped(text)
    ))
}

/// How to run exactly what was planned.
fn trailer(index: u64, command: &str, view: &View) -> String {
    let title = view.paint.title(&format!("Job Modify Index: {index}"));
    format!(
        "{title}
To submit the job with version verification run:

{command}

With -check-index the job is registered only while its modify index on the servers
is the one given. A different index means that somebody changed the job after this
plan was made, so the plan may no longer tell what would happen."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;

    fn preview(value: serde_json::Value) -> JobPlanResponse {
        decode("", value).unwrap()
    }

    #[test]
    fn the_exit_code_tells_changes_from_none() {
        let groups = |key: &str| serde_json::json!({"DesiredTGUpdates": {"app": {key: 1}}});
        for (diff, key, code) in [
            ("None", "Place", 0),
            ("Edited", "Ignore", 0),
            ("Edited", "InPlaceUpdate", 0),
            ("Edited", "Place", 1),
            ("Edited", "Stop", 1),
            ("Edited", "Migrate", 1),
            ("Edited", "DestructiveUpdate", 1),
            ("Edited", "Canary", 1),
            ("Added", "Place", 1),
        ] {
            let preview = preview(serde_json::json!({
                "Diff": {"Type": diff, "ID": "web"}, "Annotations": groups(key),
            }));
            assert_eq!(exit_code(&preview), code, "{diff} {key}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let preview = preview(serde_json::json!({
            "FailedTGAllocs": {"app": {
                "NodesEvaluated": 1, "NodesExhausted": 1, "CoalescedFailures": 3,
                "DimensionExhausted": {"network: reserved port collision http=8080": 1},
                "NodesAvailable": {"dc1": 1}, "Scores": null,
            }},
        }));
        assert_eq!(
            dry_run(&preview, &Job::default(), &test_view()),
            "Scheduler dry-run:
- WARNING: Failed to place all allocations.
  Task Group \"app\" (failed to place 4 allocations):
    * Resources exhausted on 1 nodes
    * Dimension \"network: reserved port collision http=8080\" exhausted on 1 nodes"
        );
    }

    #[test]
    fn evicted_allocations_are_listed_and_many_are_counted() {
        let evicted = |count: usize, jobs: usize| -> Vec<PreemptedAlloc> {
            (0..count)
                .map(|at| PreemptedAlloc {
                    id: jobs::model::AllocId::named(&format!("a{at}")),
                    job_id: format!("job{}", at % jobs).as_str().into(),
                    namespace: "default".into(),
                    task_group: "app".into(),
                    ..PreemptedAlloc::default()
                })
                .collect()
        };
        assert_eq!(evictions(&[]), None);
        let few = evictions(&evicted(1, 1)).unwrap();
        let id = evicted(1, 1)[0].id;
        assert_eq!(
            few,
            format!("Alloc ID                              Job ID  Task Group\n{id}  job0    app")
        );
        assert_eq!(
            evictions(&evicted(11, 2)).unwrap(),
            "Job ID  Namespace  Job Type  Preemptions
job0    default    service   6
job1    default    service   5"
        );
        assert_eq!(
            evictions(&evicted(30, 15)).unwrap(),
            "Job Type  Preemptions\nservice   30"
        );
    }

    #[test]
    fn the_next_launch_is_told_in_the_zone_of_the_job() {
        let now = Timestamp::from_nanos(1_800_000_000_900_000_000);
        let told = |text: &str, job: &Job| {
            let preview = JobPlanResponse {
                next_periodic_launch: text.into(),
                ..JobPlanResponse::default()
            };
            next_launch(&preview, job, now)
        };
        let periodic = Job::default();
        assert_eq!(
            told("2027-01-15T10:05:09+01:00", &periodic).unwrap(),
            "- If submitted now, next periodic launch would be at 2027-01-15T10:05:09+01:00 (1h5m9s from now)."
        );
        assert_eq!(told(JobPlanResponse::NEVER, &periodic), None);
        let parameterized = Job {
            parameterized_job: Some(jobs::model::Parameterized::default()),
            ..Job::default()
        };
        assert_eq!(told("2027-01-15T10:05:09Z", &parameterized), None);
    }

    #[test]
    fn the_trailer_repeats_what_a_run_needs() {
        let source = Source {
            path: "web.nomad".into(),
            var: vec!["count=3".into()],
            ..Source::default()
        };
        assert_eq!(
            run_flags(&source, Some("team")),
            "-var=\"count=3\" -namespace=\"team\" -hcl2-strict=false "
        );
        let text = trailer(41, "trivet job run -check-index 41 web.nomad", &test_view());
        assert!(text.starts_with(
            "Job Modify Index: 41\nTo submit the job with version verification run:\n\ntrivet job run -check-index 41 web.nomad\n\n"
        ), "{text}");
    }
}

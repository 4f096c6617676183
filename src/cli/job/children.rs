//! What was launched of a job that never runs itself.

use super::super::{context::Context, http::Http, render::columns, view::View};
use anyhow::Context as _;
use jobs::{
    model::{ChildrenSummary, Job, JobSummary},
    wire::JobListStub,
};

/// The children of one job.
#[derive(Debug, Default)]
pub(super) struct Children {
    summary: ChildrenSummary,
    jobs: Vec<JobListStub>,
}

impl Children {
    /// Reads them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) async fn fetch(http: &Http, path: &str, job: &Job) -> anyhow::Result<Self> {
        let summary: JobSummary = http
            .get(&format!("{path}/summary"), &[])
            .await
            .context("Error querying job summary")?;
        let how = if job.is_parameterized() {
            "dispatch"
        } else {
            "periodic"
        };
        let prefix = format!("{}/{how}-", job.id);
        let mut jobs: Vec<JobListStub> = http
            .get("/v1/jobs", &[("prefix", prefix.as_str())])
            .await
            .context("Error querying job")?;
        jobs.retain(|child| child.parent_id.as_ref() == Some(&job.id));
        Ok(Self {
            summary: summary.children,
            jobs,
        })
    }
}

/// How the job stands: what it takes, and what was launched of it.
pub(super) fn body(job: &Job, children: &Children, view: &View) -> String {
    let section = |title: &str, text: String| format!("\n{}\n{text}", view.paint.title(title));
    let (counts, listed, none) = if job.is_parameterized() {
        (
            "Parameterized Job Summary",
            "Dispatched Jobs",
            "\nNo dispatched instances of parameterized job found",
        )
    } else {
        (
            "Children Job Summary",
            "Previously Launched Jobs",
            "\nNo instances of periodic job found",
        )
    };
    let mut out = Vec::new();
    if job.is_parameterized() {
        out.push(section("Parameterized Job", taken(job)));
    }
    let summary = [
        &children.summary.pending,
        &children.summary.running,
        &children.summary.dead,
    ];
    let row = summary.map(u32::to_string);
    out.push(section(
        counts,
        columns::table(["Pending", "Running", "Dead"], vec![row]),
    ));
    if children.jobs.is_empty() {
        out.push(none.to_owned());
    } else {
        let rows = children.jobs.iter();
        let rows = rows.map(|child| [child.id.to_string(), child.status.as_str().to_owned()]);
        out.push(section(
            listed,
            columns::table(["ID", "Status"], rows.collect()),
        ));
    }
    out.join("\n")
}

/// What a launch has to give.
fn taken(job: &Job) -> String {
    let block = job
        .parameterized_job
        .as_deref()
        .cloned()
        .unwrap_or_default();
    let keys = |keys: Option<Vec<String>>| keys.unwrap_or_default().join(", ");
    columns::key_values(&[
        ("Payload", block.payload),
        ("Required Metadata", keys(block.meta_required)),
        ("Optional Metadata", keys(block.meta_optional)),
    ])
}

/// Prints how the job stands.
///
/// # Errors
/// When it cannot be read.
pub(super) async fn show(
    cx: &mut Context,
    http: &Http,
    path: &str,
    job: &Job,
    view: &View,
) -> anyhow::Result<()> {
    let children = Children::fetch(http, path, job).await?;
    cx.print(&body(job, &children, view))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::decode, view::test_view};
    use serde_json::json;

    fn shown(job: serde_json::Value, children: serde_json::Value, dead: u32) -> String {
        let job: Job = decode("", job).unwrap();
        let children = Children {
            summary: ChildrenSummary {
                dead,
                ..ChildrenSummary::default()
            },
            jobs: decode("", children).unwrap(),
        };
        body(&job, &children, &test_view())
    }

    #[test]
    fn children_are_counted_and_listed() {
        let periodic = json!({"ID": "p", "Periodic": {}});
        assert_eq!(
            shown(periodic.clone(), json!([]), 0),
            "
Children Job Summary
Pending  Running  Dead
0        0        0

No instances of periodic job found"
        );
        let child = json!([{"ID": "p/periodic-7", "Status": "dead"}]);
        assert_eq!(
            shown(periodic, child, 1),
            "
Children Job Summary
Pending  Running  Dead
0        0        1

Previously Launched Jobs
ID            Status
p/periodic-7  dead"
        );
        let parameterized = json!({"ID": "b", "ParameterizedJob":
            {"Payload": "required", "MetaRequired": ["a", "b"]}});
        assert_eq!(
            shown(parameterized, json!([]), 0),
            "
Parameterized Job
Payload           = required
Required Metadata = a, b
Optional Metadata = <none>

Parameterized Job Summary
Pending  Running  Dead
0        0        0

No dispatched instances of parameterized job found"
        );
    }
}

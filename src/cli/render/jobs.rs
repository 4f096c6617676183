//! Jobs as a table.

use super::columns;
use crate::view::View;
use jobs::wire::JobListStub;

/// A table of jobs.
pub(crate) fn list(jobs: &[JobListStub], namespaces: bool, view: &View) -> String {
    let mut lines = vec![columns::chosen([
        (true, "ID".into()),
        (namespaces, "Namespace".into()),
        (true, "Type".into()),
        (true, "Priority".into()),
        (true, "Status".into()),
        (true, "Submit Date".into()),
    ])];
    for job in jobs {
        lines.push(columns::chosen([
            (true, job.id.to_string()),
            (namespaces, job.namespace.to_string()),
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

/// A job's status, which says too whether it was stopped.
pub(crate) fn status_text(status: &str, stopped: bool) -> String {
    if stopped {
        format!("{status} (stopped)")
    } else {
        status.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::decode;
    use crate::view::test_view;

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
}

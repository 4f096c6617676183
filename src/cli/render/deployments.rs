//! Deployments: as a table, and one with its progress.

use super::columns;
use crate::view::View;
use jobs::model::{Deployment, DeploymentState, GroupName};
use std::collections::BTreeMap;

/// A table of deployments.
pub(crate) fn list(all: &[Deployment], view: &View) -> String {
    if all.is_empty() {
        return "No deployments found".to_owned();
    }
    let rows = all.iter().map(|one| {
        [
            view.id(one.id),
            one.job_id.to_string(),
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
pub(crate) fn detail(current: &Deployment, view: &View) -> String {
    let head = columns::key_values(&[
        ("ID", view.id(current.id)),
        ("Job ID", current.job_id.to_string()),
        ("Job Version", current.job_version.to_string()),
        ("Status", current.status.as_str().to_owned()),
        ("Description", current.status_description.clone()),
    ]);
    with_progress(head, current, view)
}

/// One deployment below its job, which is named already.
pub(crate) fn brief(current: &Deployment, view: &View) -> String {
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
fn progress(groups: &BTreeMap<GroupName, DeploymentState>, view: &View) -> String {
    let reverts = groups.values().any(|group| group.auto_revert);
    let canaries = groups.values().any(|group| group.desired_canaries > 0);
    let deadline = groups
        .values()
        .any(|group| !group.progress_deadline.is_zero());
    let mut lines = vec![columns::chosen([
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
        lines.push(columns::chosen([
            (true, name.to_string()),
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
    use super::*;
    use crate::http::decode;
    use crate::view::test_view;

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

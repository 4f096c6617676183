//! `job scaling-events`.

use crate::{context::Context, http::segment, lookup, render::columns, view::View};
use anyhow::Context as _;
use jobs::model::ScalingEvent;
use jobs::wire::JobScaleStatus;

/// Arguments of `job scaling-events`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Job id or its beginning
    job: String,
    /// Show messages and evaluations too
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let job = lookup::job(cx, &arguments.job).await?;
    let status: JobScaleStatus = cx
        .http
        .in_namespace(&job.namespace)
        .get(&format!("/v1/job/{}/scale", segment(&job.id)), &[])
        .await
        .context("Error listing scaling events")?;
    let view = cx.view(arguments.verbose);
    let text = list(&status, arguments.verbose, &view);
    cx.print(&text)?;
    Ok(0)
}

/// The events of all groups, newest first.
fn list(status: &JobScaleStatus, verbose: bool, view: &View) -> String {
    let groups = status.task_groups.iter();
    let mut events: Vec<(&str, &ScalingEvent)> = groups
        .flat_map(|(name, group)| group.events.iter().map(|event| (name.as_str(), event)))
        .collect();
    if events.is_empty() {
        return "No events found".into();
    }
    events.sort_by_key(|(_, event)| std::cmp::Reverse(event.time));
    let cells = |cells: [&str; 7]| {
        let mut shown = [true; 7];
        shown[3..6].fill(verbose);
        let shown = shown.into_iter().zip(cells);
        shown
            .filter(|(shown, _)| *shown)
            .map(|(_, cell)| cell.to_owned())
            .collect::<Vec<String>>()
    };
    let mut lines = vec![cells([
        "Task Group",
        "Count",
        "PrevCount",
        "Error",
        "Message",
        "Eval ID",
        "Date",
    ])];
    lines.extend(events.into_iter().map(|(group, event)| {
        cells([
            group,
            &event
                .count
                .map(|count| count.to_string())
                .unwrap_or_default(),
            &event.previous_count.to_string(),
            &event.error.to_string(),
            &event.message,
            &event.eval_id.map(|id| id.to_string()).unwrap_or_default(),
            &view.time(event.time),
        ])
    }));
    columns::list(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;
    use jobs::wire::GroupScaleStatus;

    #[test]
    fn events_of_all_groups_are_told_newest_first() {
        let view = test_view();
        let mut status = JobScaleStatus::default();
        assert_eq!(list(&status, false, &view), "No events found");
        for (group, count, age) in [("a", Some(3), 60), ("b", None, 0)] {
            let event = ScalingEvent {
                count,
                previous_count: 1,
                message: "because".into(),
                time: view.now - std::time::Duration::from_secs(age),
                ..ScalingEvent::default()
            };
            let events = GroupScaleStatus {
                events: vec![event],
                ..GroupScaleStatus::default()
            };
            status.task_groups.insert(group.into(), events);
        }
        assert_eq!(
            list(&status, false, &view),
            "Task Group  Count   PrevCount  Date\n\
             b           <none>  1          2026-03-02T10:05:00Z\n\
             a           3       1          2026-03-02T10:04:00Z"
        );
        assert!(list(&status, true, &view).contains("because"));
    }
}

//! How one allocation is shown, its tasks aside.

use super::tasks::{lifecycle_name, ordered};
use crate::render::{columns, placement};
use crate::view::{View, quoted};
use jobs::model::Evaluation;
use jobs::wire::Allocation;

/// What it is, where it runs and how it stands.
pub(super) fn head(alloc: &Allocation, followup: Option<&Evaluation>, view: &View) -> String {
    let row = &alloc.row;
    let mut pairs = vec![
        ("ID", row.id.to_string()),
        ("Eval ID", view.id(row.eval_id)),
        ("Name", row.name.to_string()),
        ("Node ID", view.id(row.node_id)),
        ("Node Name", row.node_name.to_string()),
        ("Job ID", row.job_id.to_string()),
        ("Job Version", alloc.job.version.to_string()),
        ("Client Status", row.client_status.as_str().to_owned()),
        ("Client Description", row.client_description.to_string()),
        ("Desired Status", row.desired_status.as_str().to_owned()),
        ("Desired Description", row.desired_description.to_string()),
        ("Created", view.when(row.create_time)),
        ("Modified", view.when(row.modify_time)),
    ];
    if row.deployment_id.is_some() {
        let health = match row.healthy() {
            Some(true) => "healthy",
            Some(false) => "unhealthy",
            None => "unset",
        };
        pairs.push(("Deployment ID", view.id(row.deployment_id)));
        pairs.push(("Deployment Health", health.to_owned()));
        if row.is_canary() {
            pairs.push(("Canary", "true".to_owned()));
        }
    }
    if let Some(attempts) = reschedule_attempts(alloc) {
        pairs.push(("Reschedule Attempts", attempts));
    }
    if row.next_allocation.is_some() {
        let next = view.id(row.next_allocation);
        pairs.push(("Replacement Alloc ID", next));
    }
    if let Some(eval) = followup.filter(|eval| eval.wait_until > view.now) {
        pairs.push(("Reschedule Eligibility", view.ago(eval.wait_until)));
    }
    if view.verbose {
        let metric = &row.metrics;
        pairs.push(("Evaluated Nodes", metric.nodes_evaluated.to_string()));
        pairs.push(("Filtered Nodes", metric.nodes_filtered.to_string()));
        pairs.push(("Exhausted Nodes", metric.nodes_exhausted.to_string()));
        pairs.push(("Allocation Time", metric.allocation_time.to_string()));
        pairs.push(("Failures", metric.coalesced_failures.to_string()));
    }
    columns::key_values(&pairs)
}

/// Replacements within the policy's interval and how many are allowed; none without a limit.
fn reschedule_attempts(alloc: &Allocation) -> Option<String> {
    let tracker = alloc.row.reschedule_tracker.as_ref()?;
    let group = alloc.job.task_group(&alloc.row.task_group)?;
    let policy = group.reschedule_policy.as_ref()?;
    if policy.unlimited || policy.attempts == 0 || tracker.events.is_empty() {
        return None;
    }
    let recent = tracker
        .events
        .iter()
        .filter(|event| alloc.row.modify_time - event.reschedule_time <= policy.interval)
        .count();
    Some(format!("{recent}/{}", policy.attempts))
}

/// Its ports; none without any.
pub(super) fn addresses(alloc: &Allocation) -> Option<String> {
    let shared = &alloc.row.allocated_resources.shared;
    let network = shared.networks.first()?;
    let line = |label: String, host: &str, value: u16, to: i32| {
        let target = if to > 0 {
            format!(" -> {to}")
        } else {
            String::new()
        };
        [label, "yes".to_owned(), format!("{host}:{value}{target}")]
    };
    let rows: Vec<[String; 3]> = if shared.ports.is_empty() {
        network
            .dynamic_ports
            .iter()
            .chain(&network.reserved_ports)
            .map(|port| line(port.label.clone(), &network.ip, port.value, port.to))
            .collect()
    } else {
        shared
            .ports
            .iter()
            .map(|port| {
                let label = format!("*{}", port.label);
                line(label, &port.host_ip, port.value, port.to)
            })
            .collect()
    };
    if rows.is_empty() {
        return None;
    }
    let mode = match network.mode.as_str() {
        "" => String::new(),
        mode => format!(" (mode = {})", quoted(mode)),
    };
    let table = columns::table(["Label", "Dynamic", "Address"], rows);
    Some(format!("Allocation Addresses{mode}:\n{table}"))
}

/// The head and a line per task.
pub(super) fn short(alloc: &Allocation, view: &View) -> String {
    let head = columns::key_values(&[
        ("ID", alloc.row.id.to_string()),
        ("Name", alloc.row.name.to_string()),
        ("Created", view.ago(alloc.row.create_time)),
        ("Modified", view.ago(alloc.row.modify_time)),
    ]);
    let rows = ordered(alloc).into_iter().map(|(name, state, lifecycle)| {
        let last = state.events.last();
        [
            name.to_owned(),
            state.state.as_str().to_owned(),
            last.map(|event| event.event_type.to_string())
                .unwrap_or_default(),
            last.map(|event| view.time(event.time)).unwrap_or_default(),
            lifecycle_name(lifecycle),
        ]
    });
    let table = columns::table(
        ["Name", "State", "Last Event", "Time", "Lifecycle"],
        rows.collect(),
    );
    format!("{head}\n\n{}\n{table}", view.paint.title("Tasks"))
}

/// How it was placed.
pub(super) fn metrics(alloc: &Allocation, view: &View) -> String {
    let mut text = format!("\n{}", view.paint.title("Placement Metrics"));
    let metric = &alloc.row.metrics;
    for part in [
        placement::bullets(metric, view.paint, "  "),
        placement::scores(metric, view),
    ] {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(&part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::test_view;
    use crate::{alloc::tasks, http::decode};
    use jobs::wire::AllocResourceUsage;

    fn fixture() -> Allocation {
        let value = serde_json::json!({
            "ID": "51c8e77d-2a3f-8a4a-9f6f-1f2d3c4b5a69", "EvalID": "3f2a91c0-0000-4000-8000-000000000001", "Name": "web.app[0]",
            "NodeID": "7ab3c2ff-0000-4000-8000-000000000001", "NodeName": "n1", "JobID": "web", "TaskGroup": "app",
            "ClientStatus": "running", "ClientDescription": "Tasks are running",
            "DesiredStatus": "run", "DesiredDescription": null,
            "CreateTime": 1_772_445_708_000_000_000_i64, "ModifyTime": 1_772_445_722_000_000_000_i64,
            "DeploymentID": "9d0be1aa-0000-4000-8000-000000000001", "DeploymentStatus": {"Healthy": true, "Canary": true},
            "Job": {"ID": "web", "Version": 2, "TaskGroups": [{"Name": "app", "Tasks": [
                {"Name": "server"}, {"Name": "init", "Lifecycle": {"Hook": "prestart", "Sidecar": false}},
            ]}]},
            "Resources": {"CPU": 100, "MemoryMB": 300, "DiskMB": 300},
            "TaskResources": {"server": {"CPU": 100, "MemoryMB": 300}},
            "AllocatedResources": {"Shared": {
                "Networks": [{"Mode": "host", "IP": "10.0.0.5"}],
                "Ports": [{"Label": "http", "Value": 24311, "To": 8080, "HostIP": "10.0.0.5"}],
            }},
            "TaskStates": {
                "server": {"State": "running", "StartedAt": "2026-03-02T10:02:00Z", "FinishedAt": null,
                    "Events": [
                        {"Type": "Received", "Time": 1_772_445_708_000_000_000_i64,
                         "DisplayMessage": "Task received by client"},
                        {"Type": "Started", "Time": 1_772_445_720_000_000_000_i64,
                         "DisplayMessage": "Task started by client"},
                    ]},
                "init": {"State": "dead"},
            },
        });
        decode("", value).unwrap()
    }

    #[test]
    fn a_running_allocation_in_full() {
        let alloc = fixture();
        let view = test_view();
        let usage: AllocResourceUsage = decode(
            "",
            serde_json::json!({"Tasks": {"server": {"ResourceUsage": {
                "CpuStats": {"TotalTicks": 12.7}, "MemoryStats": {"RSS": 12_582_912}}}}}),
        )
        .unwrap();
        let text = format!(
            "{}\n\n{}\n{}",
            head(&alloc, None, &view),
            addresses(&alloc).unwrap(),
            tasks::list(&alloc, Some(&usage), false, &view)
        );
        assert_eq!(
            text,
            "ID                  = 51c8e77d-2a3f-8a4a-9f6f-1f2d3c4b5a69
Eval ID             = 3f2a91c0
Name                = web.app[0]
Node ID             = 7ab3c2ff
Node Name           = n1
Job ID              = web
Job Version         = 2
Client Status       = running
Client Description  = Tasks are running
Desired Status      = run
Desired Description = <none>
Created             = 3m12s ago
Modified            = 2m58s ago
Deployment ID       = 9d0be1aa
Deployment Health   = healthy
Canary              = true

Allocation Addresses (mode = \"host\"):
Label  Dynamic  Address
*http  yes      10.0.0.5:24311 -> 8080

Task \"init\" (prestart) is \"dead\"

Task Events:
Started At     = N/A
Finished At    = N/A
Total Restarts = 0
Last Restart   = N/A

Recent Events:
Time  Type  Description

Task \"server\" is \"running\"
Task Resources:
CPU         Memory          Disk     Addresses
12/100 MHz  12 MiB/300 MiB  300 MiB\u{20}\u{20}

Task Events:
Started At     = 2026-03-02T10:02:00Z
Finished At    = N/A
Total Restarts = 0
Last Restart   = N/A

Recent Events:
Time                  Type      Description
2026-03-02T10:02:00Z  Started   Task started by client
2026-03-02T10:01:48Z  Received  Task received by client"
        );
    }

    #[test]
    fn the_short_form_has_a_line_per_task() {
        let text = short(&fixture(), &test_view());
        assert!(
            text.ends_with(
                "Tasks
Name    State    Last Event  Time                  Lifecycle
init    dead     <none>      <none>                prestart
server  running  Started     2026-03-02T10:02:00Z  main"
            ),
            "{text}"
        );
    }
}

//! `alloc status`, and the table of allocations that others show too.

use super::super::context::Context;
use super::super::http::{decode, segment};
use super::super::structured::Structured;
use super::super::view::{View, bytes, duration, megabytes, quoted};
use super::super::{columns, lookup, placement};
use jobs::model::{Evaluation, Lifecycle, NetworkResource, TaskState};
use jobs::wire::{AllocResourceUsage, Allocation, AllocationListStub};

/// Arguments of `alloc status`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// Allocation id or its beginning
    id: String,
    /// Show the head and a line per task
    #[arg(long)]
    short: bool,
    /// Show every figure that was measured
    #[arg(long)]
    stats: bool,
    /// Show full ids, absolute times and how it was placed
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    structured: Structured,
}

pub(in super::super) async fn run(cx: &mut Context, arguments: &Arguments) -> anyhow::Result<u8> {
    let view = cx.view(arguments.verbose);
    let found = lookup::allocations(cx, &arguments.id).await?;
    let [stub] = found.as_slice() else {
        let text = stubs(&found, &view);
        cx.print(&format!("Prefix matched multiple allocations\n\n{text}"))?;
        return Ok(0);
    };
    let value = lookup::allocation_value(cx, stub).await?;
    if let Some(text) = arguments.structured.text(&value)? {
        cx.print(&text)?;
        return Ok(0);
    }
    let alloc: Allocation = decode("/v1/allocation", value)?;
    if arguments.short {
        cx.print(&short(&alloc, &view))?;
        return Ok(0);
    }
    let followup = followup(cx, &alloc).await;
    cx.print(&head(&alloc, followup.as_ref(), &view))?;
    if let Some(text) = addresses(&alloc) {
        cx.print(&format!("\n{text}"))?;
    }
    let usage = usage(cx, &alloc).await?;
    cx.print(&tasks(&alloc, usage.as_ref(), arguments.stats, &view))?;
    if arguments.verbose {
        cx.print(&metrics(&alloc, &view))?;
    }
    Ok(0)
}

/// Shows the allocation with this id.
///
/// # Errors
/// When it cannot be read.
pub(in super::super) async fn show_id(
    cx: &mut Context,
    id: &str,
    verbose: bool,
) -> anyhow::Result<u8> {
    let arguments = Arguments {
        id: id.to_owned(),
        verbose,
        ..Arguments::default()
    };
    run(cx, &arguments).await
}

async fn followup(cx: &Context, alloc: &Allocation) -> Option<Evaluation> {
    let id = alloc.row.followup_eval_id?;
    let path = format!("/v1/evaluation/{}", segment(id));
    // It may be collected already; then there is nothing to tell.
    cx.http.get(&path, &[]).await.ok()
}

/// What the tasks use; none when nobody can tell, which is said where it matters.
async fn usage(cx: &mut Context, alloc: &Allocation) -> anyhow::Result<Option<AllocResourceUsage>> {
    if alloc.row.client_terminal() {
        return Ok(None);
    }
    let path = format!("/v1/client/allocation/{}/stats", segment(&alloc.row.id));
    let http = cx.http.in_namespace(&alloc.row.namespace);
    match http.get(&path, &[]).await {
        Ok(usage) => Ok(Some(usage)),
        Err(error) => {
            cx.print("")?;
            cx.complain(&format!("Couldn't retrieve stats: {error}"));
            Ok(None)
        }
    }
}

/// A table of allocations.
pub(in super::super) fn stubs(allocs: &[AllocationListStub], view: &View) -> String {
    if allocs.is_empty() {
        return "No allocations placed".to_owned();
    }
    let verbose = view.verbose;
    let row = |cells: [(bool, String); 10]| -> Vec<String> {
        cells
            .into_iter()
            .filter_map(|(shown, cell)| shown.then_some(cell))
            .collect()
    };
    let mut lines = vec![row([
        (true, "ID".into()),
        (verbose, "Eval ID".into()),
        (true, "Node ID".into()),
        (verbose, "Node Name".into()),
        (true, "Task Group".into()),
        (true, "Version".into()),
        (true, "Desired".into()),
        (true, "Status".into()),
        (true, "Created".into()),
        (true, "Modified".into()),
    ])];
    for alloc in allocs {
        lines.push(row([
            (true, view.id(alloc.id)),
            (verbose, alloc.eval_id.to_string()),
            (true, view.id(alloc.node_id)),
            (verbose, alloc.node_name.clone()),
            (true, alloc.task_group.clone()),
            (true, alloc.job_version.to_string()),
            (true, alloc.desired_status.as_str().to_owned()),
            (true, alloc.client_status.as_str().to_owned()),
            (true, view.when(alloc.create_time)),
            (true, view.when(alloc.modify_time)),
        ]));
    }
    columns::list(&lines)
}

fn head(alloc: &Allocation, followup: Option<&Evaluation>, view: &View) -> String {
    let row = &alloc.row;
    let mut pairs = vec![
        ("ID", row.id.to_string()),
        ("Eval ID", view.id(row.eval_id)),
        ("Name", row.name.clone()),
        ("Node ID", view.id(row.node_id)),
        ("Node Name", row.node_name.clone()),
        ("Job ID", row.job_id.clone()),
        ("Job Version", alloc.job.version.to_string()),
        ("Client Status", row.client_status.as_str().to_owned()),
        ("Client Description", row.client_description.clone()),
        ("Desired Status", row.desired_status.as_str().to_owned()),
        ("Desired Description", row.desired_description.clone()),
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
    if let Some(eval) = followup.filter(|eval| eval.wait_until.0 > view.now) {
        pairs.push(("Reschedule Eligibility", view.ago(eval.wait_until.0)));
    }
    if view.verbose {
        let metric = &row.metrics;
        pairs.push(("Evaluated Nodes", metric.nodes_evaluated.to_string()));
        pairs.push(("Filtered Nodes", metric.nodes_filtered.to_string()));
        pairs.push(("Exhausted Nodes", metric.nodes_exhausted.to_string()));
        pairs.push(("Allocation Time", duration(metric.allocation_time)));
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

fn addresses(alloc: &Allocation) -> Option<String> {
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

/// The tasks in the order in which they run, with what makes each special.
fn ordered(alloc: &Allocation) -> Vec<(&str, &TaskState, Option<&Lifecycle>)> {
    let group = alloc.job.task_group(&alloc.row.task_group);
    let mut tasks: Vec<_> = alloc
        .row
        .task_states
        .iter()
        .map(|(name, state)| {
            let lifecycle = group
                .and_then(|group| group.task(name))
                .and_then(|task| task.lifecycle.as_ref());
            (name.as_str(), state, lifecycle)
        })
        .collect();
    tasks.sort_by_key(|(name, _, lifecycle)| (stage(*lifecycle), *name));
    tasks
}

fn stage(lifecycle: Option<&Lifecycle>) -> u8 {
    let Some(lifecycle) = lifecycle else { return 2 };
    match (lifecycle.hook.as_str(), lifecycle.sidecar) {
        ("prestart", false) => 0,
        ("prestart", true) => 1,
        ("poststart", false) => 3,
        ("poststart", true) => 4,
        _ => 5,
    }
}

fn lifecycle_name(lifecycle: Option<&Lifecycle>) -> String {
    match lifecycle {
        None => "main".to_owned(),
        Some(one) if one.sidecar => format!("{} sidecar", one.hook),
        Some(one) => one.hook.clone(),
    }
}

fn tasks(
    alloc: &Allocation,
    usage: Option<&AllocResourceUsage>,
    stats: bool,
    view: &View,
) -> String {
    let mut blocks = Vec::new();
    for (name, state, lifecycle) in ordered(alloc) {
        let label = match lifecycle {
            None => String::new(),
            Some(_) => format!(" ({})", lifecycle_name(lifecycle)),
        };
        let title = format!(
            "Task {}{label} is {}",
            quoted(name),
            quoted(state.state.as_str())
        );
        let mut block = format!("\n{}\n", view.paint.title(&title));
        if let Some(text) = resources(alloc, name, usage) {
            block.push_str(&format!("Task Resources:\n{text}\n"));
        }
        if let Some(text) = usage.filter(|_| stats).and_then(|u| measured(u, name)) {
            block.push_str(&format!("\n{text}\n"));
        }
        block.push_str(&format!("\n{}", events(state, view)));
        blocks.push(block);
    }
    blocks.join("\n")
}

fn resources(alloc: &Allocation, task: &str, usage: Option<&AllocResourceUsage>) -> Option<String> {
    let given = alloc.task_resources.get(task)?;
    let mut cpu = given.cpu.to_string();
    let mut memory = megabytes(given.memory_mb);
    if let Some(used) = usage.and_then(|usage| usage.tasks.get(task)) {
        let used = &used.resource_usage;
        cpu = format!("{:.0}/{cpu}", used.cpu_stats.total_ticks.floor());
        memory = format!("{}/{memory}", bytes(used_memory(used)));
    }
    let largest = if given.memory_max_mb > given.memory_mb {
        format!("Max: {}", megabytes(given.memory_max_mb))
    } else {
        String::new()
    };
    let addresses: Vec<String> = given.networks.iter().flat_map(port_lines).collect();
    let address = |at: usize| addresses.get(at).cloned().unwrap_or_default();
    let header = if given.cores > 0 {
        format!("CPU ({} cores)", given.cores)
    } else {
        "CPU".to_owned()
    };
    let mut lines = vec![
        vec![header, "Memory".into(), "Disk".into(), "Addresses".into()],
        vec![
            format!("{cpu} MHz"),
            memory,
            megabytes(alloc.resources.disk_mb),
            address(0),
        ],
    ];
    if !largest.is_empty() || addresses.len() > 1 {
        lines.push(vec![String::new(), largest, String::new(), address(1)]);
    }
    for more in addresses.iter().skip(2) {
        lines.push(vec![
            String::new(),
            String::new(),
            String::new(),
            more.clone(),
        ]);
    }
    Some(columns::sparse(&lines))
}

fn port_lines(network: &NetworkResource) -> impl Iterator<Item = String> + '_ {
    network
        .dynamic_ports
        .iter()
        .chain(&network.reserved_ports)
        .map(|port| format!("{}: {}:{}", port.label, network.ip, port.value))
}

/// Resident memory, or what the control group counts where that is not measured.
pub(in super::super) fn used_memory(usage: &jobs::wire::ResourceUsage) -> u64 {
    let memory = &usage.memory_stats;
    let measured = memory.measured.iter().any(|name| name == "RSS");
    if memory.rss == 0 && !measured {
        memory.usage
    } else {
        memory.rss
    }
}

fn measured(usage: &AllocResourceUsage, task: &str) -> Option<String> {
    let used = &usage.tasks.get(task)?.resource_usage;
    let mut blocks = Vec::new();
    let memory = &used.memory_stats;
    let mut names = memory.measured.clone();
    names.sort();
    if !names.is_empty() {
        let values = names.iter().map(|name| {
            bytes(match name.as_str() {
                "RSS" => memory.rss,
                "Cache" => memory.cache,
                "Swap" => memory.swap,
                "Usage" => memory.usage,
                "Max Usage" => memory.max_usage,
                "Kernel Usage" => memory.kernel_usage,
                _ => memory.kernel_max_usage,
            })
        });
        let lines = vec![names.clone(), values.collect()];
        blocks.push(format!("Memory Stats\n{}", columns::list(&lines)));
    }
    let cpu = &used.cpu_stats;
    let mut names = cpu.measured.clone();
    names.sort();
    if !names.is_empty() {
        let values = names.iter().map(|name| match name.as_str() {
            "Percent" => format!("{:.2}%", cpu.percent),
            "System Mode" => format!("{:.2}%", cpu.system_mode),
            "User Mode" => format!("{:.2}%", cpu.user_mode),
            "Throttled Periods" => cpu.throttled_periods.to_string(),
            _ => cpu.throttled_time.to_string(),
        });
        let lines = vec![names.clone(), values.collect()];
        blocks.push(format!("CPU Stats\n{}", columns::list(&lines)));
    }
    (!blocks.is_empty()).then(|| blocks.join("\n\n"))
}

fn events(state: &TaskState, view: &View) -> String {
    let times = columns::key_values(&[
        ("Started At", view.time_or_na(state.started_at)),
        ("Finished At", view.time_or_na(state.finished_at)),
        ("Total Restarts", state.restarts.to_string()),
        ("Last Restart", view.time_or_na(state.last_restart)),
    ]);
    let rows = state.events.iter().rev().map(|event| {
        let text = if event.display_message.is_empty() {
            event.message.clone()
        } else {
            event.display_message.clone()
        };
        [view.time(event.time), event.event_type.clone(), text]
    });
    let recent = columns::table(["Time", "Type", "Description"], rows.collect());
    format!("Task Events:\n{times}\n\nRecent Events:\n{recent}")
}

fn short(alloc: &Allocation, view: &View) -> String {
    let head = columns::key_values(&[
        ("ID", alloc.row.id.to_string()),
        ("Name", alloc.row.name.clone()),
        ("Created", view.ago(alloc.row.create_time)),
        ("Modified", view.ago(alloc.row.modify_time)),
    ]);
    let rows = ordered(alloc).into_iter().map(|(name, state, lifecycle)| {
        let last = state.events.last();
        [
            name.to_owned(),
            state.state.as_str().to_owned(),
            last.map(|event| event.event_type.clone())
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

fn metrics(alloc: &Allocation, view: &View) -> String {
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
    use super::super::super::view::test_view;
    use super::*;

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
            tasks(&alloc, Some(&usage), false, &view)
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

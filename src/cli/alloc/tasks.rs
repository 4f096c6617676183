//! The tasks of an allocation: what they have, use and went through.

use crate::render::{allocations::used_memory, columns};
use crate::view::{View, bytes, megabytes, quoted};
use jobs::model::{Lifecycle, NetworkResource, TaskState};
use jobs::wire::{AllocResourceUsage, Allocation};

/// A block per task.
pub(super) fn list(
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

/// The tasks in the order in which they run, with what makes each special.
pub(super) fn ordered(alloc: &Allocation) -> Vec<(&str, &TaskState, Option<&Lifecycle>)> {
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

/// How the command line names what makes a task special.
pub(super) fn lifecycle_name(lifecycle: Option<&Lifecycle>) -> String {
    match lifecycle {
        None => "main".to_owned(),
        Some(one) if one.sidecar => format!("{} sidecar", one.hook),
        Some(one) => one.hook.clone(),
    }
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
            event.message.to_string()
        } else {
            event.display_message.to_string()
        };
        [view.time(event.time), event.event_type.to_string(), text]
    });
    let recent = columns::table(["Time", "Type", "Description"], rows.collect());
    format!("Task Events:\n{times}\n\nRecent Events:\n{recent}")
}

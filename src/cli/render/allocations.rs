//! Allocations as a table, and what is read from one in several places.

use super::columns;
use crate::view::View;
use jobs::model::ClientStatus;
use jobs::wire::{Allocation, AllocationListStub};

/// A table of allocations.
pub(crate) fn list(allocs: &[AllocationListStub], view: &View) -> String {
    if allocs.is_empty() {
        return "No allocations placed".to_owned();
    }
    let verbose = view.verbose;
    let mut lines = vec![columns::chosen([
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
        lines.push(columns::chosen([
            (true, view.id(alloc.id)),
            (verbose, alloc.eval_id.to_string()),
            (true, view.id(alloc.node_id)),
            (verbose, alloc.node_name.to_string()),
            (true, alloc.task_group.to_string()),
            (true, alloc.job_version.to_string()),
            (true, alloc.desired_status.as_str().to_owned()),
            (true, alloc.client_status.as_str().to_owned()),
            (true, view.when(alloc.create_time)),
            (true, view.when(alloc.modify_time)),
        ]));
    }
    columns::list(&lines)
}

/// True while its tasks run.
pub(crate) fn is_running(alloc: &Allocation) -> bool {
    alloc.row.client_status == ClientStatus::Running
}

/// Resident memory, or what the control group counts where that is not measured.
pub(crate) fn used_memory(usage: &jobs::wire::ResourceUsage) -> u64 {
    let memory = &usage.memory_stats;
    let measured = memory.measured.iter().any(|name| name == "RSS");
    if memory.rss == 0 && !measured {
        memory.usage
    } else {
        memory.rss
    }
}

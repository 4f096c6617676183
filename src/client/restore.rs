//! What an agent finds when it starts: files of allocations, and supervisors that an earlier agent
//! left.

use super::{
    drivers::{Drivers, Owner, process::supervisor::remote::Connection},
    last_run::LastRun,
    store::{AllocRecord, Damaged, Saved, Store, TaskRecord},
    task::events,
};
use jobs::model::{AllocId, TaskName, TaskPhase, TaskState, Timestamp};
use rpc::message::Assignment;
use std::collections::{BTreeMap, BTreeSet};

/// Reads the files and brings them into agreement with what runs: a supervisor whose task is known
/// and not over is left for the runner of the task to find, every other one is ended. Files that do
/// not say what was kept come by allocation; nothing of those runs any more.
pub(super) async fn restore(
    store: &Store,
    drivers: &Drivers,
) -> (Vec<Saved>, BTreeMap<AllocId, Damaged>) {
    let (mut saved, damaged) = store.load().unwrap_or_else(|error| {
        tracing::error!(%error, "the saved allocations cannot be listed");
        Default::default()
    });
    let mut damaged: BTreeMap<AllocId, Damaged> = damaged
        .into_iter()
        .map(|file| (file.alloc_id, file))
        .collect();
    let earlier = drivers.supervisors.earlier().await;
    let earlier = earlier.unwrap_or_else(|error| {
        // Each task looks again before it is started.
        tracing::error!(%error, "supervisors of an earlier agent cannot be told");
        Vec::new()
    });
    let mut had_process = BTreeSet::new();
    for supervisor in earlier {
        if !adopt(&mut saved, &supervisor) {
            had_process.insert(supervisor.owner().alloc_id);
            end(supervisor, &damaged).await;
        }
    }
    let known = saved.iter().flat_map(owners).collect();
    if let Err(error) = drivers.supervisors.forget_unknown(&known) {
        tracing::warn!(%error, "exit files cannot be listed");
    }
    damaged.retain(|id, file| {
        tracing::error!(alloc = %id, file = %file.path.display(), reason = file.reason, "the file of an allocation is damaged");
        // An agent that was killed while it made the file had started nothing.
        let nothing_began = file.is_cut && !had_process.contains(id);
        if nothing_began {
            store.forget(*id);
        }
        !nothing_began
    });
    (saved, damaged)
}

/// Makes the record of a task say that it runs; false when it should not.
fn adopt(saved: &mut [Saved], supervisor: &Connection) -> bool {
    let owner = supervisor.owner();
    let Some(alloc) = saved
        .iter_mut()
        .find(|alloc| alloc.assignment.alloc.id == owner.alloc_id)
    else {
        return false;
    };
    let is_task = alloc
        .assignment
        .alloc
        .group()
        .is_some_and(|group| group.task(&owner.task).is_some());
    let record = alloc.record.tasks.entry(owner.task.clone()).or_default();
    if !is_task || record.state.state == TaskPhase::Dead {
        return false;
    }
    if !record.last_run.is(supervisor.run_id()) {
        tracing::warn!(
            alloc = %owner.alloc_id,
            task = %owner.task,
            "a run that was not kept goes on"
        );
        record.last_run = LastRun::Known(supervisor.run_id().to_owned());
        alloc.record.is_built = true;
    }
    true
}

async fn end(supervisor: Connection, damaged: &BTreeMap<AllocId, Damaged>) {
    let owner = supervisor.owner().clone();
    let why = match damaged.get(&owner.alloc_id) {
        Some(file) => format!("`{}` is damaged: {}", file.path.display(), file.reason),
        None => "no file says that it should run".to_owned(),
    };
    match supervisor.end().await {
        Ok(()) => {
            tracing::warn!(
                alloc = %owner.alloc_id,
                task = %owner.task,
                why,
                "ended a task of an earlier agent"
            );
        }
        Err(error) => {
            tracing::error!(alloc = %owner.alloc_id, task = %owner.task, why, %error, "a task of an earlier agent cannot be ended");
        }
    }
}

fn owners(alloc: &Saved) -> Vec<Owner> {
    let group = alloc.assignment.alloc.group().into_iter();
    group
        .flat_map(|group| &group.tasks)
        .map(|task| Owner {
            alloc_id: alloc.assignment.alloc.id,
            task: task.name.clone(),
        })
        .collect()
}

/// The record of an allocation whose file was damaged: it failed here, so that the servers replace
/// it.
pub(super) fn failed(assignment: &Assignment, file: &Damaged, now: Timestamp) -> AllocRecord {
    let text = format!(
        "the agent's file `{}` about this allocation is damaged: {}. Its processes on this node were ended. Nothing has to \
         be mended: the servers replace the allocation as the job says; look after the disk if this happens again",
        file.path.display(),
        file.reason
    );
    let task = |name: &TaskName| {
        let mut state = TaskState {
            state: TaskPhase::Dead,
            failed: true,
            finished_at: now,
            ..TaskState::default()
        };
        state.push_event(events::failure(
            "Failed Restoring Task",
            text.clone(),
            "restore_error",
        ));
        let record = TaskRecord {
            state,
            ..TaskRecord::default()
        };
        (name.clone(), record)
    };
    let group = assignment.alloc.group().into_iter();
    AllocRecord {
        tasks: group
            .flat_map(|group| &group.tasks)
            .map(|definition| task(&definition.name))
            .collect(),
        is_built: true,
        ..AllocRecord::default()
    }
}

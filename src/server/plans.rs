//! Writes verified plans, and looks again at those that a node's end overtook.

use jobs::{
    control::triggers,
    model::{JobKey, NodeStatus, PlanResult, Trigger},
    state::Command,
};
use std::collections::BTreeSet;

use super::{
    Core, Error,
    propose::{ids, now_ns},
};

/// Placements and stops of one log entry, unless a single plan has more.
const ENTRY_ALLOCS_MAX: usize = 4096;

/// Writes the results of one batch of decisions.
pub(super) async fn commit(core: &Core, results: Vec<PlanResult>) -> Result<(), Error> {
    let placed: BTreeSet<(String, JobKey)> = results
        .iter()
        .flat_map(|result| &result.placements)
        .map(|alloc| (alloc.node_id.clone(), alloc.job_key()))
        .collect();
    let mut entry = Vec::new();
    let mut allocs = 0;
    for result in results {
        allocs += result.placements.len() + result.stops.len();
        if allocs > ENTRY_ALLOCS_MAX && !entry.is_empty() {
            write(core, Command::ApplyPlans(std::mem::take(&mut entry))).await?;
            allocs = result.placements.len() + result.stops.len();
        }
        entry.push(result);
    }
    if !entry.is_empty() {
        write(core, Command::ApplyPlans(entry)).await?;
    }
    look_again(core, placed).await
}

async fn write(core: &Core, command: Command) -> Result<(), Error> {
    let (_, outcome) = core.raft.propose(command.into()).await?;
    Ok(outcome?)
}

/// A node may go down between decision and entry; its end then did not know of these placements.
async fn look_again(core: &Core, placed: BTreeSet<(String, JobKey)>) -> Result<(), Error> {
    let snapshot = core.published.current();
    let overtaken: BTreeSet<JobKey> = placed
        .into_iter()
        .filter(|(node_id, _)| {
            let node = snapshot.jobs.node(node_id);
            node.is_none_or(|node| node.status == NodeStatus::Down)
        })
        .map(|(_, key)| key)
        .collect();
    if overtaken.is_empty() {
        return Ok(());
    }
    let mut ids = ids();
    let evals = overtaken
        .iter()
        .filter_map(|key| {
            triggers::for_key(&snapshot.jobs, key, Trigger::NodeUpdate, now_ns(), &mut ids)
        })
        .collect();
    write(core, Command::UpsertEvals(evals)).await
}

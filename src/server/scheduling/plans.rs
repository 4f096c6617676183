//! Writes verified plans.

use jobs::model::{Index, PlanResult};

use crate::{Core, Error, state::Command};

/// Placements and stops of one log entry, unless a single plan has more.
const ENTRY_ALLOCS_MAX: usize = 4096;

/// Writes the results of one batch of decisions, made from the state at `seen`. A plan that
/// something overtook is left out, and its evaluation stays pending.
pub(super) async fn commit(
    core: &Core,
    seen: Index,
    results: Vec<PlanResult>,
) -> Result<(), Error> {
    let mut entry = Vec::new();
    let mut allocs = 0;
    for result in results {
        let own = result.placements.len() + result.stops.len();
        if allocs + own > ENTRY_ALLOCS_MAX && !entry.is_empty() {
            write(core, seen, std::mem::take(&mut entry)).await?;
            allocs = 0;
        }
        allocs += own;
        entry.push(result);
    }
    if entry.is_empty() {
        return Ok(());
    }
    write(core, seen, entry).await
}

async fn write(core: &Core, seen: Index, results: Vec<PlanResult>) -> Result<(), Error> {
    let (_, outcome) = core.raft.propose(Command::Plans { seen, results }).await?;
    outcome?;
    Ok(())
}

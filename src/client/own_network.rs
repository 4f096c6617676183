//! The network that the group of an allocation has for itself, as its runner and those of its tasks
//! ask for it.

use super::{network::Wanted, shared::Shared};
use jobs::model::Allocation;
use std::{collections::BTreeSet, sync::Arc};

/// Makes the network that the group has for itself, unless it is there or the group has none.
///
/// # Errors
/// A sentence that says why there is none.
pub(super) async fn ensure(shared: &Shared) -> Result<(), String> {
    let alloc = shared.alloc();
    let node = Arc::clone(&shared.cx.node.borrow());
    let Some(mut wanted) = Wanted::of(&alloc, &node) else {
        return Ok(());
    };
    for name in drivers(&alloc) {
        if let Some(driver) = shared.cx.drivers.get(name) {
            let id = node.id.to_string();
            let held = driver.hold_network(alloc.id, &id, &wanted.hostname).await;
            wanted.holder = held.map_err(|reason| failed(&reason))?.or(wanted.holder);
        }
    }
    let made = shared.cx.networks.ensure(alloc.id, &wanted).await;
    let joined = made.map_err(|error| failed(&error.to_string()))?;
    *shared.network.lock() = Some(joined);
    Ok(())
}

/// Takes away the network that the group had for itself.
pub(super) async fn remove(shared: &Shared) {
    let alloc = shared.alloc();
    if Wanted::of(&alloc, &shared.cx.node.borrow()).is_none() {
        return;
    }
    shared.cx.networks.remove(alloc.id).await;
    for name in drivers(&alloc) {
        if let Some(driver) = shared.cx.drivers.get(name) {
            driver.release_network(alloc.id).await;
        }
    }
    *shared.network.lock() = None;
}

/// The drivers of the group's tasks, each once.
fn drivers(alloc: &Allocation) -> BTreeSet<&str> {
    let tasks = alloc.group().into_iter().flat_map(|group| &group.tasks);
    tasks.map(|task| task.driver.as_str()).collect()
}

fn failed(reason: &str) -> String {
    format!("pre-run hook \"network\" failed: {reason}")
}

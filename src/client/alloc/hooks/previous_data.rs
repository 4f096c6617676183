use crate::{
    allocdir::AllocDir,
    migration::{self, Previous, fetch},
    shared::Shared,
};

use super::directory;

/// Fetches the data of the allocation that this one replaces when that one was on another node and
/// the group asks for it. Safe to cancel. The answer is what the tasks are told when they have to
/// start without it.
///
/// # Errors
/// When the directory cannot be made.
pub(super) async fn fetched(shared: &Shared) -> Result<Option<String>, String> {
    let cx = &shared.cx;
    let Some(previous) = Previous::of(&shared.alloc()) else {
        return Ok(None);
    };
    if AllocDir::new(&cx.config.alloc_dir, previous.id()).exists() {
        return Ok(None);
    }
    directory::run(shared).await?;
    let own_node = cx.node.borrow().id;
    let threads = (&cx.files.unpacking, &cx.fetches);
    let fetched = fetch(&cx.own_api, threads, &shared.dir, &previous, own_node).await;
    Ok(fetched.err().map(|failure| {
        let id = shared.alloc().id;
        tracing::warn!(alloc = %id, previous = %previous.id(), %failure, "data was not migrated");
        format!(
            "the data of the previous allocation {} is not here, and the tasks start without it: {failure}",
            previous.id()
        )
    }))
}

/// Takes over the data of the allocation that this one replaces, when the group asks for it: from
/// its directory on this machine, or what was fetched from another one. The claim has waited for
/// its end.
pub(super) async fn run(shared: &Shared) -> Result<(), String> {
    let alloc = shared.alloc();
    let disk = alloc.group().map(|group| &group.ephemeral_disk);
    let disk = disk.filter(|disk| disk.sticky || disk.migrate);
    let (Some(disk), Some(previous)) = (disk, alloc.previous_allocation) else {
        return Ok(());
    };
    let migrates = disk.migrate;
    let from = AllocDir::new(&shared.cx.config.alloc_dir, previous);
    let to = shared.dir.clone();
    let tasks = migration::tasks(&alloc);
    let moved = move || {
        to.take_over(&from, &tasks)?;
        if migrates {
            to.take_aside(&tasks)?;
        }
        Ok(())
    };
    let moved = shared.cx.files.setup.run(moved).await;
    moved.map_err(|error| {
        format!("the data of the previous allocation {previous} cannot be taken over: {error}")
    })
}

use crate::{allocdir::AllocDir, shared::Shared};

/// Takes over the data of the allocation that this one replaces, when that one was on this machine
/// and the group asks for it. The claim has waited for its end.
pub(super) async fn run(shared: &Shared) -> Result<(), String> {
    let alloc = shared.alloc();
    let group = alloc.group().filter(|group| group.ephemeral_disk.sticky);
    let (Some(group), Some(previous)) = (group, alloc.previous_allocation) else {
        return Ok(());
    };
    let from = AllocDir::new(&shared.cx.config.alloc_dir, previous);
    let to = shared.dir.clone();
    let tasks: Vec<String> = group
        .tasks
        .iter()
        .map(|task| task.name.to_string())
        .collect();
    let moved = move || to.take_over(&from, &tasks);
    let moved = shared.cx.files.setup.run(moved).await;
    moved.map_err(|error| {
        format!("the data of the previous allocation {previous} cannot be taken over: {error}")
    })
}

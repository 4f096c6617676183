use crate::shared::Shared;

/// Gives the tasks the processors that they have for themselves.
pub(super) fn run(shared: &Shared) -> Result<(), String> {
    let alloc = shared.alloc();
    let all = shared
        .cx
        .node
        .borrow()
        .node_resources
        .cpu
        .reservable_cpu_cores
        .clone();
    let given = shared.cx.cores.take(&alloc, &all)?;
    if !given.is_empty() {
        shared.note(|record| record.cores = given);
    }
    Ok(())
}

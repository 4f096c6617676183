use super::SetupError;
use crate::client::{alloc::shared::Shared, task::events};
use jobs::model::Task;

/// Builds the task's directory.
pub(super) fn run(shared: &Shared, task: &Task) -> Result<(), SetupError> {
    if shared.dir.task(&task.name).join("tmp").is_dir() {
        return Ok(());
    }
    shared.event(
        &task.name,
        events::with_detail("Task Setup", "Building Task Directory", "message"),
    );
    Ok(shared.dir.build_task(&task.name)?)
}

use super::SetupError;
use crate::client::{shared::Shared, task::events};
use jobs::model::Task;

/// Builds the task's directory.
pub(super) async fn run(shared: &Shared, task: &Task) -> Result<(), SetupError> {
    if shared.dir.has_task(&task.name) {
        return Ok(());
    }
    shared.event(
        &task.name,
        events::with_detail("Task Setup", "Building Task Directory", "message"),
    );
    let (dir, name) = (shared.dir.clone(), task.name.clone());
    let build = move || dir.build_task(&name);
    Ok(shared.cx.files.setup.run(build).await?)
}

use super::SetupError;
use crate::client::{shared::Shared, task::events};
use jobs::model::Task;

/// Builds the task's directory.
pub(super) async fn run(shared: &Shared, task: &Task) -> Result<(), SetupError> {
    if shared.dir.has_task(&task.name) {
        return Ok(());
    }
    let event = events::with_detail("Task Setup", "Building Task Directory", "message");
    shared.note(|record| {
        let task = record.tasks.entry(task.name.clone()).or_default();
        task.state.push_event(event);
    });
    let (dir, name) = (shared.dir.clone(), task.name.clone());
    let build = move || dir.build_task(&name);
    Ok(shared.cx.files.setup.run(build).await?)
}

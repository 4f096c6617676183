use super::SetupError;
use crate::{
    allocdir::Reader,
    drivers::{Isolation, USUAL_USER},
    shared::Shared,
    task::events,
};
use jobs::model::Task;
use sys::processes;

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
    let reader = reader(shared, task)?;
    let build = move || dir.build_task(&name, reader);
    Ok(shared.cx.files.setup.run(build).await?)
}

/// Who reads the secrets of a task: its user, or whoever the driver runs it as.
pub(super) fn reader(shared: &Shared, task: &Task) -> Result<Reader, SetupError> {
    let driver = shared.cx.drivers.get(&task.driver);
    let isolation = driver.map_or(Isolation::None, |driver| driver.isolation());
    let user = match (isolation, task.user.as_str()) {
        (Isolation::Image, _) => return Ok(Reader::Anyone),
        (Isolation::None, "") => return Ok(Reader::Agent),
        (Isolation::Chroot, "") => USUAL_USER,
        (_, user) => user,
    };
    // An agent that is not root starts tasks as itself or not at all.
    if !nix::unistd::geteuid().is_root() {
        return Ok(Reader::Agent);
    }
    let (uid, gid) = processes::user_ids(user)
        .map_err(|error| SetupError::Invalid(vec![format!("task `{}`: {error}", task.name)]))?;
    Ok(Reader::User(uid, gid))
}

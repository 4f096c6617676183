use super::{Prepared, SetupError, validate::Definition};
use crate::{
    client::{
        alloc::shared::Shared,
        drivers::{
            TaskContext,
            process::supervisor::{Launch, LogFiles},
        },
    },
    sys::descriptors,
};
use jobs::{environment::TaskEnvironment, model::Task};

const MB: u64 = 1024 * 1024;

/// Turns the definition into the program to start and the files that take its output.
pub(super) fn run(
    shared: &Shared,
    task: &Task,
    environment: &TaskEnvironment<'_>,
    definition: &Definition,
) -> Result<Prepared, SetupError> {
    let dir = shared.dir.task(&task.name);
    let process = definition.driver.process(&TaskContext {
        dir: &dir,
        env: environment.variables(),
        config: &definition.config,
        user: &task.user,
    })?;
    let logs = (!task.log_config.disabled).then(|| LogFiles {
        dir: shared.dir.logs(),
        task: task.name.clone(),
        files_max: task.log_config.max_files,
        file_bytes_max: u64::from(task.log_config.max_file_size_mb) * MB,
    });
    Ok(Prepared {
        launch: Launch {
            process,
            logs,
            descriptors_max: descriptors::original(),
            ..Launch::default()
        },
    })
}

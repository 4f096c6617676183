//! What happens before a task starts, in order: its definition is checked, its directory is built,
//! its files are fetched; then it is clear what to start.
//!
//! Each step is safe to repeat; fetching is remembered and done once per allocation.

mod artifacts;
mod directory;
mod validate;

use crate::client::{
    artifacts::ArtifactError,
    drivers::{Driver, LogFiles, Owner, Start},
    shared::Shared,
};
use jobs::environment::TaskEnvironment;
use std::{io, sync::Arc};

const MB: u64 = 1024 * 1024;

/// Everything that a start needs.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What starts it.
    pub(super) driver: Arc<dyn Driver>,
    /// The run is filled in by the runner.
    pub(super) start: Start,
}

/// Why a task cannot be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// The definition asks for something impossible.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The directory could not be built.
    #[error("failed to build task directory: {0}")]
    Directory(#[from] io::Error),
    /// A file could not be fetched.
    #[error("{0}")]
    Artifact(#[from] ArtifactError),
}

impl SetupError {
    /// The type of its event, and the key of its fact.
    pub(super) fn published(&self) -> (&'static str, &'static str) {
        match self {
            Self::Invalid(_) => ("Failed Validation", "validation_error"),
            Self::Directory(_) => ("Setup Failure", "setup_error"),
            Self::Artifact(_) => ("Failed Artifact Download", "download_error"),
        }
    }

    /// True when trying again gives the same.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }
}

/// Carries out every step for `task`.
pub(super) async fn prestart(shared: &Shared, task: &str) -> Result<Prepared, SetupError> {
    let alloc = shared.alloc();
    let Some(task) = alloc.group().and_then(|group| group.task(task)) else {
        return Err(SetupError::Invalid(vec![format!(
            "the job has no task `{task}` any more"
        )]));
    };
    let node = Arc::clone(&shared.cx.node.borrow());
    let seen = shared.dir.seen_by(&task.name);
    let environment =
        TaskEnvironment::of_task(&alloc, task, &node, Some(&seen), &shared.cx.host_env);
    let definition = validate::run(shared, task, &environment)?;
    directory::run(shared, task).await?;
    artifacts::run(shared, task, &environment).await?;
    let logs = (!task.log_config.disabled).then(|| LogFiles {
        dir: shared.dir.logs(),
        task: task.name.clone(),
        files_max: task.log_config.max_files,
        file_bytes_max: u64::from(task.log_config.max_file_size_mb) * MB,
    });
    let start = Start {
        owner: Owner {
            alloc_id: alloc.id,
            task: task.name.clone(),
        },
        dir: shared.dir.task(&task.name),
        env: environment.variables().clone(),
        config: definition.config,
        user: task.user.clone(),
        logs,
        ..Start::default()
    };
    Ok(Prepared {
        driver: definition.driver,
        start,
    })
}

use super::SetupError;
use crate::{artifacts::Fetcher, shared::Shared, task::events};
use jobs::{
    environment::TaskEnvironment,
    model::{Artifact, Task},
};

/// Fetches the task's files, once per allocation.
pub(super) async fn run(
    shared: &Shared,
    task: &Task,
    environment: &TaskEnvironment<'_>,
) -> Result<(), SetupError> {
    if task.artifacts.is_empty() || shared.task(&task.name).is_fetched {
        return Ok(());
    }
    shared.event(
        &task.name,
        events::event("Downloading Artifacts", "Client is downloading artifacts"),
    );
    let fetcher = Fetcher {
        dir: &shared.dir,
        task: &task.name,
        user: &task.user,
        local_dirs: &shared.cx.config.artifact_dirs,
        threads: &shared.cx.files.artifacts,
        limits: shared.cx.config.artifact,
    };
    for artifact in &task.artifacts {
        fetcher.fetch(&resolved(artifact, environment)).await?;
    }
    shared.update_task(&task.name, |record| record.is_fetched = true);
    Ok(())
}

fn resolved(artifact: &Artifact, environment: &TaskEnvironment<'_>) -> Artifact {
    let all = |texts: &std::collections::BTreeMap<String, String>| {
        texts
            .iter()
            .map(|(key, value)| (key.clone(), environment.interpolate(value)))
            .collect()
    };
    Artifact {
        getter_source: environment.interpolate(&artifact.getter_source),
        getter_options: all(&artifact.getter_options),
        getter_headers: all(&artifact.getter_headers),
        relative_dest: environment.interpolate(&artifact.relative_dest),
        ..artifact.clone()
    }
}

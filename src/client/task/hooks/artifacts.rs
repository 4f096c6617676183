use super::SetupError;
use crate::client::{alloc::shared::Shared, artifacts, task::events};
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
    for artifact in &task.artifacts {
        let artifact = resolved(artifact, environment);
        artifacts::fetch(&artifact, &shared.dir, &task.name).await?;
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

use super::SetupError;
use crate::{
    drivers::{Isolation, Mounted},
    shared::Shared,
};
use jobs::model::{Allocation, Task};

/// Finds the directories of the host that the task mounts; every problem at once.
pub(super) fn run(
    shared: &Shared,
    alloc: &Allocation,
    task: &Task,
    isolation: Isolation,
) -> Result<Vec<Mounted>, SetupError> {
    let (mut mounts, mut problems) = (Vec::new(), Vec::new());
    if !task.volume_mounts.is_empty() && isolation == Isolation::None {
        problems.push(format!(
            "driver `{}` runs tasks in the files of the host and mounts no volumes; use the path of the host, or \
             another driver",
            task.driver
        ));
        return Err(SetupError::Invalid(problems));
    }
    let node = std::sync::Arc::clone(&shared.cx.node.borrow());
    let environment = shared.environment(alloc, task, &node);
    for mount in &task.volume_mounts {
        let name = mount.volume.clone().unwrap_or_default();
        let asked = alloc.group().and_then(|group| group.volumes.get(&name));
        let Some(asked) = asked else {
            problems.push(format!(
                "volume_mount names `{name}`, which the group does not have"
            ));
            continue;
        };
        let source = asked.source_of(alloc.name_index());
        let Some(volume) = shared.cx.config.host_volumes.get(&source) else {
            problems.push(format!(
                "host volume `{source}` is not in this agent's configuration any more"
            ));
            continue;
        };
        if !volume.path.is_dir() {
            problems.push(format!(
                "host volume `{source}` is at `{}`, which is no directory",
                volume.path.display()
            ));
            continue;
        }
        let target = environment.interpolate(mount.destination.as_deref().unwrap_or_default());
        if !target.starts_with('/') {
            problems.push(format!(
                "volume_mount of `{name}` has the destination `{target}`, which must be an absolute path"
            ));
            continue;
        }
        mounts.push(Mounted {
            source: volume.path.clone(),
            target: target.into(),
            read_only: volume.read_only || asked.read_only || mount.read_only == Some(true),
            propagation: mount.propagation_mode.clone().unwrap_or_default(),
        });
    }
    if problems.is_empty() {
        Ok(mounts)
    } else {
        Err(SetupError::Invalid(problems))
    }
}

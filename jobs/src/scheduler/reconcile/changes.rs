use crate::model::{Job, NetworkResource, Task, TaskGroup};

/// True when an allocation of `old`, a group of `old_job`, cannot become one of `new` without new processes.
pub(in crate::scheduler) fn is_destructive(
    (old_job, old): (&Job, &TaskGroup),
    (new_job, new): (&Job, &TaskGroup),
) -> bool {
    old.tasks.len() != new.tasks.len()
        || old.ephemeral_disk != new.ephemeral_disk
        || networks_differ(&old.networks, &new.networks)
        || new.tasks.iter().any(|task| {
            old.task(&task.name).is_none_or(|before| {
                task_differs(before, task)
                    || old_job.meta_of(old, Some(before)) != new_job.meta_of(new, Some(task))
            })
        })
}

fn task_differs(old: &Task, new: &Task) -> bool {
    let (before, after) = (&old.resources, &new.resources);
    old.driver != new.driver
        || old.user != new.user
        || old.config != new.config
        || old.env != new.env
        || old.artifacts != new.artifacts
        || old.templates != new.templates
        || old.log_config.disabled != new.log_config.disabled
        || before.cpu != after.cpu
        || before.cores != after.cores
        || before.memory_mb != after.memory_mb
        || before.memory_max_mb != after.memory_max_mb
        || networks_differ(&before.networks, &after.networks)
}

fn networks_differ(old: &[NetworkResource], new: &[NetworkResource]) -> bool {
    let same = |a: &NetworkResource, b: &NetworkResource| {
        a.mode == b.mode
            && a.mbits == b.mbits
            && a.reserved_ports == b.reserved_ports
            && a.dynamic_ports == b.dynamic_ports
    };
    old.len() != new.len() || !old.iter().zip(new).all(|(a, b)| same(a, b))
}

//! What a change of a job file does to running allocations: one table, which the scheduler, the
//! preview and the differences that users see share.

use super::{FlatMap, Job, NetworkResource, ServiceSpec, Task, TaskGroup};

/// What the change of a field does to running allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing runs anew.
    InPlace,
    /// Another allocation takes the place of each.
    Destructive,
    /// As [`Effect::Destructive`] when one of these fields of the block changed, else as
    /// [`Effect::InPlace`].
    Parts(&'static [&'static str]),
}

use Effect::{Destructive, InPlace, Parts};

/// A field of a group or task.
#[derive(Clone, Copy)]
pub struct Field<T: 'static> {
    /// Its key in the API.
    pub key: &'static str,
    /// What differences call it: the key, or the name of a block that may stand several times.
    pub shown: &'static str,
    /// What its change does.
    pub effect: Effect,
    /// True when two versions differ in what makes the change destructive.
    differs: fn(&T, &T) -> bool,
}

impl<T> std::fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?}", self.key, self.effect)
    }
}

const fn in_place<T>(key: &'static str, shown: &'static str) -> Field<T> {
    Field {
        key,
        shown,
        effect: InPlace,
        differs: |_, _| false,
    }
}

const fn destructive<T>(
    key: &'static str,
    shown: &'static str,
    differs: fn(&T, &T) -> bool,
) -> Field<T> {
    Field {
        key,
        shown,
        effect: Destructive,
        differs,
    }
}

const fn parts<T>(
    key: &'static str,
    shown: &'static str,
    parts: &'static [&'static str],
    differs: fn(&T, &T) -> bool,
) -> Field<T> {
    Field {
        key,
        shown,
        effect: Parts(parts),
        differs,
    }
}

/// The fields of a group; its tasks and its name are compared one by one.
pub const GROUP_FIELDS: &[Field<TaskGroup>] = &[
    in_place("Count", "Count"),
    in_place("Constraints", "Constraint"),
    in_place("Affinities", "Affinity"),
    in_place("Spreads", "Spread"),
    destructive("Networks", "Network", |a, b| {
        networks_differ(&a.networks, &b.networks)
    }),
    parts("Services", "Service", &["Connect"], |a, b| {
        services_differ(&a.services, &b.services)
    }),
    // What a task sees of it counts, together with the labels of the job and of the task.
    destructive("Meta", "Meta", |_, _| false),
    parts(
        "RestartPolicy",
        "RestartPolicy",
        &["RenderTemplates"],
        |a, b| a.restart_policy.render_templates != b.restart_policy.render_templates,
    ),
    in_place("ReschedulePolicy", "ReschedulePolicy"),
    destructive("EphemeralDisk", "EphemeralDisk", |a, b| {
        a.ephemeral_disk != b.ephemeral_disk
    }),
    in_place("Update", "Update"),
    in_place("Migrate", "Migrate"),
    in_place("ShutdownDelay", "ShutdownDelay"),
    destructive("Volumes", "Volume", |a, b| {
        volumes_differ(&a.volumes, &b.volumes)
    }),
    in_place("Scaling", "Scaling"),
    in_place("Disconnect", "Disconnect"),
    destructive("Consul", "Consul", |a, b| a.consul != b.consul),
    in_place("MaxRunDuration", "MaxRunDuration"),
];

/// The fields of a task; tasks are the same when their names are.
pub const TASK_FIELDS: &[Field<Task>] = &[
    destructive("Driver", "Driver", |a, b| a.driver != b.driver),
    destructive("User", "User", |a, b| a.user != b.user),
    destructive("Config", "Config", |a, b| a.config != b.config),
    destructive("Env", "Env", |a, b| a.env != b.env),
    destructive("Meta", "Meta", |_, _| false),
    in_place("Leader", "Leader"),
    in_place("Lifecycle", "Lifecycle"),
    destructive("Resources", "Resources", resources_differ),
    parts(
        "RestartPolicy",
        "RestartPolicy",
        &["RenderTemplates"],
        |a, b| {
            let again = |task: &Task| {
                task.restart_policy
                    .as_ref()
                    .is_some_and(|p| p.render_templates)
            };
            again(a) != again(b)
        },
    ),
    in_place("Constraints", "Constraint"),
    in_place("Affinities", "Affinity"),
    parts("Services", "Service", &["Connect"], |a, b| {
        services_differ(&a.services, &b.services)
    }),
    destructive("Artifacts", "Artifact", |a, b| a.artifacts != b.artifacts),
    destructive("Templates", "Template", |a, b| a.templates != b.templates),
    in_place("KillTimeout", "KillTimeout"),
    in_place("KillSignal", "KillSignal"),
    in_place("ShutdownDelay", "ShutdownDelay"),
    parts("LogConfig", "LogConfig", &["Disabled"], |a, b| {
        a.log_config.disabled != b.log_config.disabled
    }),
    in_place("Kind", "Kind"),
    destructive("Vault", "Vault", |a, b| a.vault != b.vault),
    destructive("Consul", "Consul", |a, b| a.consul != b.consul),
    destructive("Secrets", "Secret", |a, b| a.secrets != b.secrets),
    destructive("Identity", "Identity", |a, b| a.identity != b.identity),
    destructive("Identities", "Identities", |a, b| {
        a.identities != b.identities
    }),
    in_place("Actions", "Action"),
    destructive("Schedule", "Schedule", |a, b| a.schedule != b.schedule),
    destructive("CSIPluginConfig", "CSIPluginConfig", |a, b| {
        a.csi_plugin_config != b.csi_plugin_config
    }),
    in_place("DispatchPayload", "DispatchPayload"),
    destructive("VolumeMounts", "VolumeMount", |a, b| {
        a.volume_mounts != b.volume_mounts
    }),
    in_place("ScalingPolicies", "ScalingPolicy"),
];

/// True when an allocation of `old`, a group of `old_job`, cannot become one of `new` without new
/// processes.
pub fn is_destructive(
    (old_job, old): (&Job, &TaskGroup),
    (new_job, new): (&Job, &TaskGroup),
) -> bool {
    old.tasks.len() != new.tasks.len()
        || GROUP_FIELDS.iter().any(|field| (field.differs)(old, new))
        || new.tasks.iter().any(|task| {
            old.task(&task.name).is_none_or(|before| {
                TASK_FIELDS
                    .iter()
                    .any(|field| (field.differs)(before, task))
                    || old_job.meta_of(old, Some(before)) != new_job.meta_of(new, Some(task))
            })
        })
}

fn resources_differ(old: &Task, new: &Task) -> bool {
    let (before, after) = (&old.resources, &new.resources);
    before.cpu != after.cpu
        || before.cores != after.cores
        || before.memory_mb != after.memory_mb
        || before.memory_max_mb != after.memory_max_mb
        || before.devices != after.devices
        || before.numa != after.numa
        || before.secrets_mb != after.secrets_mb
        || networks_differ(&before.networks, &after.networks)
}

fn networks_differ(old: &[NetworkResource], new: &[NetworkResource]) -> bool {
    let same = |a: &NetworkResource, b: &NetworkResource| {
        a.mode == b.mode
            && a.mbits == b.mbits
            && a.reserved_ports == b.reserved_ports
            && a.dynamic_ports == b.dynamic_ports
            && a.hostname == b.hostname
            && a.dns == b.dns
            && a.cni == b.cni
    };
    old.len() != new.len() || !old.iter().zip(new).all(|(a, b)| same(a, b))
}

fn volumes_differ(
    old: &FlatMap<String, super::VolumeRequest>,
    new: &FlatMap<String, super::VolumeRequest>,
) -> bool {
    old != new
}

/// What takes part in the mesh has processes of its own beside the task.
fn services_differ(old: &[ServiceSpec], new: &[ServiceSpec]) -> bool {
    let meshed = |services: &[ServiceSpec]| -> Vec<(String, Option<Box<super::Connect>>)> {
        let meshed = services.iter().filter(|service| service.connect.is_some());
        meshed
            .map(|service| (service.name.clone(), service.connect.clone()))
            .collect()
    };
    meshed(old) != meshed(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// The keys that a noun has when nothing is left out.
    fn keys(source: &str) -> BTreeSet<String> {
        let value: Value = serde_json::from_str(source).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn every_field_has_an_effect() {
        let task = Task {
            kind: "k".into(),
            vault: Some(Box::default()),
            consul: Some(Box::default()),
            secrets: Box::new([super::super::Secret::default()]),
            identity: Some(Box::default()),
            identities: Box::new([super::super::WorkloadIdentity::default()]),
            actions: Box::new([super::super::Action::default()]),
            schedule: Some(Box::default()),
            csi_plugin_config: Some(Box::default()),
            dispatch_payload: Some(Box::default()),
            volume_mounts: Box::new([super::super::VolumeMount::default()]),
            scaling_policies: Box::new([super::super::ScalingPolicy::default()]),
            ..Task::default()
        };
        let mut listed: BTreeSet<String> = TASK_FIELDS.iter().map(|f| f.key.to_owned()).collect();
        listed.insert("Name".into());
        assert_eq!(listed, keys(&serde_json::to_string(&task).unwrap()));
        let group = TaskGroup {
            volumes: FlatMap::from([("v".to_owned(), super::super::VolumeRequest::default())]),
            scaling: Some(Box::default()),
            disconnect: Some(Box::default()),
            consul: Some(Box::default()),
            max_run_duration: Some(super::super::Span::SECOND),
            ..TaskGroup::default()
        };
        let mut listed: BTreeSet<String> = GROUP_FIELDS.iter().map(|f| f.key.to_owned()).collect();
        listed.extend(["Name".into(), "Tasks".into()]);
        assert_eq!(listed, keys(&serde_json::to_string(&group).unwrap()));
    }
}

//! What a change of a job file does to running allocations: one table, which the scheduler, the
//! preview and the differences that users see share.

use super::{
    Connect, Consul, FlatMap, Job, NetworkResource, Port, RequestedDevice, ServiceSpec, Task,
    TaskGroup,
};

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
    destructive("Consul", "Consul", |a, b| {
        consul_differs(a.consul.as_deref(), b.consul.as_deref())
    }),
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
    destructive("Consul", "Consul", |a, b| {
        consul_differs(a.consul.as_deref(), b.consul.as_deref())
    }),
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
        || devices_differ(&before.devices, &after.devices)
        || before.numa != after.numa
        || before.secrets_mb != after.secrets_mb
        || networks_differ(&before.networks, &after.networks)
}

/// Devices are the same in any order.
fn devices_differ(old: &[RequestedDevice], new: &[RequestedDevice]) -> bool {
    let is_there = |device: &RequestedDevice| new.iter().any(|other| other == device);
    old.len() != new.len() || !old.iter().all(is_there)
}

/// Without a block there is nothing to compare but the namespace.
fn consul_differs(old: Option<&Consul>, new: Option<&Consul>) -> bool {
    let namespace = |consul: Option<&Consul>| consul.map(|consul| consul.namespace.clone());
    let both = old.zip(new);
    namespace(old).unwrap_or_default() != namespace(new).unwrap_or_default()
        || both.is_some_and(|(a, b)| a.cluster != b.cluster || a.partition != b.partition)
}

/// What leads to a port; who else may hold it is no part of that.
fn ports_differ(old: &[Port], new: &[Port]) -> bool {
    let same = |a: &Port, b: &Port| {
        a.label == b.label && a.value == b.value && a.to == b.to && a.host_network == b.host_network
    };
    old.len() != new.len() || !old.iter().zip(new).all(|(a, b)| same(a, b))
}

fn networks_differ(old: &[NetworkResource], new: &[NetworkResource]) -> bool {
    let same = |a: &NetworkResource, b: &NetworkResource| {
        a.mode == b.mode
            && a.mbits == b.mbits
            && !ports_differ(&a.reserved_ports, &b.reserved_ports)
            && !ports_differ(&a.dynamic_ports, &b.dynamic_ports)
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

/// What takes part in the mesh has processes of its own beside the task. What such a process is
/// told while it runs is no reason to start another one, and a service that is new or gone is seen
/// by its tasks.
fn services_differ(old: &[ServiceSpec], new: &[ServiceSpec]) -> bool {
    let mut pairs = old.iter().filter_map(|before| {
        let after = new.iter().find(|after| after.name == before.name)?;
        Some((before, after))
    });
    pairs.any(|(before, after)| match (&before.connect, &after.connect) {
        (None, None) => false,
        (Some(a), Some(b)) => {
            connect_differs(a, b)
                || before.port_label != after.port_label
                || before.cluster != after.cluster
        }
        _ => true,
    })
}

fn connect_differs(old: &Connect, new: &Connect) -> bool {
    let port = |connect: &Connect| {
        let sidecar = connect.sidecar_service.as_ref();
        sidecar.map(|sidecar| sidecar.port.clone())
    };
    old.native != new.native
        || old.gateway != new.gateway
        || old.sidecar_task != new.sidecar_task
        || port(old) != port(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    /// A job with one change: the last part of `path` gets the value.
    fn job_with(path: &str, value: &Value) -> Job {
        let mut text = json!({
            "ID": "j", "Datacenters": ["dc1"], "Meta": {"a": "1"},
            "TaskGroups": [{
                "Name": "g", "Count": 1,
                "Networks": [{
                    "Mode": "bridge",
                    "DynamicPorts": [{"Label": "http", "To": 80}],
                    "ReservedPorts": [{"Label": "dns", "Value": 53}],
                }],
                "Services": [
                    {"Name": "meshed", "PortLabel": "http", "Connect": {
                        "SidecarService": {"Port": "p"},
                    }},
                    {"Name": "plain", "PortLabel": "http"},
                ],
                "Consul": {"Namespace": "n"},
                "Tasks": [{
                    "Name": "t", "Driver": "exec", "RestartPolicy": {}, "LogConfig": {},
                    "Artifacts": [{"GetterSource": "b"}, {"GetterSource": "c"}],
                    "Templates": [{"DestPath": "b"}, {"DestPath": "c"}],
                    "Resources": {"CPU": 100, "MemoryMB": 64, "Devices": [
                        {"Name": "a", "Count": 1}, {"Name": "b", "Count": 1},
                    ]},
                }],
            }],
        });
        if let Some((place, key)) = path.rsplit_once('/') {
            let place = text.pointer_mut(place).unwrap();
            match place {
                Value::Array(list) => list.push(value.clone()),
                place => place[key] = value.clone(),
            }
        }
        serde_json::from_value(text).unwrap()
    }

    /// The table of what destroys and what does not, row by row.
    #[test]
    fn the_published_table_decides() {
        let before = job_with("", &Value::Null);
        let check = |place: &str, expected: bool, rows: &[(&str, Value)]| {
            for (path, value) in rows {
                let path = format!("{place}{path}");
                let after = job_with(&path, value);
                let decided = is_destructive(
                    (&before, &before.task_groups[0]),
                    (&after, &after.task_groups[0]),
                );
                assert_eq!(decided, expected, "{path} = {value}");
                let back = is_destructive(
                    (&after, &after.task_groups[0]),
                    (&before, &before.task_groups[0]),
                );
                assert_eq!(back, expected, "from {path} = {value}");
            }
        };
        check("", true, &[("/Meta/a", json!("2"))]);
        check(
            "",
            false,
            &[
                ("/Priority", json!(70)),
                ("/AllAtOnce", json!(true)),
                ("/Datacenters/-", json!("dc2")),
            ],
        );
        check(
            "/TaskGroups/0",
            true,
            &[
                ("/Tasks/-", json!({"Name": "u", "Driver": "exec"})),
                ("/Tasks/0/Name", json!("u")),
                ("/EphemeralDisk", json!({"SizeMB": 7})),
                ("/Networks/-", json!({"Mode": "host"})),
                ("/Networks/0/Mode", json!("host")),
                ("/Networks/0/MBits", json!(7)),
                ("/Networks/0/Hostname", json!("h")),
                ("/Networks/0/DNS", json!({"Servers": ["192.0.2.1"]})),
                ("/Networks/0/CNI", json!({"Args": {"a": "b"}})),
                ("/Networks/0/DynamicPorts/-", json!({"Label": "more"})),
                ("/Networks/0/DynamicPorts/0/Label", json!("other")),
                ("/Networks/0/DynamicPorts/0/To", json!(81)),
                ("/Networks/0/DynamicPorts/0/HostNetwork", json!("h")),
                ("/Networks/0/ReservedPorts/0/Value", json!(54)),
                ("/Consul/Namespace", json!("m")),
                ("/Consul/Cluster", json!("m")),
                ("/Consul/Partition", json!("m")),
                ("/Services/0/Connect", Value::Null),
                ("/Services/1/Connect", json!({"Native": true})),
                ("/Services/0/Connect/Native", json!(true)),
                ("/Services/0/Connect/Gateway", json!({})),
                ("/Services/0/Connect/SidecarTask", json!({"Driver": "exec"})),
                ("/Services/0/Connect/SidecarService/Port", json!("q")),
                ("/Services/0/PortLabel", json!("dns")),
                ("/Services/0/Cluster", json!("c")),
                ("/Volumes", json!({"v": {"Type": "host"}})),
                ("/RestartPolicy", json!({"RenderTemplates": true})),
                ("/Meta", json!({"b": "1"})),
            ],
        );
        check(
            "/TaskGroups/0",
            false,
            &[
                ("/Count", json!(7)),
                ("/Constraints", json!([{"LTarget": "a"}])),
                ("/Affinities", json!([{"LTarget": "a", "Weight": 5}])),
                ("/Spreads", json!([{"Attribute": "a"}])),
                ("/Update", json!({"MaxParallel": 2})),
                ("/Migrate", json!({"MaxParallel": 2})),
                ("/ReschedulePolicy", json!({"Attempts": 2})),
                ("/Disconnect", json!({})),
                ("/RestartPolicy", json!({"Attempts": 7})),
                ("/MaxRunDuration", json!(7)),
                ("/Services/1/Name", json!("other")),
                ("/Services/1/Tags", json!(["a"])),
                ("/Services/1/Meta", json!({"a": "b"})),
                ("/Services/1/Checks", json!([{"Type": "tcp"}])),
                ("/Services/1/AddressMode", json!("host")),
                ("/Services/1/PortLabel", json!("dns")),
                ("/Services/0/Connect/SidecarService/Proxy", json!({})),
                ("/Services/0/Connect/SidecarService/Tags", json!(["a"])),
                ("/Networks/0/ReservedPorts/0/IgnoreCollision", json!(true)),
            ],
        );
        check(
            "/TaskGroups/0/Tasks/0",
            true,
            &[
                ("/Driver", json!("raw_exec")),
                ("/User", json!("u")),
                ("/Config", json!({"command": "c"})),
                ("/Env", json!({"a": "b"})),
                ("/Meta", json!({"a": "b"})),
                ("/Artifacts", json!([{"GetterSource": "a"}])),
                ("/Templates", json!([{"DestPath": "a"}])),
                // Their order counts.
                (
                    "/Artifacts",
                    json!([{"GetterSource": "c"}, {"GetterSource": "b"}]),
                ),
                ("/Templates", json!([{"DestPath": "c"}, {"DestPath": "b"}])),
                ("/Vault", json!({"Role": "r"})),
                ("/Secrets", json!([{"Name": "s"}])),
                ("/Consul", json!({"Namespace": "n"})),
                ("/CSIPluginConfig", json!({"ID": "p"})),
                ("/VolumeMounts", json!([{"Volume": "v"}])),
                ("/RestartPolicy/RenderTemplates", json!(true)),
                ("/Resources/CPU", json!(101)),
                ("/Resources/Cores", json!(1)),
                ("/Resources/MemoryMB", json!(65)),
                ("/Resources/MemoryMaxMB", json!(65)),
                ("/Resources/SecretsMB", json!(1)),
                ("/Resources/NUMA", json!({"Affinity": "require"})),
                ("/Resources/Devices/-", json!({"Name": "c"})),
                ("/Resources/Devices/0/Count", json!(2)),
                ("/Identity", json!({"Env": true})),
                ("/Identities", json!([{"Name": "i"}])),
                ("/LogConfig/Disabled", json!(true)),
            ],
        );
        check(
            "/TaskGroups/0/Tasks/0",
            false,
            &[
                ("/Consul", json!({"Cluster": "default"})),
                ("/KillTimeout", json!(7)),
                ("/KillSignal", json!("SIGHUP")),
                ("/ShutdownDelay", json!(7)),
                ("/Leader", json!(true)),
                ("/Lifecycle", json!({"Hook": "prestart"})),
                ("/DispatchPayload", json!({"File": "f"})),
                ("/RestartPolicy/Attempts", json!(7)),
                ("/LogConfig/MaxFiles", json!(7)),
                (
                    "/Resources/Devices",
                    json!([{"Name": "b", "Count": 1}, {"Name": "a", "Count": 1}]),
                ),
            ],
        );
    }

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

//! What a job file may ask for and this version does not do: one table, from which the warnings at
//! registration, the refusal of a placement and the page in the docs are made.

use super::{Job, NetworkResource, ServiceSpec, Task, TaskGroup};

/// What becomes of a job that asks for something that is not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It runs without it; the one who registers it is told.
    Ignored,
    /// Running without it would be wrong: its group is not placed.
    Refused,
}

/// Where something may be asked for, and how to see that it is.
#[derive(Clone, Copy)]
enum Asked {
    Group(fn(&TaskGroup) -> bool),
    Task(fn(&Task) -> bool),
    Service(fn(&ServiceSpec) -> bool),
}

/// One thing that job files may ask for and that this version does not do.
#[derive(Clone, Copy)]
pub struct Absent {
    /// How it is written in a job file, with the block around it.
    pub name: &'static str,
    /// What becomes of a job that has it.
    pub lack: Lack,
    /// What is missing then, as a clause.
    pub sentence: &'static str,
    asked: Asked,
}

impl std::fmt::Debug for Absent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

use Asked::{Group, Service, Task as OfTask};
use Lack::{Ignored, Refused};

const fn absent(name: &'static str, lack: Lack, sentence: &'static str, asked: Asked) -> Absent {
    Absent {
        name,
        lack,
        sentence,
        asked,
    }
}

/// Everything that job files may ask for and that this version does not do.
pub const ABSENT: &[Absent] = &[
    absent(
        "network.mode of a task",
        Refused,
        "a group has one network, so its tasks would not be isolated",
        Group(|group| {
            let mut of_tasks = group.tasks.iter().flat_map(|task| &task.resources.networks);
            of_tasks.any(|network| !is_of_host(network))
        }),
    ),
    absent(
        "network.dns with mode \"host\"",
        Ignored,
        "names are resolved as on the host",
        Group(|group| networks(group).any(|network| is_of_host(network) && network.dns.is_some())),
    ),
    absent(
        "network.hostname with mode \"host\"",
        Ignored,
        "tasks see the name of the host",
        Group(|group| {
            networks(group).any(|network| is_of_host(network) && !network.hostname.is_empty())
        }),
    ),
    absent(
        "network.port.ignore_collision",
        Ignored,
        "a port that is taken stays taken",
        Group(|group| {
            networks(group).any(|network| {
                network
                    .reserved_ports
                    .iter()
                    .chain(&network.dynamic_ports)
                    .any(|port| port.ignore_collision)
            })
        }),
    ),
    absent(
        "network.port.host_network of a task",
        Refused,
        "ports of a task are on the node's first address, so the port could be open to another network; \
         ports of the group's network are where they ask to be",
        Group(|group| {
            let mut of_tasks = group.tasks.iter().flat_map(|task| &task.resources.networks);
            of_tasks.any(|network| {
                let mut ports = network.reserved_ports.iter().chain(&network.dynamic_ports);
                ports.any(|port| !port.host_network.is_empty())
            })
        }),
    ),
    absent(
        "group.volume with type \"csi\"",
        Refused,
        "volumes of plugins are not mounted, so its data would be missing or lost; host volumes are",
        Group(|group| group.volumes.values().any(|one| one.volume_type == "csi")),
    ),
    absent(
        "group.volume with per_alloc",
        Refused,
        "each allocation would need a volume of its own, and those are not chosen yet",
        Group(|group| group.volumes.values().any(|one| one.per_alloc)),
    ),
    absent(
        "group.volume with sticky",
        Refused,
        "there are no volumes yet that an allocation could claim, so it might find another one's data",
        Group(|group| group.volumes.values().any(|one| one.sticky)),
    ),
    absent(
        "group.disconnect",
        Ignored,
        "allocations of a node that is out of reach count as lost at once and are replaced",
        Group(|group| {
            group
                .disconnect
                .as_ref()
                .is_some_and(|block| block.stop_on_client_after.is_none())
        }),
    ),
    absent(
        "group.disconnect.stop_on_client_after",
        Refused,
        "a node that is cut off does not stop its tasks yet, so two of them could run",
        Group(|group| {
            group
                .disconnect
                .as_ref()
                .is_some_and(|block| block.stop_on_client_after.is_some())
        }),
    ),
    absent(
        "consul",
        Ignored,
        "there is one catalog without namespaces, and services are in it",
        Group(|group| {
            group.consul.is_some() || group.tasks.iter().any(|task| task.consul.is_some())
        }),
    ),
    absent(
        "task.vault",
        Refused,
        "tokens of Vault are not fetched yet, so a secret would be missing",
        OfTask(|task| task.vault.is_some()),
    ),
    absent(
        "task.secret",
        Refused,
        "stores of secrets are not read yet, so a secret would be missing",
        OfTask(|task| !task.secrets.is_empty()),
    ),
    absent(
        "task.csi_plugin",
        Refused,
        "volumes are not mounted yet, so nothing would reach the plugin",
        OfTask(|task| task.csi_plugin_config.is_some()),
    ),
    absent(
        "task.schedule",
        Refused,
        "tasks are not paused at set times yet, so it would run at the wrong ones",
        OfTask(|task| task.schedule.is_some()),
    ),
    absent(
        "task.scaling",
        Ignored,
        "resources of tasks stay as they are written",
        OfTask(|task| !task.scaling_policies.is_empty()),
    ),
    absent(
        "task.identity.extra_claims",
        Ignored,
        "namespaces define no further claims, so there are none to add",
        OfTask(|task| {
            let tokens = task.identity.iter().map(|token| &**token);
            let mut tokens = tokens.chain(&task.identities);
            tokens.any(|token| token.extra_claims.is_some())
        }),
    ),
    absent(
        "task.volume_mount.selinux_label",
        Ignored,
        "volumes are mounted with the labels that they have",
        OfTask(|task| {
            let mut labels = task.volume_mounts.iter();
            labels.any(|mount| {
                mount
                    .selinux_label
                    .as_deref()
                    .is_some_and(|one| !one.is_empty())
            })
        }),
    ),
    absent(
        "task.kind",
        Ignored,
        "there is no mesh that would look at it",
        // Kinds that follow from `connect` are told with it.
        OfTask(|task| !task.kind.is_empty() && !task.kind.starts_with("connect-")),
    ),
    absent(
        "task.resources.device",
        Refused,
        "devices are not found on nodes yet, so they would be missing",
        OfTask(|task| !task.resources.devices.is_empty()),
    ),
    absent(
        "task.resources.numa with \"prefer\"",
        Ignored,
        "cores are taken wherever they are",
        OfTask(|task| numa(task) == "prefer"),
    ),
    absent(
        "task.resources.numa with \"require\"",
        Refused,
        "cores are taken wherever they are, so they could be far from each other",
        OfTask(|task| numa(task) == "require"),
    ),
    absent(
        "task.resources.secrets",
        Ignored,
        "the folder of secrets has no limit of its own",
        OfTask(|task| task.resources.secrets_mb > 0),
    ),
    absent(
        "service.connect",
        Refused,
        "proxies beside services are not started yet, so a sidecar or gateway would not be there",
        Service(|service| service.connect.is_some()),
    ),
    absent(
        "service.address_mode with \"driver\", \"alloc\" or \"alloc_ipv6\"",
        Ignored,
        "the service is registered with the address of the node and the port there",
        Service(|service| is_elsewhere(&service.address_mode) && !is_number(&service.port_label)),
    ),
    absent(
        "service.address_mode with \"driver\", \"alloc\" or \"alloc_ipv6\", and a number as port",
        Refused,
        "the service is registered with the address of the node, where that port may be another program's",
        Service(|service| is_elsewhere(&service.address_mode) && is_number(&service.port_label)),
    ),
    absent(
        "service.check.address_mode with \"driver\", \"alloc\" or \"alloc_ipv6\"",
        Ignored,
        "the check connects to the address of the node and the port there",
        Service(|service| checks_elsewhere(service, false)),
    ),
    absent(
        "service.check.address_mode with \"driver\", \"alloc\" or \"alloc_ipv6\", and a number as port",
        Refused,
        "the check connects to the address of the node, where that port may be another program's",
        Service(|service| checks_elsewhere(service, true)),
    ),
    absent(
        "service.enable_tag_override",
        Ignored,
        "the tags of a service are those of its job",
        Service(|service| service.enable_tag_override),
    ),
    absent(
        "service.identity",
        Ignored,
        "services need no token to be registered",
        Service(|service| service.identity.is_some()),
    ),
    absent(
        "service.cluster",
        Ignored,
        "there is one catalog, and the service is in it",
        Service(|service| !service.cluster.is_empty()),
    ),
    absent(
        "service.kind",
        Ignored,
        "there is no mesh that would look at it",
        Service(|service| !service.kind.is_empty()),
    ),
    absent(
        "service.check with type \"grpc\"",
        Refused,
        "checks over gRPC are not run yet, so the service would stay critical",
        Service(|service| {
            service
                .checks
                .iter()
                .any(|check| check.check_type == "grpc")
        }),
    ),
    absent(
        "service.check.expose",
        Ignored,
        "there is no proxy to let the check through",
        Service(|service| service.checks.iter().any(|check| check.expose)),
    ),
    absent(
        "service.check.tls_server_name",
        Ignored,
        "certificates are checked for the address",
        Service(|service| {
            service
                .checks
                .iter()
                .any(|check| !check.tls_server_name.is_empty())
        }),
    ),
    absent(
        "service.check.advertise",
        Ignored,
        "the check is known by the address of the service",
        Service(|service| {
            service
                .checks
                .iter()
                .any(|check| !check.advertise.is_empty())
        }),
    ),
];

/// The networks of a group and of its tasks.
fn networks(group: &TaskGroup) -> impl Iterator<Item = &NetworkResource> {
    let of_tasks = group.tasks.iter().flat_map(|task| &task.resources.networks);
    group.networks.iter().chain(of_tasks)
}

fn is_of_host(network: &NetworkResource) -> bool {
    matches!(network.mode.as_str(), "" | "host")
}

/// True for the modes that mean another address than the node's.
fn is_elsewhere(address_mode: &str) -> bool {
    matches!(address_mode, "driver" | "alloc" | "alloc_ipv6")
}

fn is_number(port_label: &str) -> bool {
    port_label.parse::<u16>().is_ok()
}

/// True when a check asks at another address than the node's, at a port that is a number or not.
fn checks_elsewhere(service: &ServiceSpec, number: bool) -> bool {
    service.checks.iter().any(|check| {
        let own = !check.port_label.is_empty();
        let label = if own {
            &check.port_label
        } else {
            &service.port_label
        };
        is_elsewhere(&check.address_mode) && is_number(label) == number
    })
}

fn numa(task: &Task) -> &str {
    task.resources
        .numa
        .as_ref()
        .map_or("", |numa| &numa.affinity)
}

impl Absent {
    /// True when the group asks for it.
    fn is_asked(&self, group: &TaskGroup) -> bool {
        match self.asked {
            Group(asked) => asked(group),
            OfTask(asked) => group.tasks.iter().any(asked),
            Service(asked) => {
                let of_tasks = group.tasks.iter().flat_map(|task| &task.services);
                group.services.iter().chain(of_tasks).any(asked)
            }
        }
    }
}

/// Why a group cannot be placed by this version; none when it can.
pub fn absent_refusal(group: &TaskGroup) -> Option<String> {
    let refused = |absent: &&Absent| absent.lack == Refused && absent.is_asked(group);
    let absent = ABSENT.iter().find(refused)?;
    Some(format!("{}: {}", absent.name, absent.sentence))
}

/// What a job asks for and does not get, a line for each.
pub fn absent_warnings(job: &Job) -> Vec<String> {
    let mut lines = Vec::new();
    for absent in ABSENT {
        let groups = job.task_groups.iter();
        let asking: Vec<&str> = groups
            .filter(|group| absent.is_asked(group))
            .map(|group| group.name.as_str())
            .collect();
        if asking.is_empty() {
            continue;
        }
        let groups = asking.join(", ");
        let end = match absent.lack {
            Ignored => "",
            Refused => "; nothing is placed",
        };
        lines.push(format!(
            "{} (group {groups}): {}{end}",
            absent.name, absent.sentence
        ));
    }
    lines
}

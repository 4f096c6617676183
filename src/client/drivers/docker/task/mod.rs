//! The `config` block of a task, checked and turned into the body of a request. Pure.

use crate::{
    cores,
    drivers::{
        Start, capabilities,
        options::{self, Kind, Options, Table},
    },
};
use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HealthConfig,
    HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, MountVolumeOptions,
    MountVolumeOptionsDriverConfig, NetworkingConfig, PortBinding, ResourcesUlimits,
};
use config::Containers;
use globset::Glob;
use jobs::model::{AllocatedPort, Span, TaskConfig};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Component, Path, PathBuf},
    time::Duration,
};

/// Marks containers of tasks with their allocation.
pub(super) const ALLOC_LABEL: &str = "com.hashicorp.nomad.alloc_id";
/// Marks them with the task.
pub(super) const TASK_LABEL: &str = "dev.trivet.task";
/// Marks them with the node, so that two agents of one machine leave each other's alone.
pub(super) const NODE_LABEL: &str = "dev.trivet.node_id";
/// Marks those that hold the network of an allocation.
pub(super) const HOLDER_LABEL: &str = "dev.trivet.holds_network";
/// Marks them with the run.
pub(super) const RUN_LABEL: &str = "dev.trivet.run_id";
/// Size and number of the daemon's own files of a container's output: it is kept in ours.
const JSON_FILE: [(&str, &str); 2] = [("max-file", "2"), ("max-size", "2m")];
const MIB: i64 = 1024 * 1024;
/// Period of the processor quota unless a task chooses one, microseconds.
const CFS_PERIOD_US: i64 = 100_000;
/// The smallest share of the processors that the kernel takes.
const CPU_SHARES_MIN: i64 = 2;

const AUTH: Table = &[
    ("username", Kind::Text),
    ("password", Kind::Text),
    ("email", Kind::Text),
    ("server_address", Kind::Text),
    ("tls_verify", Kind::Flag),
];
const BIND: Table = &[("propagation", Kind::Text)];
const TMPFS: Table = &[("size", Kind::Number), ("mode", Kind::Number)];
const DRIVER_CONFIG: Table = &[("name", Kind::Text), ("options", Kind::Map)];
const VOLUME: Table = &[
    ("no_copy", Kind::Flag),
    ("labels", Kind::Map),
    ("driver_config", Kind::Block(DRIVER_CONFIG)),
];
const MOUNT: Table = &[
    ("type", Kind::Text),
    ("target", Kind::Text),
    ("source", Kind::Text),
    ("readonly", Kind::Flag),
    ("bind_options", Kind::Block(BIND)),
    ("tmpfs_options", Kind::Block(TMPFS)),
    ("volume_options", Kind::Block(VOLUME)),
];
const DEVICE: Table = &[
    ("host_path", Kind::Text),
    ("container_path", Kind::Text),
    ("cgroup_permissions", Kind::Text),
];
const LOGGING: Table = &[
    ("type", Kind::Text),
    ("driver", Kind::Text),
    ("config", Kind::Map),
    ("options", Kind::Map),
];

/// Every option of a task.
const OPTIONS: Table = &[
    ("image", Kind::Text),
    ("advertise_ipv6_address", Kind::Flag),
    ("args", Kind::List),
    ("auth", Kind::Block(AUTH)),
    ("auth_soft_fail", Kind::Flag),
    ("cap_add", Kind::List),
    ("cap_drop", Kind::List),
    ("cgroupns", Kind::Text),
    ("command", Kind::Text),
    ("container_exists_attempts", Kind::Number),
    ("cpu_cfs_period", Kind::Number),
    ("cpu_hard_limit", Kind::Flag),
    ("cpuset_cpus", Kind::Text),
    ("devices", Kind::Blocks(DEVICE)),
    ("dns_options", Kind::List),
    ("dns_search_domains", Kind::List),
    ("dns_servers", Kind::List),
    ("entrypoint", Kind::TextOrList),
    ("extra_hosts", Kind::List),
    ("force_pull", Kind::Flag),
    ("group_add", Kind::List),
    ("healthchecks", Kind::Block(&[("disable", Kind::Flag)])),
    ("hostname", Kind::Text),
    ("image_pull_timeout", Kind::Text),
    ("init", Kind::Flag),
    ("interactive", Kind::Flag),
    ("ipc_mode", Kind::Text),
    ("ipv4_address", Kind::Text),
    ("ipv6_address", Kind::Text),
    ("isolation", Kind::Text),
    ("labels", Kind::Map),
    ("load", Kind::Text),
    ("logging", Kind::Block(LOGGING)),
    ("mac_address", Kind::Text),
    ("memory_hard_limit", Kind::Number),
    ("mount", Kind::Blocks(MOUNT)),
    ("mounts", Kind::Blocks(MOUNT)),
    ("network_aliases", Kind::List),
    ("network_mode", Kind::Text),
    ("oom_score_adj", Kind::Number),
    ("pid_mode", Kind::Text),
    ("pids_limit", Kind::Number),
    ("port_map", Kind::Map),
    ("ports", Kind::List),
    ("privileged", Kind::Flag),
    ("readonly_rootfs", Kind::Flag),
    ("runtime", Kind::Text),
    ("security_opt", Kind::List),
    ("shm_size", Kind::Number),
    ("storage_opt", Kind::Map),
    ("sysctl", Kind::Map),
    ("tmpfs", Kind::List),
    ("tty", Kind::Flag),
    ("ulimit", Kind::Map),
    ("userns_mode", Kind::Text),
    ("uts_mode", Kind::Text),
    ("volume_driver", Kind::Text),
    ("volumes", Kind::List),
    ("work_dir", Kind::Text),
    ("working_dir", Kind::Text),
];

/// Every problem of a task's configuration: what has the wrong shape, and what the operator does
/// not allow.
pub(super) fn problems(config: &TaskConfig, settings: &Containers) -> Vec<String> {
    let mut problems = options::problems(config, OPTIONS);
    let options = Options::Task(config);
    if options.text("image").is_none() {
        problems.push("config option `image` is missing: it names the image to run".into());
    }
    if options.flag("privileged") == Some(true) && !settings.allow_privileged {
        problems.push(
            "Docker privileged mode is disabled on this Nomad agent; the operator allows it by `allow_privileged`"
                .into(),
        );
    }
    let may = capabilities::allowed(settings.allow_caps.as_deref());
    let (add, drop) = (options.list("cap_add"), options.list("cap_drop"));
    problems.extend(capabilities::of_task(&may, &add, &drop).err());
    if let Some(runtime) = options.text("runtime")
        && !settings.allow_runtimes.contains(&runtime)
    {
        problems.push(format!(
            "requested runtime {runtime:?} is not allowed; `allow_runtimes` has {}",
            settings.allow_runtimes.join(", ")
        ));
    }
    for (option, namespace) in [
        ("pid_mode", "pid"),
        ("ipc_mode", "ipc"),
        ("userns_mode", "userns"),
        ("uts_mode", "uts"),
    ] {
        let (asked, allowed) = (options.text(option), settings.allowed_modes.get(namespace));
        if let (Some(asked), Some(allowed)) = (asked, allowed)
            && !allowed.contains(&asked)
        {
            problems.push(format!(
                "{option} `{asked}` is not allowed; `allowed_modes` has {}",
                allowed.join(", ")
            ));
        }
    }
    if options.text("isolation").is_some() {
        problems.push("config option `isolation` is for Windows".into());
    }
    for volume in options.list("volumes") {
        problems.extend(volume_problem(&volume, settings));
    }
    for mount in mounts_of(options) {
        problems.extend(mount_problem(mount, settings));
    }
    for (name, limit) in options.map("ulimit") {
        if ulimit(&name, &limit).is_none() {
            problems.push(format!(
                "ulimit `{name}` is `{limit}`; a number, or two such as `1024:2048`, is expected"
            ));
        }
    }
    for device in options.blocks("devices") {
        if device.text("host_path").is_none() {
            problems.push("host path must be set in configuration for devices".into());
        }
        let permissions = device.text("cgroup_permissions").unwrap_or_default();
        if let Some(odd) = permissions.chars().find(|c| !"rwm".contains(*c)) {
            problems.push(format!("invalid cgroup permission string: {odd:?}"));
        }
    }
    if let Some(text) = options.text("image_pull_timeout")
        && !Span::parse(&text).is_ok_and(|span| span > Span::ZERO)
    {
        problems.push(format!(
            "image_pull_timeout `{text}` is no duration such as `5m`"
        ));
    }
    if let Some(mode) = options.text("cgroupns")
        && !matches!(mode.as_str(), "host" | "private")
    {
        problems.push(format!("cgroupns `{mode}` must be host or private"));
    }
    problems
}

const DISABLED: &str = "volumes are not enabled; cannot mount host paths: the operator allows it by `volumes { enabled = true }`";

fn volume_problem(volume: &str, settings: &Containers) -> Option<String> {
    let parts: Vec<&str> = volume.split(':').collect();
    let [host, inside, ..] = parts.as_slice() else {
        return Some(format!(
            "invalid docker volume: {volume:?}; it must be `<host path>:<path inside>[:<options>]`"
        ));
    };
    if !inside.starts_with('/') {
        return Some(format!(
            "volume {volume:?} has the path {inside:?} inside, which must be absolute"
        ));
    }
    let leaves = Path::new(host)
        .components()
        .any(|part| part == Component::ParentDir);
    (!settings.volumes && (host.starts_with('/') || leaves)).then(|| DISABLED.to_owned())
}

fn mount_problem(mount: Options<'_>, settings: &Containers) -> Option<String> {
    let kind = mount.text("type").unwrap_or_else(|| "volume".into());
    let target = mount.text("target").unwrap_or_default();
    if target.is_empty() {
        return Some("a mount has no target: the path inside the container".into());
    }
    match kind.as_str() {
        "bind" => {
            let source = mount.text("source").unwrap_or_default();
            if source.is_empty() {
                return Some(format!("the bind mount at `{target}` has no source"));
            }
            let leaves = Path::new(&source)
                .components()
                .any(|part| part == Component::ParentDir);
            let is_outside = source.starts_with('/') || leaves;
            (is_outside && !settings.volumes).then(|| DISABLED.to_owned())
        }
        "tmpfs" | "volume" => None,
        other => Some(format!(
            "unknown mount type: {other:?}; bind, volume and tmpfs are known"
        )),
    }
}

fn mounts_of(options: Options<'_>) -> Vec<Options<'_>> {
    let mut all = options.blocks("mount");
    all.extend(options.blocks("mounts"));
    all
}

/// `<soft>` or `<soft>:<hard>`.
fn ulimit(name: &str, limit: &str) -> Option<ResourcesUlimits> {
    let (soft, hard) = limit.split_once(':').unwrap_or((limit, limit));
    Some(ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(soft.parse().ok()?),
        hard: Some(hard.parse().ok()?),
    })
}

/// How long the image of a task may take.
pub(super) fn pull_timeout(config: &TaskConfig, settings: &Containers) -> Duration {
    Options::Task(config)
        .text("image_pull_timeout")
        .and_then(|text| Span::parse(&text).ok())
        .map_or(settings.image_pull_timeout, Span::to_std)
}

/// Name of a task's container.
pub(super) fn name(start: &Start) -> String {
    format!("{}-{}", start.owner.task, start.owner.alloc_id)
}

/// What the daemon is asked to make for a task whose configuration has no problems. `image` is what
/// runs.
///
/// # Errors
/// A sentence when the task and its group do not fit together.
pub(super) fn container(
    start: &Start,
    image: &str,
    settings: &Containers,
) -> Result<ContainerCreateBody, String> {
    let options = Options::Task(&start.config);
    let network_mode = network_mode(start, options);
    let publishes = publishes(&network_mode);
    let ports = if publishes {
        published(start, options)?
    } else {
        Vec::new()
    };
    let mut command: Vec<String> = options.text("command").into_iter().collect();
    command.extend(options.list("args"));
    let entrypoint = options.list("entrypoint");
    let env = start.env.iter();
    let port_map = options.map("port_map");
    let env = env.map(|(name, value)| {
        let label = name.strip_prefix("NOMAD_PORT_");
        let mapped = label.and_then(|label| port_map.get(label));
        format!("{name}={}", mapped.unwrap_or(value))
    });
    let shares_network = network_mode.starts_with("container:") || network_mode == "host";
    let own_name = start.network.as_ref().map(|network| &network.hostname);
    let hostname = options
        .text("hostname")
        .or_else(|| own_name.filter(|name| !name.is_empty()).cloned());
    let has_disabled_checks = options
        .blocks("healthchecks")
        .iter()
        .any(|block| block.flag("disable") == Some(true));
    Ok(ContainerCreateBody {
        hostname: hostname.filter(|_| !shares_network),
        user: Some(start.user.clone()).filter(|user| !user.is_empty()),
        tty: options.flag("tty"),
        open_stdin: options.flag("interactive"),
        env: Some(env.collect()),
        cmd: Some(command).filter(|command| !command.is_empty()),
        entrypoint: Some(entrypoint).filter(|entrypoint| !entrypoint.is_empty()),
        image: Some(image.to_owned()),
        working_dir: options
            .text("work_dir")
            .or_else(|| options.text("working_dir")),
        labels: Some(labels(start, options, settings)?),
        exposed_ports: Some(ports.iter().flat_map(|port| both(port.inside)).collect()),
        healthcheck: has_disabled_checks.then(|| HealthConfig {
            test: Some(vec!["NONE".into()]),
            ..HealthConfig::default()
        }),
        networking_config: endpoint(options, &network_mode),
        host_config: Some(host_config(start, options, settings, network_mode, &ports)),
        ..ContainerCreateBody::default()
    })
}

/// The task's own choice, the network of its group, or that of the daemon.
fn network_mode(start: &Start, options: Options<'_>) -> String {
    if let Some(own) = options.text("network_mode") {
        return own;
    }
    match &start.network {
        Some(network) => match &network.container {
            Some(container) => format!("container:{container}"),
            None => "none".into(),
        },
        None => "default".into(),
    }
}

fn publishes(network_mode: &str) -> bool {
    network_mode != "host" && network_mode != "none" && !network_mode.starts_with("container:")
}

/// A port of the host and where it leads.
struct Published {
    host_ip: String,
    host: u16,
    inside: u16,
}

fn published(start: &Start, options: Options<'_>) -> Result<Vec<Published>, String> {
    let asked = options.list("ports");
    let port_map = options.map("port_map");
    let all = || start.ports.iter().chain(&start.own_ports);
    let chosen: Vec<&AllocatedPort> = if asked.is_empty() {
        // The old way: every port of the task itself, mapped or not.
        let mapped = all().filter(|port| port_map.contains_key(&port.label));
        let own = start.own_ports.iter();
        let own = own.filter(|port| !port_map.contains_key(&port.label));
        mapped.chain(own).collect()
    } else {
        asked
            .iter()
            .map(|label| {
                all().find(|port| port.label == *label).ok_or_else(|| {
                    format!("Port {label:?} not found, check network block of the group")
                })
            })
            .collect::<Result<_, _>>()?
    };
    chosen
        .into_iter()
        .map(|port| {
            let mapped = port_map.get(&port.label).map(|text| text.parse::<u16>());
            let inside = match mapped {
                Some(Ok(number)) => number,
                Some(Err(_)) => {
                    return Err(format!("port_map has no port number for `{}`", port.label));
                }
                None => u16::try_from(port.to)
                    .ok()
                    .filter(|to| *to > 0)
                    .unwrap_or(port.value),
            };
            Ok(Published {
                host_ip: port.host_ip.clone(),
                host: port.value,
                inside,
            })
        })
        .collect()
}

fn both(port: u16) -> [String; 2] {
    [format!("{port}/tcp"), format!("{port}/udp")]
}

fn labels(
    start: &Start,
    options: Options<'_>,
    settings: &Containers,
) -> Result<HashMap<String, String>, String> {
    let mut labels: HashMap<String, String> = options.map("labels").into_iter().collect();
    let names = &start.names;
    for (key, value) in [
        ("job_name", &names.job),
        ("job_id", &names.job_id),
        ("task_group_name", &names.group),
        ("task_name", &start.owner.task.to_string()),
        ("namespace", &names.namespace),
        ("node_name", &names.node),
        ("node_id", &names.node_id),
    ] {
        for pattern in &settings.extra_labels {
            let glob = Glob::new(pattern)
                .map_err(|error| format!("`extra_labels` has a bad pattern: {error}"))?;
            if glob.compile_matcher().is_match(key) {
                labels.insert(format!("com.hashicorp.nomad.{key}"), value.clone());
            }
        }
    }
    for (key, value) in [
        (ALLOC_LABEL, start.owner.alloc_id.to_string()),
        (TASK_LABEL, start.owner.task.to_string()),
        (NODE_LABEL, names.node_id.clone()),
        (RUN_LABEL, start.run_id.clone()),
    ] {
        labels.insert(key.into(), value);
    }
    Ok(labels)
}

fn endpoint(options: Options<'_>, network_mode: &str) -> Option<NetworkingConfig> {
    let aliases = options.list("network_aliases");
    let (v4, v6) = (options.text("ipv4_address"), options.text("ipv6_address"));
    let mac_address = options.text("mac_address");
    if aliases.is_empty() && v4.is_none() && v6.is_none() && mac_address.is_none() {
        return None;
    }
    let settings = EndpointSettings {
        aliases: Some(aliases).filter(|aliases| !aliases.is_empty()),
        mac_address,
        ipam_config: (v4.is_some() || v6.is_some()).then(|| EndpointIpamConfig {
            ipv4_address: v4,
            ipv6_address: v6,
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    };
    Some(NetworkingConfig {
        endpoints_config: Some([(network_mode.to_owned(), settings)].into()),
    })
}

fn host_config(
    start: &Start,
    options: Options<'_>,
    settings: &Containers,
    network_mode: String,
    ports: &[Published],
) -> HostConfig {
    let may = capabilities::allowed(settings.allow_caps.as_deref());
    let (cap_add, mut cap_drop) = (options.list("cap_add"), options.list("cap_drop"));
    // The daemon gives this one to every container, which may pretend to be another machine by it.
    let adds_raw = cap_add
        .iter()
        .any(|name| capabilities::normal(name) == "net_raw");
    if !may.contains("net_raw") && !adds_raw {
        cap_drop.push("NET_RAW".into());
    }
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        for key in both(port.inside) {
            let bound = bindings.entry(key).or_default().get_or_insert_default();
            bound.push(PortBinding {
                host_ip: Some(port.host_ip.clone()),
                host_port: Some(port.host.to_string()),
            });
        }
    }
    let limits = Memory::of(start, options);
    let all =
        |map: BTreeMap<String, String>| -> HashMap<String, String> { map.into_iter().collect() };
    let given = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let pids = options.number("pids_limit").filter(|limit| *limit > 0);
    let pids_max = i64::try_from(settings.pids_limit).unwrap_or(i64::MAX);
    let oom = options.number("oom_score_adj").filter(|score| *score > 0);
    let oom_usual = i64::try_from(settings.oom_score_adj).unwrap_or(0);
    let devices = options.blocks("devices");
    let devices = devices.into_iter().map(|device| {
        let host = device.text("host_path");
        DeviceMapping {
            path_in_container: device.text("container_path").or_else(|| host.clone()),
            path_on_host: host,
            cgroup_permissions: Some(
                device
                    .text("cgroup_permissions")
                    .unwrap_or_else(|| "rwm".into()),
            ),
        }
    });
    let ulimits = options.map("ulimit").into_iter();
    let ulimits = ulimits.filter_map(|(name, limit)| ulimit(&name, &limit));
    let cgroupns_mode = options.text("cgroupns").map(|mode| match mode.as_str() {
        "host" => HostConfigCgroupnsModeEnum::HOST,
        _ => HostConfigCgroupnsModeEnum::PRIVATE,
    });
    let quota = cpu_quota(start, options);
    let mounts: Vec<Mount> = mounts_of(options)
        .into_iter()
        .map(|mount| one_mount(start, mount))
        .chain(start.mounts.iter().map(host_volume))
        .collect();
    let dns = start
        .network
        .as_ref()
        .is_none_or(|_| options.has("dns_servers"));
    HostConfig {
        binds: Some(binds(start, options, settings)),
        mounts: Some(mounts).filter(|mounts| !mounts.is_empty()),
        tmpfs: given(options.list("tmpfs")).map(|list| {
            let split = |entry: String| match entry.split_once(':') {
                Some((path, options)) => (path.to_owned(), options.to_owned()),
                None => (entry, String::new()),
            };
            list.into_iter().map(split).collect()
        }),
        network_mode: Some(network_mode),
        port_bindings: Some(bindings),
        memory: Some(limits.hard),
        memory_reservation: (limits.reserved > 0).then_some(limits.reserved),
        memory_swap: Some(limits.hard),
        memory_swappiness: None,
        cpu_shares: Some(start.limits.cpu_mhz.max(CPU_SHARES_MIN)),
        cpu_period: quota.map(|(period, _)| period),
        cpu_quota: quota.map(|(_, quota)| quota),
        cpuset_cpus: options.text("cpuset_cpus").or_else(|| {
            let cores = cores::list(&start.limits.cores);
            Some(cores).filter(|cores| !cores.is_empty())
        }),
        pids_limit: match (pids, pids_max) {
            (Some(own), 0) => Some(own),
            (Some(own), most) => Some(own.min(most)),
            (None, 0) => None,
            (None, most) => Some(most),
        },
        oom_score_adj: oom.or_else(|| Some(oom_usual).filter(|score| *score > 0)),
        log_config: log_config(options, settings),
        cap_add: given(cap_add),
        cap_drop: given(cap_drop),
        cgroupns_mode,
        devices: Some(devices.collect::<Vec<_>>()).filter(|devices| !devices.is_empty()),
        ulimits: Some(ulimits.collect::<Vec<_>>()).filter(|ulimits| !ulimits.is_empty()),
        dns: given(options.list("dns_servers")).filter(|_| dns),
        dns_search: given(options.list("dns_search_domains")),
        dns_options: given(options.list("dns_options")),
        extra_hosts: given(options.list("extra_hosts")),
        group_add: given(options.list("group_add")),
        init: options.flag("init"),
        ipc_mode: options.text("ipc_mode"),
        pid_mode: options.text("pid_mode"),
        uts_mode: options.text("uts_mode"),
        userns_mode: options.text("userns_mode"),
        privileged: options.flag("privileged"),
        readonly_rootfs: options.flag("readonly_rootfs"),
        runtime: options.text("runtime"),
        security_opt: given(options.list("security_opt")),
        shm_size: options.number("shm_size").filter(|bytes| *bytes > 0),
        storage_opt: options
            .has("storage_opt")
            .then(|| all(options.map("storage_opt"))),
        sysctls: options.has("sysctl").then(|| all(options.map("sysctl"))),
        volume_driver: options.text("volume_driver"),
        ..HostConfig::default()
    }
}

/// Memory in bytes: the limit, and what is kept for the task when the limit is beyond that.
struct Memory {
    hard: i64,
    reserved: i64,
}

impl Memory {
    fn of(start: &Start, options: Options<'_>) -> Self {
        let own = start.limits.memory_mib;
        let most = options
            .number("memory_hard_limit")
            .unwrap_or(0)
            .max(start.limits.memory_max_mib);
        if most > own {
            Self {
                hard: most.saturating_mul(MIB),
                reserved: own.saturating_mul(MIB),
            }
        } else {
            Self {
                hard: own.saturating_mul(MIB),
                reserved: 0,
            }
        }
    }
}

/// Period and quota in microseconds, for a task that asks for a hard limit: its part of what the
/// node has.
fn cpu_quota(start: &Start, options: Options<'_>) -> Option<(i64, i64)> {
    if options.flag("cpu_hard_limit") != Some(true) || start.limits.node_mhz <= 0 {
        return None;
    }
    let period = options
        .number("cpu_cfs_period")
        .filter(|period| (1_000..=1_000_000).contains(period))
        .unwrap_or(CFS_PERIOD_US);
    let cores = i64::from(start.limits.node_cores.max(1));
    let quota = start
        .limits
        .cpu_mhz
        .saturating_mul(period)
        .saturating_mul(cores)
        / start.limits.node_mhz;
    // The kernel takes no quota below a millisecond.
    Some((period, quota.max(1_000)))
}

fn log_config(options: Options<'_>, settings: &Containers) -> Option<HostConfigLogConfig> {
    let block = options.blocks("logging").into_iter().next();
    let own = block.and_then(|block| {
        let kind = block.text("type").or_else(|| block.text("driver"));
        let mut config = block.map("config");
        config.extend(block.map("options"));
        kind.map(|kind| (kind, config))
    });
    let (kind, config) = own.or_else(|| settings.logging.clone()).unwrap_or_else(|| {
        let usual = JSON_FILE.map(|(key, value)| (key.to_owned(), value.to_owned()));
        ("json-file".into(), usual.into())
    });
    Some(HostConfigLogConfig {
        typ: Some(kind),
        config: Some(config.into_iter().collect()),
    })
}

/// The directories of every task, and the `volumes` of this one.
fn binds(start: &Start, options: Options<'_>, settings: &Containers) -> Vec<String> {
    let label = &settings.selinux_label;
    let with_label = |bind: String| {
        if label.is_empty() {
            bind
        } else {
            format!("{bind}:{label}")
        }
    };
    let mut binds: Vec<String> = [
        (start.alloc_dir.clone(), "/alloc"),
        (start.dir.join("local"), "/local"),
        (start.dir.join("secrets"), "/secrets"),
    ]
    .into_iter()
    .map(|(host, inside)| with_label(format!("{}:{inside}", host.display())))
    .collect();
    for volume in options.list("volumes") {
        let (host, rest) = volume.split_once(':').unwrap_or((&volume, ""));
        let is_named = options.text("volume_driver").is_some();
        let host = if is_named {
            host.to_owned()
        } else {
            start.dir.join(host).display().to_string()
        };
        let bind = format!("{host}:{rest}");
        let has_options = rest.contains(':');
        binds.push(if has_options { bind } else { with_label(bind) });
    }
    // Names of a network of its own are resolved by files of its own.
    if let Some(network) = &start.network
        && options.text("network_mode").is_none()
    {
        let files = network.files.iter();
        let read_only = |(host, inside): &(PathBuf, PathBuf)| {
            format!("{}:{}:ro", host.display(), inside.display())
        };
        binds.extend(files.map(read_only));
    }
    binds
}

fn one_mount(start: &Start, mount: Options<'_>) -> Mount {
    let kind = mount.text("type").unwrap_or_else(|| "volume".into());
    let first = |key| mount.blocks(key).into_iter().next();
    let source = mount.text("source");
    let (typ, source) = match kind.as_str() {
        // A relative path lies in the task's directory.
        "bind" => (
            MountType::BIND,
            source.map(|source| start.dir.join(source).display().to_string()),
        ),
        "tmpfs" => (MountType::TMPFS, None),
        _ => (MountType::VOLUME, source),
    };
    Mount {
        target: mount.text("target"),
        source,
        typ: Some(typ),
        read_only: mount.flag("readonly"),
        bind_options: first("bind_options").map(|block| MountBindOptions {
            propagation: block
                .text("propagation")
                .and_then(|text| propagation(&text)),
            ..MountBindOptions::default()
        }),
        tmpfs_options: first("tmpfs_options").map(|block| MountTmpfsOptions {
            size_bytes: block.number("size"),
            mode: block.number("mode"),
            ..MountTmpfsOptions::default()
        }),
        volume_options: first("volume_options").map(|block| MountVolumeOptions {
            no_copy: block.flag("no_copy"),
            labels: Some(block.map("labels").into_iter().collect()),
            driver_config: block.blocks("driver_config").first().map(|driver| {
                MountVolumeOptionsDriverConfig {
                    name: driver.text("name"),
                    options: Some(driver.map("options").into_iter().collect()),
                }
            }),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

fn host_volume(volume: &crate::drivers::Mounted) -> Mount {
    let mode = match volume.propagation.as_str() {
        "host-to-task" => "rslave",
        "bidirectional" => "rshared",
        _ => "rprivate",
    };
    Mount {
        target: Some(volume.target.display().to_string()),
        source: Some(volume.source.display().to_string()),
        typ: Some(MountType::BIND),
        read_only: Some(volume.read_only),
        bind_options: Some(MountBindOptions {
            propagation: propagation(mode),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn propagation(text: &str) -> Option<MountBindOptionsPropagationEnum> {
    Some(match text {
        "private" => MountBindOptionsPropagationEnum::PRIVATE,
        "rprivate" => MountBindOptionsPropagationEnum::RPRIVATE,
        "shared" => MountBindOptionsPropagationEnum::SHARED,
        "rshared" => MountBindOptionsPropagationEnum::RSHARED,
        "slave" => MountBindOptionsPropagationEnum::SLAVE,
        "rslave" => MountBindOptionsPropagationEnum::RSLAVE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

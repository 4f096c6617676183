//! What services in the mesh add to their group when a job is registered: tasks for proxies and
//! gateways, their ports, and the names that follow from them. Those who read the job back, plans
//! and differences show it.
//!
//! Source: "connect" among the original's hooks of registration. Differs: the name of a task that
//! is taken gets an ending that follows from the job, not a random one.

use super::Findings;
use super::added::{add_port, ending};
use super::connect;
use super::expose;
use super::service::{Place, service_name};
use crate::model::{
    BindAddress, Connect, Constraint, Gateway, GatewayProxy, Ingress, SidecarTask, Span,
};
use crate::wire;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Pause before the kill signal of a proxy.
const SHUTDOWN_DELAY: Span = Span::from_secs(5);
/// How long a gateway waits until a connection to a service stands.
const CONNECT_TIMEOUT: Span = Span::from_secs(5);
/// Files of a proxy's logs, and megabytes of each.
const LOGS: (i64, i64) = (2, 2);
/// MHz and megabytes that a proxy asks for.
const CPU: i64 = 250;
const MEMORY_MB: i64 = 128;

/// The job around a group: what names of services may be made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) region: &'a str,
    pub(super) meta: &'a BTreeMap<String, String>,
}

/// Adds what the services of a group need of it. A group without a network stays as it is: its
/// services are refused for that.
pub(super) fn inject(findings: &mut Findings, group: &mut wire::TaskGroup, job: Around<'_>) {
    if group.networks.as_ref().is_none_or(Vec::is_empty) {
        return;
    }
    let mut services = group.services.take().unwrap_or_default();
    for service in &mut services {
        if let Some(connect) = service.connect.take() {
            // What is merged into tasks has its defaults: otherwise they would be merged when the
            // job is read back and registered again.
            let mut connect = connect::with_defaults(connect);
            connected(findings, group, service, &mut connect, job);
            service.connect = Some(*connect);
        }
    }
    group.services = Some(services).filter(|services| !services.is_empty());
}

fn connected(
    findings: &mut Findings,
    group: &mut wire::TaskGroup,
    service: &mut wire::Service,
    connect: &mut Connect,
    job: Around<'_>,
) {
    let name = group.name.clone().unwrap_or_default();
    let place = Place {
        job: job.id,
        group: &name,
        task: None,
    };
    let full = service_name(std::mem::take(&mut service.name), &place);
    if connect.sidecar_service.is_some() {
        service.name = resolved(&full, group, job);
        sidecar(group, service, connect, job);
        if let Some(proxy) = &mut connect.sidecar_service {
            expose::paths(findings, group, service, proxy);
        }
    } else if connect.native {
        service.name = full;
        native(findings, group, service);
    } else if let Some(gateway) = &mut connect.gateway {
        service.name = resolved(&full, group, job);
        let merged = connect.sidecar_task.as_deref();
        self::gateway(findings, group, service, gateway, merged);
    } else {
        service.name = full;
    }
}

fn sidecar(
    group: &mut wire::TaskGroup,
    service: &wire::Service,
    connect: &Connect,
    job: Around<'_>,
) {
    let kind = format!("connect-proxy:{}", service.name);
    let cluster = cluster(group, service);
    let driver = likely_driver(group);
    let group_name = group.name.clone().unwrap_or_default();
    let tasks = group.tasks.get_or_insert_default();
    let at = tasks.iter().position(|task| task.kind == kind);
    let at = at.unwrap_or_else(|| {
        let mut name = format!("connect-proxy-{}", service.name);
        if tasks.iter().any(|task| task.name == name) {
            name = format!("{name}-{}", ending(&[job.id, &group_name, &service.name]));
        }
        let image = "${meta.connect.sidecar_image}";
        tasks.push(wire::Task {
            lifecycle: Some(wire::Lifecycle {
                hook: "prestart".into(),
                sidecar: true,
            }),
            ..proxy_task(name, kind, driver, image, &cluster)
        });
        tasks.len() - 1
    });
    if let (Some(given), Some(task)) = (&connect.sidecar_task, tasks.get_mut(at)) {
        merge(given, task);
    }
    let port = connect
        .sidecar_service
        .as_ref()
        .map(|sidecar| &sidecar.port);
    let label = match port.filter(|label| !label.is_empty()) {
        Some(label) => label.clone(),
        None => format!("connect-proxy-{}", service.name),
    };
    add_port(group, label);
}

/// A service whose task speaks the protocol of the mesh names that task, and the task is told.
fn native(findings: &mut Findings, group: &mut wire::TaskGroup, service: &mut wire::Service) {
    let name = group.name.clone().unwrap_or_default();
    let tasks = group.tasks.get_or_insert_default();
    let task = match (service.task_name.as_str(), tasks.as_mut_slice()) {
        ("", [only]) => only,
        ("", _) => {
            findings.error(format!(
                "task for Consul Connect Native service {name}->{} is ambiguous and must be set",
                service.name
            ));
            return;
        }
        (wanted, tasks) => match tasks.iter_mut().find(|task| task.name == wanted) {
            Some(task) => task,
            None => {
                findings.error(format!(
                    "task {wanted} named by Consul Connect Native service {name}->{} does not exist",
                    service.name
                ));
                return;
            }
        },
    };
    task.kind = format!("connect-native:{}", service.name);
    service.task_name.clone_from(&task.name);
}

fn gateway(
    findings: &mut Findings,
    group: &mut wire::TaskGroup,
    service: &mut wire::Service,
    gateway: &mut Gateway,
    merged: Option<&SidecarTask>,
) {
    let mut networks = group.networks.iter().flatten();
    let mode = networks
        .next()
        .map_or("", |network| &network.mode)
        .to_owned();
    gateway.proxy = Some(Box::new(gateway_proxy(gateway, &mode)));
    if gateway.terminating.is_some() && service.port_label.is_empty() {
        service.port_label = format!("connect-terminating-{}", service.name);
        add_port(group, service.port_label.clone());
    }
    if gateway.mesh.is_some() {
        findings.require(!service.port_label.is_empty(), || {
            "service.port must be set for mesh gateway service".into()
        });
        add_port(group, format!("connect-mesh-{}-lan", service.name));
    }
    let kinds = ["connect-ingress", "connect-terminating", "connect-mesh"];
    let is_its = |task: &wire::Task| {
        let kind = task.kind.split_once(':');
        kind.is_some_and(|(kind, of)| kinds.contains(&kind) && of == service.name)
    };
    if group.tasks.iter().flatten().any(is_its) {
        return;
    }
    let prefix = match (&gateway.mesh, &gateway.ingress) {
        (Some(_), _) => "connect-mesh",
        (None, Some(_)) => "connect-ingress",
        (None, None) => "connect-terminating",
    };
    let cluster = cluster(group, service);
    let mut task = proxy_task(
        format!("{prefix}-{}", service.name),
        format!("{prefix}:{}", service.name),
        likely_driver(group),
        "${meta.connect.gateway_image}",
        &cluster,
    );
    if mode == "host" {
        let config = task.config.get_or_insert_default();
        config.insert("network_mode".into(), "host".into());
    }
    if gateway.ingress.as_deref().is_some_and(has_own_tls) {
        let versions = at_least(&cluster, "version", "semver", ">= 1.11.2");
        task.constraints.get_or_insert_default().push(versions);
    }
    if let Some(given) = merged {
        merge(given, &mut task);
    }
    group.tasks.get_or_insert_default().push(task);
}

fn has_own_tls(ingress: &Ingress) -> bool {
    ingress.tls.as_ref().is_some_and(|tls| {
        let suites = tls.cipher_suites.as_ref();
        !tls.tls_min_version.is_empty()
            || !tls.tls_max_version.is_empty()
            || suites.is_some_and(|suites| !suites.is_empty())
    })
}

/// What the proxy of a gateway does: as it is written, or what suits the network.
fn gateway_proxy(gateway: &Gateway, mode: &str) -> GatewayProxy {
    let mut proxy = gateway.proxy.as_deref().cloned().unwrap_or_default();
    let addresses = proxy.envoy_gateway_bind_addresses.as_ref();
    if proxy.envoy_gateway_no_default_bind
        || proxy.envoy_gateway_bind_tagged_addresses
        || addresses.is_some_and(|addresses| !addresses.is_empty())
    {
        return proxy;
    }
    proxy.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    if mode != "bridge" && !mode.starts_with("cni/") {
        return proxy;
    }
    let everywhere = |port| BindAddress {
        address: "0.0.0.0".into(),
        port,
        ..BindAddress::default()
    };
    let addresses: BTreeMap<String, BindAddress> = if let Some(ingress) = &gateway.ingress {
        let listeners = ingress.listeners.iter().flatten();
        let ports = listeners.flat_map(|listener| {
            let services = listener.services.iter().flatten();
            services.map(|service| (service.name.clone(), everywhere(listener.port)))
        });
        ports.collect()
    } else {
        // Ports that are known when the task starts.
        let names: &[&str] = match gateway.mesh {
            Some(_) => &["lan", "wan"],
            None => &["default"],
        };
        let chosen = |name: &&str| ((*name).to_owned(), everywhere(-1));
        names.iter().map(chosen).collect()
    };
    proxy.envoy_gateway_no_default_bind = true;
    proxy.envoy_gateway_bind_addresses = Some(addresses);
    proxy
}

/// A task that runs a proxy.
fn proxy_task(name: String, kind: String, driver: &str, image: &str, cluster: &str) -> wire::Task {
    let config = json!({
        "image": image,
        "args": [
            "-c", "${NOMAD_SECRETS_DIR}/envoy_bootstrap.json",
            "-l", "${meta.connect.log_level}",
            "--concurrency", "${meta.connect.proxy_concurrency}",
            "--disable-hot-restart",
        ],
    });
    wire::Task {
        name,
        kind,
        driver: driver.to_owned(),
        config: match config {
            Value::Object(config) => Some(config),
            _ => None,
        },
        shutdown_delay: SHUTDOWN_DELAY,
        log_config: Some(wire::LogConfig {
            max_files: Some(LOGS.0),
            max_file_size_mb: Some(LOGS.1),
            ..wire::LogConfig::default()
        }),
        resources: Some(wire::Resources {
            cpu: Some(CPU),
            memory_mb: Some(MEMORY_MB),
            ..wire::Resources::default()
        }),
        constraints: Some(vec![
            at_least(cluster, "version", "semver", ">= 1.8.0"),
            at_least(cluster, "grpc", ">", "0"),
        ]),
        ..wire::Task::default()
    }
}

/// What a node has to know of the catalog; empty is the only one.
fn at_least(cluster: &str, attribute: &str, operand: &str, value: &str) -> Constraint {
    let dot = if cluster.is_empty() { "" } else { "." };
    Constraint {
        l_target: format!("${{attr.consul{dot}{cluster}.{attribute}}}"),
        r_target: value.to_owned(),
        operand: operand.to_owned(),
    }
}

/// The catalog of a service; empty for the usual one.
fn cluster(group: &wire::TaskGroup, service: &wire::Service) -> String {
    let of_group = group.consul.as_ref().map_or("", |consul| &consul.cluster);
    let named = [service.cluster.as_str(), of_group];
    let named = named.into_iter().find(|name| !name.is_empty());
    named
        .filter(|name| *name != "default")
        .unwrap_or_default()
        .to_owned()
}

/// The driver that runs containers here, as far as the other tasks tell.
fn likely_driver(group: &wire::TaskGroup) -> &'static str {
    let has = |driver: &str| {
        group
            .tasks
            .iter()
            .flatten()
            .any(|task| task.driver == driver)
    };
    if has("podman") && !has("docker") {
        "podman"
    } else {
        "docker"
    }
}

/// Changes the task of a proxy as the job says.
fn merge(given: &SidecarTask, task: &mut wire::Task) {
    let named = |given: &str, to: &mut String| {
        if !given.is_empty() {
            given.clone_into(to);
        }
    };
    named(&given.name, &mut task.name);
    named(&given.user, &mut task.user);
    named(&given.kill_signal, &mut task.kill_signal);
    if !given.driver.is_empty() && given.driver != task.driver {
        task.driver.clone_from(&given.driver);
        task.config.clone_from(&given.config);
    } else if let Some(config) = &given.config {
        task.config.get_or_insert_default().extend(config.clone());
    }
    if let Some(env) = &given.env {
        task.env.get_or_insert_default().extend(env.clone());
    }
    if let Some(meta) = &given.meta {
        task.meta.get_or_insert_default().extend(meta.clone());
    }
    if given.kill_timeout.is_some() {
        task.kill_timeout = given.kill_timeout;
    }
    task.shutdown_delay = given.shutdown_delay.unwrap_or(task.shutdown_delay);
    if given.volume_mounts.is_some() {
        task.volume_mounts.clone_from(&given.volume_mounts);
    }
    if given.identities.is_some() {
        task.identities.clone_from(&given.identities);
    }
    if let Some(logs) = &given.log_config {
        let of_task = task.log_config.get_or_insert_default();
        let set = |given: Option<i64>, to: &mut Option<i64>| {
            if given.is_some_and(|number| number > 0) {
                *to = given;
            }
        };
        set(logs.max_files, &mut of_task.max_files);
        set(logs.max_file_size_mb, &mut of_task.max_file_size_mb);
    }
    merge_resources(given, task);
}

fn merge_resources(given: &SidecarTask, task: &mut wire::Task) {
    let Some(given) = &given.resources else {
        return;
    };
    let of_task = task.resources.get_or_insert_default();
    for (given, to) in [
        (given.cpu, &mut of_task.cpu),
        (given.cores, &mut of_task.cores),
        (given.memory_mb, &mut of_task.memory_mb),
        (given.memory_max_mb, &mut of_task.memory_max_mb),
        (given.disk_mb, &mut of_task.disk_mb),
        (given.secrets_mb, &mut of_task.secrets_mb),
    ] {
        if given.is_some_and(|number| number != 0) {
            *to = given;
        }
    }
    if given
        .devices
        .as_ref()
        .is_some_and(|devices| !devices.is_empty())
    {
        of_task.devices.clone_from(&given.devices);
    }
}

/// A name with what is known of it when the job is registered.
fn resolved(name: &str, group: &wire::TaskGroup, job: Around<'_>) -> String {
    let value = |key: &str| -> Option<String> {
        let meta = |key: &str| {
            let of_group = group.meta.as_ref().and_then(|meta| meta.get(key));
            of_group.or_else(|| job.meta.get(key)).cloned()
        };
        match key {
            "NOMAD_JOB_ID" => Some(job.id.to_owned()),
            "NOMAD_JOB_NAME" => Some(job.name.to_owned()),
            "NOMAD_GROUP_NAME" => group.name.clone(),
            "NOMAD_NAMESPACE" => Some(job.namespace.to_owned()),
            "NOMAD_REGION" => Some(job.region.to_owned()),
            _ => meta(key.strip_prefix("NOMAD_META_")?),
        }
    };
    let mut whole = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((key, behind)) = after.split_once('}') else {
            break;
        };
        whole.push_str(before);
        match value(key) {
            Some(value) => whole.push_str(&value),
            None => whole.push_str(&format!("${{{key}}}")),
        }
        rest = behind;
    }
    whole.push_str(rest);
    whole
}

//! Checks that go through the proxy of their service: each gets a path of the proxy that needs no
//! identity, and a port for it unless it names one.
//!
//! Source: "expose-check" among the original's hooks of registration.

use super::Findings;
use super::added::{add_port, ending};
use crate::model::{ExposePath, SidecarService, TaskGroup};
use crate::wire;

/// Adds the paths of the service's checks to its proxy, each once.
pub(super) fn paths(
    findings: &mut Findings,
    group: &mut wire::TaskGroup,
    service: &mut wire::Service,
    sidecar: &mut SidecarService,
) {
    let mut checks = service.checks.take();
    for (at, check) in checks.iter_mut().flatten().enumerate() {
        let is_exposable = matches!(check.check_type.to_lowercase().as_str(), "http" | "grpc")
            && check.path.starts_with('/');
        if !check.expose || !is_exposable {
            continue;
        }
        let Some(local_path_port) = local_port(group, &service.port_label) else {
            findings.error(format!(
                "unable to determine local service port for service check {}->{}->{}",
                group.name.as_deref().unwrap_or_default(),
                service.name,
                check.name
            ));
            continue;
        };
        if check.port_label.is_empty() {
            let suffix = ending(&[&service.name, &at.to_string(), &check.name, &check.path]);
            check.port_label = format!("svc_{}_ck_{suffix}", service.name);
            add_port(group, check.port_label.clone());
        }
        let path = ExposePath {
            path: check.path.clone(),
            protocol: check.protocol.clone(),
            local_path_port,
            listener_port: check.port_label.clone(),
        };
        let proxy = sidecar.proxy.get_or_insert_default();
        let paths = &mut proxy.expose.get_or_insert_default().paths;
        let paths = paths.get_or_insert_default();
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    service.checks = checks;
}

/// Rules of checks that go through a proxy: only a group's service beside a proxy has one.
pub(super) fn check(findings: &mut Findings, group: &TaskGroup) {
    let name = &group.name;
    for service in &group.services {
        let sidecar = service
            .connect
            .as_ref()
            .is_some_and(|connect| connect.sidecar_service.is_some());
        for check in service.checks.iter().filter(|check| check.expose) {
            findings.require(sidecar, || {
                format!(
                    "exposed service check {name}->{}->{} requires use of sidecar_proxy",
                    service.name, check.name
                )
            });
        }
    }
    for task in &group.tasks {
        for service in &task.services {
            for check in service.checks.iter().filter(|check| check.expose) {
                findings.error(format!(
                    "exposed service check {name}[{}]->{}->{} is not a task-group service",
                    task.name, service.name, check.name
                ));
            }
        }
    }
}

/// The number of a port that is known when the job is registered.
fn local_port(group: &wire::TaskGroup, label: &str) -> Option<i64> {
    let networks = group.networks.iter().flatten();
    let ports = networks.flat_map(|network| {
        let lists = [&network.reserved_ports, &network.dynamic_ports];
        lists.into_iter().flatten().flatten()
    });
    let of_label = ports.filter(|port| port.label == label);
    of_label
        .map(|port| port.value)
        .chain(label.parse())
        .find(|number| *number > 0)
}

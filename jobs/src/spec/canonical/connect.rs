use super::Findings;
use crate::model::{
    Connect, Gateway, GatewayProxy, Ingress, IngressListener, IngressService, LinkedService,
    LogConfig, Proxy, ServiceSpec, SidecarLogs, TaskGroup,
};

/// What a service asks of the mesh, with its defaults.
pub(super) fn with_defaults(mut given: Connect) -> Box<Connect> {
    if let Some(task) = &mut given.sidecar_task {
        let logs = task.log_config.take().unwrap_or_default();
        let base = LogConfig::default();
        let (files, size) = (base.max_files.into(), base.max_file_size_mb.into());
        task.log_config = Some(SidecarLogs {
            max_files: Some(logs.max_files.unwrap_or(files)),
            max_file_size_mb: Some(logs.max_file_size_mb.unwrap_or(size)),
            disabled: Some(logs.disabled.unwrap_or(base.disabled)),
            ..logs
        });
    }
    Box::new(given)
}

/// Rules of what a service asks of the mesh.
pub(super) fn check(findings: &mut Findings, service: &ServiceSpec) {
    let Some(connect) = &service.connect else {
        return;
    };
    if service.provider == "nomad" {
        findings.error("Service with provider nomad cannot include Connect blocks");
        return;
    }
    let kinds = [
        connect.native,
        connect.sidecar_service.is_some(),
        connect.gateway.is_some(),
    ];
    findings.require(kinds.iter().filter(|kind| **kind).count() == 1, || {
        "Consul Connect must be exclusively native, make use of a sidecar, or represent a Gateway"
            .into()
    });
    if connect.native {
        findings.require(!service.port_label.is_empty(), || {
            format!(
                "Service {} is Connect Native and requires setting the port",
                service.name
            )
        });
    }
    if let Some(sidecar) = &connect.sidecar_service {
        for check in service
            .checks
            .iter()
            .filter(|check| check.check_type == "tcp")
        {
            findings.error(format!(
                "Check {} invalid: tcp checks are not valid for Connect enabled services",
                check.name
            ));
        }
        if let Some(proxy) = &sidecar.proxy {
            proxy_rules(findings, proxy);
        }
    }
    if let Some(gateway) = &connect.gateway {
        gateway_rules(findings, gateway);
    }
}

/// Rules of services in the mesh that need the network of their group.
pub(super) fn of_group(findings: &mut Findings, group: &TaskGroup) {
    let mode = group.networks.first().map_or("", |network| &network.mode);
    let own = mode == "bridge" || mode.starts_with("cni/");
    for service in &group.services {
        let sidecar = service
            .connect
            .as_ref()
            .is_some_and(|connect| connect.sidecar_service.is_some());
        findings.require(!sidecar || own, || {
            format!(
                "Consul Connect sidecars require bridge network, found {mode:?} in group {:?}",
                group.name
            )
        });
        findings.require(!sidecar || service.name.to_lowercase() == service.name, || {
            format!(
                "Consul Connect service name {:?} in group {:?} must not contain uppercase characters",
                service.name, group.name
            )
        });
    }
}

fn proxy_rules(findings: &mut Findings, proxy: &Proxy) {
    for upstream in proxy.upstreams.iter().flatten() {
        findings.require(!upstream.destination_name.is_empty(), || {
            "an upstream of a Connect proxy must name its destination".into()
        });
        if let Some(gateway) = &upstream.mesh_gateway {
            let mode = gateway.mode.as_str();
            findings.require(["", "local", "remote", "none"].contains(&mode), || {
                format!("Connect mesh_gateway mode {mode:?} not supported")
            });
        }
    }
}

fn gateway_rules(findings: &mut Findings, gateway: &Gateway) {
    let kinds = [
        gateway.ingress.is_some(),
        gateway.terminating.is_some(),
        gateway.mesh.is_some(),
    ];
    findings.require(kinds.iter().filter(|kind| **kind).count() == 1, || {
        "One Consul Gateway Configuration must be set".into()
    });
    if let Some(proxy) = &gateway.proxy {
        gateway_proxy(findings, proxy);
    }
    if let Some(ingress) = &gateway.ingress {
        ingress_rules(findings, ingress);
    }
    if let Some(terminating) = &gateway.terminating {
        let services = terminating.services.as_deref().unwrap_or_default();
        findings.require(!services.is_empty(), || {
            "Consul Terminating Gateway requires at least one service".into()
        });
        services
            .iter()
            .for_each(|service| linked_service(findings, service));
    }
}

fn gateway_proxy(findings: &mut Findings, proxy: &GatewayProxy) {
    let kind = proxy.envoy_dns_discovery_type.as_str();
    findings.require(["", "STRICT_DNS", "LOGICAL_DNS"].contains(&kind), || {
        "Consul Gateway Proxy Envoy DNS Discovery type must be STRICT_DNS or LOGICAL_DNS".into()
    });
    for address in proxy
        .envoy_gateway_bind_addresses
        .iter()
        .flat_map(|map| map.values())
    {
        findings.require(!address.address.is_empty(), || {
            "Consul Gateway Bind Address must be set".into()
        });
        findings.require(address.port > 0 || address.port == -1, || {
            "Consul Gateway Bind Address must set valid Port".into()
        });
    }
}

fn ingress_rules(findings: &mut Findings, ingress: &Ingress) {
    let listeners = ingress.listeners.as_deref().unwrap_or_default();
    findings.require(!listeners.is_empty(), || {
        "Consul Ingress Gateway requires at least one listener".into()
    });
    listeners
        .iter()
        .for_each(|listener| listener_rules(findings, listener));
}

fn listener_rules(findings: &mut Findings, listener: &IngressListener) {
    findings.require(listener.port > 0, || {
        "Consul Ingress Listener requires valid Port".into()
    });
    let protocols = ["tcp", "http", "http2", "grpc"];
    let protocol = listener.protocol.as_str();
    findings.require(protocols.contains(&protocol), || {
        format!(
            "Consul Ingress Listener requires protocol of {}, got {protocol:?}",
            protocols.join(", ")
        )
    });
    let services = listener.services.as_deref().unwrap_or_default();
    findings.require(!services.is_empty(), || {
        "Consul Ingress Listener requires one or more services".into()
    });
    services
        .iter()
        .for_each(|service| ingress_service(findings, service, protocol));
}

fn ingress_service(findings: &mut Findings, service: &IngressService, protocol: &str) {
    let hosts = service
        .hosts
        .as_ref()
        .is_some_and(|hosts| !hosts.is_empty());
    let any = service.name == "*";
    findings.require(!service.name.is_empty(), || {
        "Consul Ingress Service requires a name".into()
    });
    if protocol == "tcp" {
        findings.require(!any, || {
            "Consul Ingress Service doesn't support wildcard name for \"tcp\" protocol".into()
        });
        findings.require(!hosts, || {
            "Consul Ingress Service doesn't support associating hosts to a service for the \"tcp\" protocol".into()
        });
    } else {
        findings.require(!any || !hosts, || {
            "Consul Ingress Service with a wildcard \"*\" service name can not also specify hosts"
                .into()
        });
    }
}

fn linked_service(findings: &mut Findings, service: &LinkedService) {
    let (ca, cert, key) = (
        !service.ca_file.is_empty(),
        !service.cert_file.is_empty(),
        !service.key_file.is_empty(),
    );
    findings.require(!service.name.is_empty(), || {
        "Consul Linked Service requires Name".into()
    });
    findings.require(ca || !(cert || key), || {
        "Consul Linked Service TLS requires CAFile".into()
    });
    findings.require(cert == key, || {
        "Consul Linked Service TLS Cert and Key must both be set".into()
    });
    findings.require(ca || service.sni.is_empty(), || {
        "Consul Linked Service TLS SNI requires CAFile".into()
    });
}

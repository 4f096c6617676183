//! Which services are reached through which gateways, read from configuration entries.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::intention::ANY;
use crate::model::{ConfigEntry, ConfigKey, INGRESS_GATEWAY, Index, SERVERS, ServiceName};
use crate::view::{Instance, View};

/// Kind of gateways through which services outside the mesh are reached from inside.
const TERMINATING_GATEWAY: &str = "terminating-gateway";
/// Kinds of entries that bind services to a gateway, which are the kinds of those gateways too.
pub const KINDS: [&str; 2] = [INGRESS_GATEWAY, TERMINATING_GATEWAY];

/// A service that is reached through a gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    /// Name of the gateway.
    pub gateway: String,
    /// One of [`KINDS`].
    pub kind: String,
    /// Name of the service, or [`ANY`].
    pub service: String,
    /// Port of an ingress gateway; 0 for others.
    pub port: u16,
    /// Protocol of that port; empty for others.
    pub protocol: String,
    /// Host names that lead to it.
    pub hosts: Vec<String>,
    /// File with the CA's certificates, of a terminating gateway.
    pub ca_file: String,
    /// File with the certificate.
    pub cert_file: String,
    /// File with its key.
    pub key_file: String,
    /// Name in TLS.
    pub sni: String,
    /// Whether a terminating gateway asks by the host name of the service.
    pub auto_host_rewrite: bool,
    /// Whether it was bound along with every other service.
    pub from_wildcard: bool,
    /// First write of the entry.
    pub create_index: Index,
    /// Last change of the entry.
    pub modify_index: Index,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    listeners: Option<Vec<Listener>>,
    services: Option<Vec<Bound>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listener {
    port: u16,
    protocol: String,
    services: Option<Vec<Bound>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Bound {
    name: String,
    hosts: Option<Vec<String>>,
    #[serde(rename = "CAFile")]
    ca_file: String,
    cert_file: String,
    key_file: String,
    #[serde(rename = "SNI")]
    sni: String,
    disable_auto_host_rewrite: bool,
}

fn of_entry(row: &ConfigEntry) -> Vec<Binding> {
    let entry: Entry = serde_json::from_str(&row.body).unwrap_or_default();
    let binding = |bound: Bound, port: u16, protocol: &str| Binding {
        gateway: row.key.name.clone(),
        kind: row.key.kind.clone(),
        service: bound.name,
        port,
        protocol: protocol.to_owned(),
        hosts: bound.hosts.unwrap_or_default(),
        ca_file: bound.ca_file,
        cert_file: bound.cert_file,
        key_file: bound.key_file,
        sni: bound.sni,
        auto_host_rewrite: row.key.kind == TERMINATING_GATEWAY && !bound.disable_auto_host_rewrite,
        from_wildcard: false,
        create_index: row.create_index,
        modify_index: row.modify_index,
    };
    let direct = entry.services.into_iter().flatten();
    let mut found: Vec<Binding> = direct.map(|bound| binding(bound, 0, "")).collect();
    for listener in entry.listeners.into_iter().flatten() {
        let protocol = match listener.protocol.as_str() {
            "" => "tcp",
            said => said,
        };
        let services = listener.services.into_iter().flatten();
        found.extend(services.map(|bound| binding(bound, listener.port, protocol)));
    }
    found
}

/// What is bound to the gateways of a kind, by gateway.
#[must_use]
pub fn bindings(view: &View, kind: &str) -> Vec<Binding> {
    let rows = view.config_entries().filter(|row| row.key.kind == kind);
    rows.flat_map(|row| of_entry(row)).collect()
}

/// What is bound to a gateway, whatever its kind.
#[must_use]
pub fn bindings_of(view: &View, gateway: &str) -> Vec<Binding> {
    let key = |kind: &str| ConfigKey {
        kind: kind.to_owned(),
        name: gateway.to_owned(),
    };
    let rows = KINDS
        .iter()
        .filter_map(|kind| view.config_entry(&key(kind)));
    let bound: Vec<Binding> = rows.flat_map(|row| of_entry(row)).collect();
    let mut shown: Vec<Binding> = bound
        .iter()
        .flat_map(|row| named(view, &bound, row))
        .collect();
    shown.sort_by(|one, other| (&one.service, one.port).cmp(&(&other.service, other.port)));
    shown
}

/// What is bound by name; for every service, those that there are and that are not named beside.
fn named(view: &View, all: &[Binding], row: &Binding) -> Vec<Binding> {
    if row.service != ANY {
        return vec![row.clone()];
    }
    let beside = |name: &str| {
        let mut others = all.iter();
        others.any(|other| other.service == name && other.port == row.port)
    };
    let is_meant = |name: &ServiceName| {
        let mut instances = view.instances(name).into_iter();
        match row.kind.as_str() {
            INGRESS_GATEWAY => !view.mesh_instances(name).is_empty(),
            _ => instances.any(|instance| is_outside_mesh(&instance)),
        }
    };
    let names = view.service_tags().into_keys();
    let names = names.filter(|name| **name != *SERVERS && !beside(name) && is_meant(name));
    names
        .map(|name| Binding {
            service: name.to_string(),
            from_wildcard: true,
            ..row.clone()
        })
        .collect()
}

fn is_outside_mesh(instance: &Instance) -> bool {
    instance.service.kind().is_empty() && instance.service.takes_mesh_for().is_none()
}

/// What takes connections of the mesh for a service: its proxies, instances that speak the mesh's
/// TLS, and the gateways that lead to it outside of the mesh.
#[must_use]
pub fn mesh_instances(view: &View, service: &str) -> Vec<Instance> {
    let is_outside = || {
        let mut instances = view.instances(service).into_iter();
        instances.any(|instance| is_outside_mesh(&instance))
    };
    let bound = bindings(view, TERMINATING_GATEWAY).into_iter();
    let bound = bound.filter(|row| row.service == service || row.service == ANY && is_outside());
    let gateways: BTreeSet<String> = bound.map(|row| row.gateway).collect();
    let gateways = gateways.iter().flat_map(|gateway| view.instances(gateway));
    let gateways = gateways.filter(|row| row.service.kind() == TERMINATING_GATEWAY);
    view.mesh_instances(service)
        .into_iter()
        .chain(gateways)
        .collect()
}

/// The gateways through which a service is reached, by gateway, node name and id.
#[must_use]
pub fn ingress_instances(view: &View, service: &str) -> Vec<Instance> {
    let bound = bindings(view, INGRESS_GATEWAY).into_iter();
    let bound = bound.filter(|row| row.service == service || row.service == ANY);
    let mut gateways: Vec<String> = bound.map(|row| row.gateway).collect();
    gateways.dedup();
    instances_of(view, &gateways)
}

/// The instances of ingress gateways.
#[must_use]
pub fn instances_of(view: &View, gateways: &[String]) -> Vec<Instance> {
    let instances = gateways.iter().flat_map(|gateway| view.instances(gateway));
    instances
        .filter(|row| row.service.kind() == INGRESS_GATEWAY)
        .collect()
}

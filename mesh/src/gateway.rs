//! Which services are reached through which gateways, read from configuration entries.

use serde::Deserialize;

use crate::intention::ANY;
use crate::model::{ConfigEntry, ConfigKey, INGRESS_GATEWAY, Index};
use crate::view::{Instance, View};

/// Kinds of entries that bind services to a gateway, which are the kinds of those gateways too.
pub const KINDS: [&str; 2] = [INGRESS_GATEWAY, "terminating-gateway"];

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
    rows.flat_map(|row| of_entry(row)).collect()
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

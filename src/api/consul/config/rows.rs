//! What filter expressions may name in configuration entries.

use std::collections::BTreeMap;

use mesh::filter::{Fields, Filterable, Kind, Row, Value};
use serde::Deserialize;

/// Defaults of a service, as far as expressions may name them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ServiceDefaults {
    kind: String,
    name: String,
    protocol: String,
    mode: String,
    #[serde(rename = "MutualTLSMode")]
    mutual_tls_mode: String,
    #[serde(rename = "ExternalSNI")]
    external_sni: String,
    max_inbound_connections: i64,
    local_connect_timeout_ms: i64,
    local_request_timeout_ms: i64,
    balance_inbound_connections: String,
    transparent_proxy: TransparentProxy,
    mesh_gateway: MeshGateway,
    expose: Expose,
    meta: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TransparentProxy {
    outbound_listener_port: i64,
    dialed_directly: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MeshGateway {
    mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Expose {
    checks: bool,
}

impl Row for TransparentProxy {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "OutboundListenerPort" => Value::Number(self.outbound_listener_port.into()),
            "DialedDirectly" => Value::Flag(self.dialed_directly),
            _ => Value::Absent,
        }
    }
}

impl Row for MeshGateway {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Mode" => Value::Text(&self.mode),
            _ => Value::Absent,
        }
    }
}

impl Row for Expose {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Checks" => Value::Flag(self.checks),
            _ => Value::Absent,
        }
    }
}

impl Row for ServiceDefaults {
    fn value(&self, name: &str) -> Value<'_> {
        match name {
            "Kind" => Value::Text(&self.kind),
            "Name" => Value::Text(&self.name),
            "Protocol" => Value::Text(&self.protocol),
            "Mode" => Value::Text(&self.mode),
            "MutualTLSMode" => Value::Text(&self.mutual_tls_mode),
            "ExternalSNI" => Value::Text(&self.external_sni),
            "MaxInboundConnections" => Value::Number(self.max_inbound_connections.into()),
            "LocalConnectTimeoutMs" => Value::Number(self.local_connect_timeout_ms.into()),
            "LocalRequestTimeoutMs" => Value::Number(self.local_request_timeout_ms.into()),
            "BalanceInboundConnections" => Value::Text(&self.balance_inbound_connections),
            "TransparentProxy" => Value::Row(&self.transparent_proxy),
            "MeshGateway" => Value::Row(&self.mesh_gateway),
            "Expose" => Value::Row(&self.expose),
            "Meta" => Value::TextMap(&self.meta),
            _ => Value::Absent,
        }
    }
}

impl Filterable for ServiceDefaults {
    const FIELDS: Fields = &[
        ("Kind", Kind::Text),
        ("Name", Kind::Text),
        ("Protocol", Kind::Text),
        ("Mode", Kind::Text),
        ("MutualTLSMode", Kind::Text),
        ("ExternalSNI", Kind::Text),
        ("MaxInboundConnections", Kind::Integer),
        ("LocalConnectTimeoutMs", Kind::Integer),
        ("LocalRequestTimeoutMs", Kind::Integer),
        ("BalanceInboundConnections", Kind::Text),
        (
            "TransparentProxy",
            Kind::Row(&[
                ("OutboundListenerPort", Kind::Integer),
                ("DialedDirectly", Kind::Flag),
            ]),
        ),
        ("MeshGateway", Kind::Row(&[("Mode", Kind::Text)])),
        ("Expose", Kind::Row(&[("Checks", Kind::Flag)])),
        ("Meta", Kind::TextMap),
    ];
}

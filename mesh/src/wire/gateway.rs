//! What is reached through a gateway, as its endpoint shows it.

use serde::Serialize;

use crate::gateway::Binding;
use crate::model::INGRESS_GATEWAY;

/// A service behind a gateway. Source: catalog API, "List Services for Gateway".
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GatewayService {
    /// The gateway.
    pub gateway: Named,
    /// The service.
    pub service: Named,
    /// Kind of the gateway.
    pub gateway_kind: String,
    /// Port of the gateway.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: u16,
    /// Protocol of that port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Host names that lead to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// File with the CA's certificates.
    #[serde(rename = "CAFile", skip_serializing_if = "String::is_empty")]
    pub ca_file: String,
    /// File with the certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_file: String,
    /// File with its key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_file: String,
    /// Name in TLS.
    #[serde(rename = "SNI", skip_serializing_if = "String::is_empty")]
    pub sni: String,
    /// Whether a terminating gateway asks by the host name of the service.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_host_rewrite: bool,
    /// Whether it was bound along with every other service.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_wildcard: bool,
    /// `service` behind a terminating gateway, empty behind others.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub service_kind: &'static str,
    /// First write of the entry.
    pub create_index: u64,
    /// Last change of the entry.
    pub modify_index: u64,
}

/// A name.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Named {
    /// The name.
    pub name: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the serializer hands a reference"
)]
fn is_zero(port: &u16) -> bool {
    *port == 0
}

impl From<&Binding> for GatewayService {
    fn from(row: &Binding) -> Self {
        let named = |name: &String| Named { name: name.clone() };
        Self {
            gateway: named(&row.gateway),
            service: named(&row.service),
            gateway_kind: row.kind.clone(),
            port: row.port,
            protocol: row.protocol.clone(),
            hosts: row.hosts.clone(),
            ca_file: row.ca_file.clone(),
            cert_file: row.cert_file.clone(),
            key_file: row.key_file.clone(),
            sni: row.sni.clone(),
            auto_host_rewrite: row.auto_host_rewrite,
            from_wildcard: row.from_wildcard,
            service_kind: if row.kind == INGRESS_GATEWAY {
                ""
            } else {
                "service"
            },
            create_index: row.create_index,
            modify_index: row.modify_index,
        }
    }
}

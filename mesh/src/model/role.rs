//! What an instance is in the mesh.

use serde::{Deserialize, Serialize};

use super::{Service, ServiceName};

/// Kind of instances that take connections of the mesh for another service.
pub const CONNECT_PROXY: &str = "connect-proxy";
/// Kind of gateways through which services are reached from outside the mesh.
pub const INGRESS_GATEWAY: &str = "ingress-gateway";

/// What an instance is in the mesh.
///
/// Writer: as of the instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Such as [`CONNECT_PROXY`]; empty for an ordinary instance.
    pub kind: String,
    /// Name of the service that a proxy takes connections for; empty for others.
    pub destination: ServiceName,
    /// Whether it speaks the mesh's TLS itself.
    pub is_native: bool,
    /// Settings of a proxy or gateway: a JSON object as the API answers it; empty for none.
    pub proxy: String,
}

impl Service {
    /// The service for which the instance takes connections of the mesh, if it does.
    #[must_use]
    pub fn takes_mesh_for(&self) -> Option<&ServiceName> {
        let role = self.role.as_deref()?;
        if role.kind == CONNECT_PROXY {
            Some(&role.destination)
        } else {
            role.is_native.then_some(&self.name)
        }
    }

    /// What the instance is in the mesh; empty for an ordinary one.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.role.as_ref().map_or("", |role| role.kind.as_str())
    }
}

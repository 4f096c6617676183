//! Settings of a proxy in the mesh, as they are posted.

use mesh::model::ServiceName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Proxy settings as they are posted, and as the API answers them.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PostedProxy {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) destination_service_name: ServiceName,
    #[serde(
        rename = "DestinationServiceID",
        skip_serializing_if = "String::is_empty"
    )]
    pub(super) destination_service_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) local_service_address: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) local_service_port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    local_service_socket_path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mode: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    config: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) upstreams: Vec<PostedUpstream>,
    mesh_gateway: PostedMode,
    expose: PostedExpose,
    #[serde(skip_serializing_if = "Option::is_none")]
    transparent_proxy: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_logs: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    envoy_extensions: Option<Value>,
}

impl PostedProxy {
    /// The same with what an agent fills in.
    pub(super) fn completed(mut self) -> Self {
        for upstream in &mut self.upstreams {
            if upstream.destination_type.is_empty() {
                "service".clone_into(&mut upstream.destination_type);
            }
        }
        self
    }
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PostedUpstream {
    pub(super) destination_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    destination_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    destination_peer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    datacenter: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    local_bind_address: String,
    #[serde(skip_serializing_if = "is_zero")]
    local_bind_port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    local_bind_socket_path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    local_bind_socket_mode: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    config: Map<String, Value>,
    mesh_gateway: PostedMode,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedMode {
    #[serde(skip_serializing_if = "String::is_empty")]
    mode: String,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedExpose {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    checks: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<PostedPath>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PostedPath {
    #[serde(skip_serializing_if = "is_zero")]
    listener_port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(skip_serializing_if = "is_zero")]
    local_path_port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    protocol: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the serializer hands a reference"
)]
fn is_zero(port: &u16) -> bool {
    *port == 0
}

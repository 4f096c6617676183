//! What a service asks of the mesh. Kept as it is written: this version starts no proxies.

use super::{NetworkResource, Numa, RequestedDevice, Span, VolumeMount, WorkloadIdentity};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How a service takes part in the mesh: by itself, through a sidecar, or as a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Connect {
    /// The task speaks the protocol of the mesh itself.
    pub native: bool,
    /// The task is a gateway.
    pub gateway: Option<Box<Gateway>>,
    /// A proxy beside the service.
    pub sidecar_service: Option<Box<SidecarService>>,
    /// Changes to the task that runs the proxy.
    pub sidecar_task: Option<Box<SidecarTask>>,
}

/// A proxy beside a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SidecarService {
    /// Tags of the proxy in the catalog.
    pub tags: Option<Vec<String>>,
    /// Label of the port that the proxy listens on.
    pub port: String,
    /// What the proxy does.
    pub proxy: Option<Box<Proxy>>,
    /// No check of the proxy's port.
    #[serde(rename = "DisableDefaultTCPCheck")]
    pub disable_default_tcp_check: bool,
    /// Labels of the proxy in the catalog.
    pub meta: Option<BTreeMap<String, String>>,
}

/// What a proxy beside a service does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Proxy {
    /// Address of the service as the proxy sees it.
    pub local_service_address: String,
    /// Port of the service as the proxy sees it; 0 is its own.
    pub local_service_port: i64,
    /// Paths that need no identity.
    pub expose: Option<Expose>,
    /// The same under the name that older clients use.
    pub expose_config: Option<Expose>,
    /// Services that are reached through the proxy.
    pub upstreams: Option<Vec<Upstream>>,
    /// Everything that leaves goes through the proxy.
    pub transparent_proxy: Option<TransparentProxy>,
    /// Options of the proxy, free in form.
    pub config: Option<Map<String, Value>>,
}

/// A service that is reached through the proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Upstream {
    /// Its name.
    pub destination_name: String,
    /// Its namespace.
    pub destination_namespace: String,
    /// The peer that it runs at.
    pub destination_peer: String,
    /// Its partition.
    pub destination_partition: String,
    /// `service` or `prepared_query`.
    pub destination_type: String,
    /// Port on which the task reaches it.
    pub local_bind_port: i64,
    /// Its datacenter.
    pub datacenter: String,
    /// Address on which the task reaches it.
    pub local_bind_address: String,
    /// Socket on which the task reaches it.
    pub local_bind_socket_path: String,
    /// Mode of that socket, octal.
    pub local_bind_socket_mode: String,
    /// How it is reached in another datacenter.
    pub mesh_gateway: Option<MeshGateway>,
    /// Options of the proxy, free in form.
    pub config: Option<Map<String, Value>>,
}

/// How services of other datacenters are reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MeshGateway {
    /// `local`, `remote` or `none`.
    pub mode: String,
}

/// Paths of a service that need no identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Expose {
    /// The paths.
    pub paths: Option<Vec<ExposePath>>,
    /// The same under the name that older clients use.
    pub path: Option<Vec<ExposePath>>,
}

/// A path of a service that needs no identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExposePath {
    /// The path.
    pub path: String,
    /// `http` or `http2`.
    pub protocol: String,
    /// Port of the service that answers it.
    pub local_path_port: i64,
    /// Label of the port that it is offered on.
    pub listener_port: String,
}

/// Everything that leaves a task goes through the proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TransparentProxy {
    /// User that the proxy runs as.
    #[serde(rename = "UID")]
    pub uid: String,
    /// Port that the proxy takes connections on.
    pub outbound_port: u16,
    /// Ports that are reached directly.
    pub exclude_inbound_ports: Option<Vec<String>>,
    /// Ports of others that are reached directly.
    pub exclude_outbound_ports: Option<Vec<u16>>,
    /// Addresses that are reached directly.
    #[serde(rename = "ExcludeOutboundCIDRs")]
    pub exclude_outbound_cidrs: Option<Vec<String>>,
    /// Users whose connections stay direct.
    #[serde(rename = "ExcludeUIDs")]
    pub exclude_uids: Option<Vec<String>>,
    /// Names are not resolved by the catalog.
    #[serde(rename = "NoDNS")]
    pub no_dns: bool,
}

/// Changes to the task that runs a proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SidecarTask {
    /// Name of the task.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Its user.
    pub user: String,
    /// Options of the driver.
    pub config: Option<Map<String, Value>>,
    /// Its environment.
    pub env: Option<BTreeMap<String, String>>,
    /// What it needs.
    pub resources: Option<Box<SidecarResources>>,
    /// Its labels.
    pub meta: Option<BTreeMap<String, String>>,
    /// Time between the kill signal and the kill.
    pub kill_timeout: Option<Span>,
    /// Rotation of its logs.
    pub log_config: Option<SidecarLogs>,
    /// Pause before the kill signal.
    pub shutdown_delay: Option<Span>,
    /// Signal that ends it.
    pub kill_signal: String,
    /// Volumes that it sees.
    pub volume_mounts: Option<Vec<VolumeMount>>,
    /// Tokens that it gets.
    pub identities: Option<Vec<WorkloadIdentity>>,
}

/// What the task of a proxy needs; what is missing is the default of such tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SidecarResources {
    /// CPU share in MHz.
    #[serde(rename = "CPU")]
    pub cpu: Option<i64>,
    /// Whole cores to reserve.
    pub cores: Option<i64>,
    /// Memory in MB.
    #[serde(rename = "MemoryMB")]
    pub memory_mb: Option<i64>,
    /// Upper bound of memory in MB.
    #[serde(rename = "MemoryMaxMB")]
    pub memory_max_mb: Option<i64>,
    /// Disk in MB.
    #[serde(rename = "DiskMB")]
    pub disk_mb: Option<i64>,
    /// Networks in the old position.
    pub networks: Option<Vec<NetworkResource>>,
    /// Devices to reserve.
    pub devices: Option<Vec<RequestedDevice>>,
    /// Nearness of cores and devices.
    #[serde(rename = "NUMA")]
    pub numa: Option<Numa>,
    /// Size of the folder of secrets in MB.
    #[serde(rename = "SecretsMB")]
    pub secrets_mb: Option<i64>,
    /// Ignored, kept for old clients.
    #[serde(rename = "IOPS")]
    pub iops: Option<i64>,
}

/// Rotation of the logs of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SidecarLogs {
    /// Files kept per stream.
    pub max_files: Option<i64>,
    /// Size of one file in MB.
    #[serde(rename = "MaxFileSizeMB")]
    pub max_file_size_mb: Option<i64>,
    /// Ignored, kept for old clients.
    pub enabled: Option<bool>,
    /// True to keep no logs.
    pub disabled: Option<bool>,
}

/// A task at the edge of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Gateway {
    /// What the proxy does.
    pub proxy: Option<Box<GatewayProxy>>,
    /// Lets requests in.
    pub ingress: Option<Box<Ingress>>,
    /// Lets requests out to services without a proxy.
    pub terminating: Option<Terminating>,
    /// Leads to other datacenters.
    pub mesh: Option<MeshGatewayEntry>,
}

/// What the proxy of a gateway does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GatewayProxy {
    /// Time until a connection must stand.
    pub connect_timeout: Option<Span>,
    /// Listen on the tagged addresses of the service.
    pub envoy_gateway_bind_tagged_addresses: bool,
    /// Listen on these addresses, by name.
    pub envoy_gateway_bind_addresses: Option<BTreeMap<String, BindAddress>>,
    /// Do not listen on the default address.
    pub envoy_gateway_no_default_bind: bool,
    /// `STRICT_DNS` or `LOGICAL_DNS`.
    #[serde(rename = "EnvoyDNSDiscoveryType")]
    pub envoy_dns_discovery_type: String,
    /// Options of the proxy, free in form.
    pub config: Option<Map<String, Value>>,
}

/// An address that a gateway listens on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BindAddress {
    /// Its name.
    pub name: String,
    /// The address.
    pub address: String,
    /// The port; -1 is one that is free.
    pub port: i64,
}

/// Lets requests into the mesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ingress {
    /// Encryption of all listeners.
    #[serde(rename = "TLS")]
    pub tls: Option<GatewayTls>,
    /// Where it listens.
    pub listeners: Option<Vec<IngressListener>>,
}

/// A port of a gateway for requests that come in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IngressListener {
    /// The port.
    pub port: i64,
    /// `tcp`, `http`, `http2` or `grpc`.
    pub protocol: String,
    /// What it leads to.
    pub services: Option<Vec<IngressService>>,
}

/// A service behind a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IngressService {
    /// Its name; `*` is all of them.
    pub name: String,
    /// Host names that lead to it.
    pub hosts: Option<Vec<String>>,
    /// Encryption for it.
    #[serde(rename = "TLS")]
    pub tls: Option<GatewayTls>,
    /// Changes of what it is asked with.
    pub request_headers: Option<HeaderModifiers>,
    /// Changes of what it answers with.
    pub response_headers: Option<HeaderModifiers>,
    /// Most connections.
    pub max_connections: Option<u32>,
    /// Most requests that wait.
    pub max_pending_requests: Option<u32>,
    /// Most requests at once.
    pub max_concurrent_requests: Option<u32>,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HeaderModifiers {
    /// Headers to add.
    pub add: Option<BTreeMap<String, String>>,
    /// Headers to set.
    pub set: Option<BTreeMap<String, String>>,
    /// Headers to take away.
    pub remove: Option<Vec<String>>,
}

/// Encryption at a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GatewayTls {
    /// True to encrypt.
    pub enabled: bool,
    /// Oldest version.
    #[serde(rename = "TLSMinVersion")]
    pub tls_min_version: String,
    /// Newest version.
    #[serde(rename = "TLSMaxVersion")]
    pub tls_max_version: String,
    /// Ciphers that are allowed.
    pub cipher_suites: Option<Vec<String>>,
    /// Where certificates come from.
    #[serde(rename = "SDS")]
    pub sds: Option<GatewaySecrets>,
}

/// Where a gateway gets its certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GatewaySecrets {
    /// The source.
    pub cluster_name: String,
    /// The certificate.
    pub cert_resource: String,
}

/// Lets requests out of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Terminating {
    /// What it leads to.
    pub services: Option<Vec<LinkedService>>,
}

/// A service without a proxy behind a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LinkedService {
    /// Its name.
    pub name: String,
    /// Certificates of the authorities that it is checked with.
    #[serde(rename = "CAFile")]
    pub ca_file: String,
    /// Certificate to show.
    pub cert_file: String,
    /// Key of that certificate.
    pub key_file: String,
    /// Name to ask for.
    #[serde(rename = "SNI")]
    pub sni: String,
}

/// Leads to other datacenters; nothing to say about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MeshGatewayEntry {}

use super::grants::{IDENTITY, VOLUME_MOUNT};
use super::resources::{LOGS, RESOURCES};
use super::{
    BlockType, Content, Schema, duration, flag, many, named, nested, one, opaque, plain, text,
    texts, whole, whole_list,
};

/// Labels that stand in a block only.
const LABELS: BlockType = opaque("meta", "Meta", Content::Texts(false));
const CONFIG: BlockType = opaque("config", "Config", Content::Free);

pub(super) static CONNECT: Schema = nested(
    &[flag("native", "Native")],
    &[
        one("gateway", "Gateway", &GATEWAY),
        one("sidecar_service", "SidecarService", &SIDECAR_SERVICE),
        one("sidecar_task", "SidecarTask", &SIDECAR_TASK),
    ],
);

static SIDECAR_SERVICE: Schema = nested(
    &[
        texts("tags", "Tags"),
        text("port", "Port"),
        flag("disable_default_tcp_check", "DisableDefaultTCPCheck"),
    ],
    &[one("proxy", "Proxy", &PROXY), LABELS],
);

static PROXY: Schema = nested(
    &[
        text("local_service_address", "LocalServiceAddress"),
        whole("local_service_port", "LocalServicePort"),
    ],
    &[
        one("expose", "Expose", &EXPOSE),
        many("upstreams", "Upstreams", &UPSTREAM),
        one("transparent_proxy", "TransparentProxy", &TRANSPARENT_PROXY),
        CONFIG,
    ],
);

static EXPOSE: Schema = nested(&[], &[many("path", "Paths", &EXPOSE_PATH)]);

static EXPOSE_PATH: Schema = plain(&[
    text("path", "Path"),
    text("protocol", "Protocol"),
    whole("local_path_port", "LocalPathPort"),
    text("listener_port", "ListenerPort"),
]);

static UPSTREAM: Schema = nested(
    &[
        text("destination_name", "DestinationName"),
        text("destination_namespace", "DestinationNamespace"),
        text("destination_peer", "DestinationPeer"),
        text("destination_partition", "DestinationPartition"),
        text("destination_type", "DestinationType"),
        whole("local_bind_port", "LocalBindPort"),
        text("datacenter", "Datacenter"),
        text("local_bind_address", "LocalBindAddress"),
        text("local_bind_socket_path", "LocalBindSocketPath"),
        text("local_bind_socket_mode", "LocalBindSocketMode"),
    ],
    &[one("mesh_gateway", "MeshGateway", &MESH_GATEWAY), CONFIG],
);

static MESH_GATEWAY: Schema = plain(&[text("mode", "Mode")]);

static TRANSPARENT_PROXY: Schema = plain(&[
    text("uid", "UID"),
    whole("outbound_port", "OutboundPort"),
    texts("exclude_inbound_ports", "ExcludeInboundPorts"),
    whole_list("exclude_outbound_ports", "ExcludeOutboundPorts"),
    texts("exclude_outbound_cidrs", "ExcludeOutboundCIDRs"),
    texts("exclude_uids", "ExcludeUIDs"),
    flag("no_dns", "NoDNS"),
]);

static SIDECAR_TASK: Schema = nested(
    &[
        text("name", "Name"),
        text("driver", "Driver"),
        text("user", "User"),
        duration("kill_timeout", "KillTimeout"),
        duration("shutdown_delay", "ShutdownDelay"),
        text("kill_signal", "KillSignal"),
    ],
    &[
        CONFIG,
        opaque("env", "Env", Content::Texts(false)),
        LABELS,
        one("resources", "Resources", &RESOURCES),
        one("logs", "LogConfig", &LOGS),
        many("volume_mount", "VolumeMounts", &VOLUME_MOUNT),
        many("identity", "Identities", &IDENTITY),
    ],
);

static GATEWAY: Schema = nested(
    &[],
    &[
        one("proxy", "Proxy", &GATEWAY_PROXY),
        one("ingress", "Ingress", &INGRESS),
        one("terminating", "Terminating", &TERMINATING),
        one("mesh", "Mesh", &MESH),
    ],
);

static GATEWAY_PROXY: Schema = nested(
    &[
        duration("connect_timeout", "ConnectTimeout"),
        flag(
            "envoy_gateway_bind_tagged_addresses",
            "EnvoyGatewayBindTaggedAddresses",
        ),
        flag("envoy_gateway_no_default_bind", "EnvoyGatewayNoDefaultBind"),
        text("envoy_dns_discovery_type", "EnvoyDNSDiscoveryType"),
    ],
    &[
        named(
            "envoy_gateway_bind_addresses",
            "EnvoyGatewayBindAddresses",
            &BIND_ADDRESS,
        ),
        CONFIG,
    ],
);

static BIND_ADDRESS: Schema = plain(&[text("address", "Address"), whole("port", "Port")]);

static INGRESS: Schema = nested(
    &[],
    &[
        one("tls", "TLS", &TLS),
        many("listener", "Listeners", &LISTENER),
    ],
);

static TLS: Schema = nested(
    &[
        flag("enabled", "Enabled"),
        text("tls_min_version", "TLSMinVersion"),
        text("tls_max_version", "TLSMaxVersion"),
        texts("cipher_suites", "CipherSuites"),
    ],
    &[one("sds", "SDS", &SDS)],
);

static SDS: Schema = plain(&[
    text("cluster_name", "ClusterName"),
    text("cert_resource", "CertResource"),
]);

static LISTENER: Schema = nested(
    &[whole("port", "Port"), text("protocol", "Protocol")],
    &[many("service", "Services", &INGRESS_SERVICE)],
);

static INGRESS_SERVICE: Schema = nested(
    &[
        text("name", "Name"),
        texts("hosts", "Hosts"),
        whole("max_connections", "MaxConnections"),
        whole("max_pending_requests", "MaxPendingRequests"),
        whole("max_concurrent_requests", "MaxConcurrentRequests"),
    ],
    &[
        one("tls", "TLS", &TLS),
        one("request_headers", "RequestHeaders", &HEADERS),
        one("response_headers", "ResponseHeaders", &HEADERS),
    ],
);

static HEADERS: Schema = nested(
    &[texts("remove", "Remove")],
    &[
        opaque("add", "Add", Content::Texts(false)),
        opaque("set", "Set", Content::Texts(false)),
    ],
);

static TERMINATING: Schema = nested(&[], &[many("service", "Services", &LINKED_SERVICE)]);

static LINKED_SERVICE: Schema = plain(&[
    text("name", "Name"),
    text("ca_file", "CAFile"),
    text("cert_file", "CertFile"),
    text("key_file", "KeyFile"),
    text("sni", "SNI"),
]);

static MESH: Schema = plain(&[]);

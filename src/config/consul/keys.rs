//! The published keys of the catalog's configuration files, and its flags.

use super::super::published::Role::{self, Instead, Obeyed, Refused};
use Kind::{Any, Flag, Map, Number, Text, Texts, Time};

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Number,
    Time,
    Texts,
    /// Names with texts.
    Map,
    /// What is not looked into.
    Any,
}

/// A published key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// With the blocks that it stands in.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The value that changes nothing.
    pub(super) default: &'static str,
    pub(super) role: Role,
}

const fn key(name: &'static str, kind: Kind, role: Role) -> Key {
    Key {
        name,
        kind,
        default: "",
        role,
    }
}

const fn usual(name: &'static str, kind: Kind, default: &'static str, role: Role) -> Key {
    Key {
        name,
        kind,
        default,
        role,
    }
}

const NO_GOSSIP: Role = Instead("there is no gossip: agents keep connections to servers");
const NO_WAN: Role = Instead("datacenters are not joined");
const NO_CIRCONUS: Role = Instead("nothing is pushed to Circonus itself");
const NO_STATSITE: Role =
    Instead("figures are pushed over UDP: name the receiver in `telemetry.statsd_address`");
const OWN_FIGURES: Role = Instead("figures have names and a choice of their own");
const NO_RETENTION: Role = Instead("figures are there as long as what they are of");
const NEVER_GIVES_UP: Role =
    Instead("a receiver is looked for at every turn, and the agent starts without it");
const NO_PEERING: Role = Instead("clusters are not peered");
const NO_GRPC: Role =
    Instead("no proxy of a mesh is told its settings, so nobody listens for them");
const NO_ACL: Role = Instead("there is no access control");
const OWN_LOG: Role = Instead("the log of the servers has settings of its own");
const OWN_TIMES: Role = Instead("times and limits of requests are fixed");
const ENROLL: Role = Refused(
    "certificates are not handed out by this protocol: give the agent files in `tls`, or let it join by `trivet cluster join`",
);
const PATH_OF_AUTHORITIES: Role = Refused("`ca_file` names one file with all authorities");
const OTHER_DNS: Role = Instead("answers come from the agent's own copy of the catalog");
const NO_REQUEST_RULES: Role = Refused(
    "requests are not refused by such rules: keep `client_addr` where only those reach it who may ask",
);

/// Keys that define services and checks.
pub(super) const DEFINITIONS: [&str; 4] = ["service", "services", "check", "checks"];

/// All keys, by name.
pub(super) const KEYS: &[Key] = &[
    key("acl_agent_master_token", Text, NO_ACL),
    key("acl_agent_token", Text, NO_ACL),
    key("acl_datacenter", Text, NO_ACL),
    key("acl_default_policy", Text, NO_ACL),
    key("acl_down_policy", Text, NO_ACL),
    key("acl_master_token", Text, NO_ACL),
    key("acl_replication_token", Text, NO_ACL),
    key("acl_token", Text, NO_ACL),
    key("acl_ttl", Text, NO_ACL),
    usual(
        "acl.enabled",
        Flag,
        "false",
        Refused(
            "there is no access control yet: whoever reaches the API may do everything; remove it, and keep the listeners on addresses that only you reach",
        ),
    ),
    key("acl.default_policy", Text, NO_ACL),
    key("acl.disabled_ttl", Text, NO_ACL),
    key("acl.down_policy", Text, NO_ACL),
    key("acl.enable_key_list_policy", Flag, NO_ACL),
    key("acl.enable_token_persistence", Flag, NO_ACL),
    key("acl.enable_token_replication", Flag, NO_ACL),
    key("acl.msp_disable_bootstrap", Flag, NO_ACL),
    key("acl.policy_ttl", Text, NO_ACL),
    key("acl.role_ttl", Text, NO_ACL),
    key("acl.token_ttl", Text, NO_ACL),
    key("acl.tokens", Any, NO_ACL),
    key("addresses.dns", Text, Obeyed),
    key("addresses.grpc", Text, NO_GRPC),
    key("addresses.grpc_tls", Text, NO_GRPC),
    key("addresses.http", Text, Obeyed),
    key("addresses.https", Text, Obeyed),
    key("advertise_addr", Text, Obeyed),
    key(
        "advertise_addr_ipv4",
        Text,
        Instead("`advertise_addr` is told"),
    ),
    key(
        "advertise_addr_ipv6",
        Text,
        Instead("`advertise_addr` is told"),
    ),
    key("advertise_addr_wan", Text, NO_WAN),
    key("advertise_addr_wan_ipv4", Text, NO_WAN),
    key("advertise_addr_wan_ipv6", Text, NO_WAN),
    key("advertise_reconnect_timeout", Text, NO_GOSSIP),
    key("allow_write_http_from", Texts, NO_REQUEST_RULES),
    key("alt_domain", Text, Obeyed),
    key("audit", Any, Instead("no file of requests is kept")),
    key(
        "auto_config",
        Any,
        Refused("agents do not fetch their configuration: write it into files"),
    ),
    key(
        "auto_encrypt.allow_tls",
        Flag,
        Instead("agents ask for certificates by `trivet cluster join`"),
    ),
    key("auto_encrypt.dns_san", Texts, ENROLL),
    key("auto_encrypt.ip_san", Texts, ENROLL),
    usual("auto_encrypt.tls", Flag, "false", ENROLL),
    usual(
        "auto_reload_config",
        Flag,
        "false",
        Instead("files are read again on SIGHUP and by `consul reload`"),
    ),
    key("autopilot.cleanup_dead_servers", Flag, Obeyed),
    usual(
        "autopilot.disable_upgrade_migration",
        Flag,
        "false",
        Refused("new servers never wait for others of their version"),
    ),
    key("autopilot.last_contact_threshold", Time, Obeyed),
    key("autopilot.max_trailing_logs", Number, Obeyed),
    key("autopilot.min_quorum", Number, Obeyed),
    usual(
        "autopilot.redundancy_zone_tag",
        Text,
        "",
        Refused("servers are not told apart by zones"),
    ),
    key("autopilot.server_stabilization_time", Time, Obeyed),
    usual(
        "autopilot.upgrade_version_tag",
        Text,
        "",
        Refused("servers have no versions but those of their program"),
    ),
    key("bind_addr", Text, Obeyed),
    key("bootstrap", Flag, Obeyed),
    key("bootstrap_expect", Number, Obeyed),
    key("ca_file", Text, Obeyed),
    key("ca_path", Text, PATH_OF_AUTHORITIES),
    key(
        "cache",
        Any,
        Instead("reads are answered from the agent's own copy of the catalog"),
    ),
    key("cert_file", Text, Obeyed),
    key(
        "check_output_max_size",
        Number,
        Instead("`output_max_size` of a check says it for that check"),
    ),
    key(
        "check_update_interval",
        Text,
        Instead("outputs of checks are told when they change"),
    ),
    key("client_addr", Text, Obeyed),
    key(
        "cloud",
        Any,
        Instead("nothing is told to a service elsewhere"),
    ),
    key(
        "config_entries.bootstrap",
        Any,
        Instead("they are written by `consul config write`, to any agent"),
    ),
    key(
        "connect.ca_config",
        Any,
        Instead("the authority of the mesh is made by the servers"),
    ),
    usual(
        "connect.ca_provider",
        Text,
        "consul",
        Refused("the authority of the mesh is kept by the servers, by no other program"),
    ),
    usual(
        "connect.enabled",
        Flag,
        "true",
        Instead("the mesh's records are always there"),
    ),
    key("connect.enable_mesh_gateway_wan_federation", Flag, NO_WAN),
    key("connect.enable_serverless_plugin", Flag, NO_GRPC),
    key("connect.test_ca_leaf_root_change_spread", Text, OWN_TIMES),
    key("data_dir", Text, Obeyed),
    key("datacenter", Text, Obeyed),
    usual(
        "default_intention_policy",
        Text,
        "allow",
        Refused(
            "what no intention says is allowed: write an intention from `*` to `*` that denies",
        ),
    ),
    key("default_query_time", Text, OWN_TIMES),
    key(
        "disable_anonymous_signature",
        Flag,
        Instead("nothing is told to a service elsewhere"),
    ),
    key(
        "disable_coordinates",
        Flag,
        Instead("distances are taken from the connections that there are"),
    ),
    key(
        "disable_host_node_id",
        Flag,
        Instead("the id of the node is made once and kept in `data_dir`"),
    ),
    key(
        "disable_http_unprintable_char_filter",
        Flag,
        Instead("such paths are refused"),
    ),
    key("disable_keyring_file", Flag, NO_GOSSIP),
    usual(
        "disable_remote_exec",
        Flag,
        "true",
        Instead("no command is run on other machines on request"),
    ),
    key(
        "disable_update_check",
        Flag,
        Instead("nothing asks for newer versions"),
    ),
    key(
        "discard_check_output",
        Flag,
        Instead("outputs of checks are kept, and cut"),
    ),
    key(
        "discovery_max_stale",
        Text,
        Instead("`stale` and `consistent` of a request say how old an answer may be"),
    ),
    key("dns_config.a_record_limit", Number, Obeyed),
    key("dns_config.allow_stale", Flag, OTHER_DNS),
    key("dns_config.cache_max_age", Text, OTHER_DNS),
    key(
        "dns_config.disable_compression",
        Flag,
        Instead("answers are compressed"),
    ),
    key(
        "dns_config.enable_additional_node_meta_txt",
        Flag,
        Instead("labels of nodes are told with them"),
    ),
    key("dns_config.enable_truncate", Flag, Obeyed),
    key("dns_config.max_stale", Text, OTHER_DNS),
    key("dns_config.node_ttl", Time, Obeyed),
    key("dns_config.only_passing", Flag, Obeyed),
    key(
        "dns_config.prefer_namespace",
        Flag,
        Instead("there are no namespaces of services"),
    ),
    usual(
        "dns_config.recursor_strategy",
        Text,
        "sequential",
        Instead("recursors are asked in their order"),
    ),
    key("dns_config.recursor_timeout", Time, Obeyed),
    key("dns_config.service_ttl", Map, Obeyed),
    key(
        "dns_config.soa.expire",
        Number,
        Instead("the zone is not copied by others"),
    ),
    key("dns_config.soa.min_ttl", Number, Obeyed),
    key(
        "dns_config.soa.refresh",
        Number,
        Instead("the zone is not copied by others"),
    ),
    key(
        "dns_config.soa.retry",
        Number,
        Instead("the zone is not copied by others"),
    ),
    key("dns_config.udp_answer_limit", Number, Obeyed),
    key("dns_config.use_cache", Flag, OTHER_DNS),
    key("domain", Text, Obeyed),
    key("enable_acl_replication", Flag, NO_ACL),
    key(
        "enable_agent_tls_for_checks",
        Flag,
        Instead("checks show no certificate of the agent"),
    ),
    key(
        "enable_central_service_config",
        Flag,
        Instead("central configuration is merged where it is asked for"),
    ),
    key("enable_debug", Flag, Instead("there are no profiles")),
    key("enable_local_script_checks", Flag, Obeyed),
    key("enable_script_checks", Flag, Obeyed),
    key("enable_syslog", Flag, Obeyed),
    key("encrypt", Text, NO_GOSSIP),
    key("encrypt_verify_incoming", Flag, NO_GOSSIP),
    key("encrypt_verify_outgoing", Flag, NO_GOSSIP),
    key("experiments", Any, Instead("there are none")),
    key("gossip_lan", Any, NO_GOSSIP),
    key("gossip_wan", Any, NO_WAN),
    key("http_config.allow_write_http_from", Texts, NO_REQUEST_RULES),
    key("http_config.block_endpoints", Texts, NO_REQUEST_RULES),
    key("http_config.max_header_bytes", Number, OWN_TIMES),
    key(
        "http_config.response_headers",
        Map,
        Instead("answers get no further headers"),
    ),
    key(
        "http_config.use_cache",
        Flag,
        Instead("reads are answered from the agent's own copy of the catalog"),
    ),
    key("key_file", Text, Obeyed),
    usual("leave_on_terminate", Flag, "false", Obeyed),
    key("license_path", Text, Instead("nothing needs a license")),
    key("limits.http_max_conns_per_client", Number, Obeyed),
    key("limits.https_handshake_timeout", Time, Obeyed),
    key("limits.kv_max_value_size", Number, OWN_TIMES),
    key("limits.request_limits", Any, OWN_TIMES),
    key("limits.rpc_client_timeout", Text, OWN_TIMES),
    key("limits.rpc_handshake_timeout", Time, Obeyed),
    key("limits.rpc_max_burst", Number, OWN_TIMES),
    key("limits.rpc_max_conns_per_client", Number, Obeyed),
    key("limits.rpc_rate", Any, OWN_TIMES),
    key("limits.txn_max_req_len", Number, OWN_TIMES),
    key(
        "locality",
        Any,
        Instead("agents do not say where they are beyond their datacenter"),
    ),
    key("log_file", Text, Obeyed),
    key("log_json", Flag, Obeyed),
    key("log_level", Text, Obeyed),
    key("log_rotate_bytes", Number, Obeyed),
    key("log_rotate_duration", Time, Obeyed),
    key("log_rotate_max_files", Number, Obeyed),
    key("max_query_time", Text, OWN_TIMES),
    key("node_id", Text, Obeyed),
    key("node_meta", Map, Obeyed),
    key("node_name", Text, Obeyed),
    key("non_voting_server", Flag, Instead("every server votes")),
    usual(
        "partition",
        Text,
        "default",
        Refused("there are no partitions"),
    ),
    usual("peering.enabled", Flag, "false", NO_PEERING),
    key("peering.test_allow_peer_registrations", Flag, NO_PEERING),
    key("performance", Any, OWN_LOG),
    key(
        "pid_file",
        Text,
        Instead("no file with the id of the process is written"),
    ),
    key("ports.dns", Number, Obeyed),
    key("ports.expose_max_port", Number, NO_GRPC),
    key("ports.expose_min_port", Number, NO_GRPC),
    key("ports.grpc", Number, NO_GRPC),
    key("ports.grpc_tls", Number, NO_GRPC),
    key("ports.http", Number, Obeyed),
    key("ports.https", Number, Obeyed),
    key("ports.proxy_max_port", Number, NO_GRPC),
    key("ports.proxy_min_port", Number, NO_GRPC),
    key("ports.serf_lan", Number, Obeyed),
    key("ports.serf_wan", Number, NO_WAN),
    key("ports.server", Number, Obeyed),
    key(
        "ports.sidecar_max_port",
        Number,
        Instead("sidecars get ports from 21000 to 21255"),
    ),
    key(
        "ports.sidecar_min_port",
        Number,
        Instead("sidecars get ports from 21000 to 21255"),
    ),
    key("primary_datacenter", Text, NO_WAN),
    key("primary_gateways", Texts, NO_WAN),
    key("primary_gateways_interval", Text, NO_WAN),
    key("protocol", Number, OWN_LOG),
    key("raft_boltdb", Any, OWN_LOG),
    key("raft_logstore", Any, OWN_LOG),
    key("raft_protocol", Number, OWN_LOG),
    key("raft_snapshot_interval", Text, OWN_LOG),
    key("raft_snapshot_threshold", Number, OWN_LOG),
    key("raft_trailing_logs", Number, OWN_LOG),
    key("read_replica", Flag, Instead("every server votes")),
    key(
        "reconnect_timeout",
        Text,
        Instead("members that are gone are removed after their time"),
    ),
    key("reconnect_timeout_wan", Text, NO_WAN),
    key("recursors", Texts, Obeyed),
    key(
        "rejoin_after_leave",
        Flag,
        Instead("an agent joins whenever it starts"),
    ),
    key(
        "reporting",
        Any,
        Instead("nothing is told to a service elsewhere"),
    ),
    key(
        "retry_interval",
        Text,
        Instead("servers are asked every second, without end"),
    ),
    key("retry_interval_wan", Text, NO_WAN),
    key("retry_join", Texts, Obeyed),
    key("retry_join_wan", Texts, NO_WAN),
    key(
        "retry_max",
        Number,
        Instead("servers are asked every second, without end"),
    ),
    key("retry_max_wan", Number, NO_WAN),
    usual("segment", Text, "", Refused("there are no segments")),
    key("segments", Any, Refused("there are no segments")),
    key("serf_lan", Text, NO_GOSSIP),
    key("serf_lan_allowed_cidrs", Texts, NO_GOSSIP),
    key("serf_wan", Text, NO_WAN),
    key("serf_wan_allowed_cidrs", Texts, NO_WAN),
    key("server", Flag, Obeyed),
    key(
        "server_rejoin_age_max",
        Text,
        Instead("an agent joins whenever it starts"),
    ),
    key(
        "session_ttl_min",
        Text,
        Instead("sessions live for 10 s at least"),
    ),
    usual("skip_leave_on_interrupt", Flag, "true", Obeyed),
    key("start_join", Texts, Obeyed),
    key("start_join_wan", Texts, NO_WAN),
    key("syslog_facility", Text, Obeyed),
    key(
        "tagged_addresses",
        Map,
        Instead("`advertise_addr` is told under every tag"),
    ),
    key("telemetry.circonus_api_app", Any, NO_CIRCONUS),
    key("telemetry.circonus_api_token", Any, NO_CIRCONUS),
    key("telemetry.circonus_api_url", Any, NO_CIRCONUS),
    key("telemetry.circonus_broker_id", Any, NO_CIRCONUS),
    key("telemetry.circonus_broker_select_tag", Any, NO_CIRCONUS),
    key("telemetry.circonus_check_display_name", Any, NO_CIRCONUS),
    key(
        "telemetry.circonus_check_force_metric_activation",
        Any,
        NO_CIRCONUS,
    ),
    key("telemetry.circonus_check_id", Any, NO_CIRCONUS),
    key("telemetry.circonus_check_instance_id", Any, NO_CIRCONUS),
    key("telemetry.circonus_check_search_tag", Any, NO_CIRCONUS),
    key("telemetry.circonus_check_tags", Any, NO_CIRCONUS),
    key("telemetry.circonus_submission_interval", Any, NO_CIRCONUS),
    key("telemetry.circonus_submission_url", Any, NO_CIRCONUS),
    key("telemetry.disable_compat_1.9", Any, OWN_FIGURES),
    key("telemetry.disable_hostname", Flag, Obeyed),
    key(
        "telemetry.disable_per_tenancy_usage_metrics",
        Any,
        OWN_FIGURES,
    ),
    key("telemetry.dogstatsd_addr", Text, Obeyed),
    key("telemetry.dogstatsd_tags", Texts, Obeyed),
    key("telemetry.enable_host_metrics", Any, OWN_FIGURES),
    key("telemetry.filter_default", Any, OWN_FIGURES),
    key("telemetry.metrics_prefix", Any, OWN_FIGURES),
    key("telemetry.prefix_filter", Any, OWN_FIGURES),
    key("telemetry.prometheus_retention_time", Any, NO_RETENTION),
    key("telemetry.retry_failed_connection", Any, NEVER_GIVES_UP),
    key("telemetry.statsd_address", Text, Obeyed),
    key("telemetry.statsite_address", Any, NO_STATSITE),
    key("tls.defaults.ca_file", Text, Obeyed),
    key("tls.defaults.ca_path", Text, PATH_OF_AUTHORITIES),
    key("tls.defaults.cert_file", Text, Obeyed),
    key("tls.defaults.key_file", Text, Obeyed),
    key("tls.defaults.tls_cipher_suites", Text, OWN_CIPHERS),
    key("tls.defaults.tls_min_version", Text, OWN_CIPHERS),
    key("tls.defaults.verify_incoming", Flag, Obeyed),
    key("tls.defaults.verify_outgoing", Flag, Obeyed),
    key("tls.defaults.verify_server_hostname", Flag, Obeyed),
    key("tls.grpc", Any, NO_GRPC),
    key("tls.https.ca_file", Text, Obeyed),
    key("tls.https.ca_path", Text, PATH_OF_AUTHORITIES),
    key("tls.https.cert_file", Text, Obeyed),
    key("tls.https.key_file", Text, Obeyed),
    key("tls.https.tls_cipher_suites", Text, OWN_CIPHERS),
    key("tls.https.tls_min_version", Text, OWN_CIPHERS),
    key("tls.https.verify_incoming", Flag, Obeyed),
    key(
        "tls.https.verify_outgoing",
        Flag,
        Instead("checks show no certificate of the agent"),
    ),
    key("tls.internal_rpc.ca_file", Text, Obeyed),
    key("tls.internal_rpc.ca_path", Text, PATH_OF_AUTHORITIES),
    key("tls.internal_rpc.cert_file", Text, Obeyed),
    key("tls.internal_rpc.key_file", Text, Obeyed),
    key("tls.internal_rpc.tls_cipher_suites", Text, OWN_CIPHERS),
    key("tls.internal_rpc.tls_min_version", Text, OWN_CIPHERS),
    key("tls.internal_rpc.verify_incoming", Flag, Obeyed),
    key("tls.internal_rpc.verify_outgoing", Flag, Obeyed),
    key("tls.internal_rpc.verify_server_hostname", Flag, Obeyed),
    key("tls_cipher_suites", Text, OWN_CIPHERS),
    key("tls_min_version", Text, OWN_CIPHERS),
    key("tls_prefer_server_cipher_suites", Flag, OWN_CIPHERS),
    key("translate_wan_addrs", Flag, NO_WAN),
    usual("ui", Flag, "false", NO_UI),
    key("ui_config.content_path", Text, NO_UI),
    key("ui_config.dashboard_url_templates", Any, NO_UI),
    key("ui_config.dir", Text, NO_UI),
    usual("ui_config.enabled", Flag, "false", NO_UI),
    key("ui_config.metrics_provider", Text, NO_UI),
    key("ui_config.metrics_provider_files", Any, NO_UI),
    key("ui_config.metrics_provider_options_json", Text, NO_UI),
    key("ui_config.metrics_proxy", Any, NO_UI),
    key("ui_content_path", Text, NO_UI),
    key("ui_dir", Text, NO_UI),
    key(
        "unix_sockets",
        Any,
        Instead("there are no listeners on Unix sockets"),
    ),
    key(
        "use_streaming_backend",
        Flag,
        Instead("changes are always streamed"),
    ),
    key("verify_incoming", Flag, Obeyed),
    key("verify_incoming_https", Flag, Obeyed),
    key("verify_incoming_rpc", Flag, Obeyed),
    key("verify_outgoing", Flag, Obeyed),
    key("verify_server_hostname", Flag, Obeyed),
    key(
        "version",
        Text,
        Instead("the version told is the level of the API"),
    ),
    key(
        "watches",
        Any,
        Instead("`consul watch` runs programs when something changes"),
    ),
    key("xds", Any, NO_GRPC),
];

const OWN_CIPHERS: Role = Instead("versions and ciphers are those of the library that speaks TLS");
const NO_UI: Role = Instead("the web UI stands beside the jobs API, which is off under this name");

/// Flags that have another name than their key, with its dashes for underlines.
const FLAGS: [(&str, &str); 25] = [
    ("advertise", "advertise_addr"),
    ("advertise-wan", "advertise_addr_wan"),
    ("bind", "bind_addr"),
    ("client", "client_addr"),
    ("dns-port", "ports.dns"),
    ("grpc-port", "ports.grpc"),
    ("grpc-tls-port", "ports.grpc_tls"),
    ("http-port", "ports.http"),
    ("https-port", "ports.https"),
    ("join", "start_join"),
    ("join-wan", "start_join_wan"),
    ("node", "node_name"),
    ("primary-gateway", "primary_gateways"),
    ("recursor", "recursors"),
    ("rejoin", "rejoin_after_leave"),
    ("serf-lan-bind", "serf_lan"),
    ("serf-lan-port", "ports.serf_lan"),
    ("serf-wan-bind", "serf_wan"),
    ("serf-wan-port", "ports.serf_wan"),
    ("server-port", "ports.server"),
    ("syslog", "enable_syslog"),
    ("ui", "ui_config.enabled"),
    ("ui-content-path", "ui_config.content_path"),
    ("ui-dir", "ui_config.dir"),
    ("check_output_max_size", "check_output_max_size"),
];

/// The key of a name in files.
pub(super) fn of_name(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key of a flag.
pub(super) fn of_flag(flag: &str) -> Option<&'static Key> {
    let other = FLAGS.iter().find(|(own, _)| *own == flag);
    match other {
        Some((_, name)) => of_name(name),
        None => of_name(&flag.replace('-', "_")).filter(|key| !key.name.contains('.')),
    }
}

/// Whether keys stand below a name.
pub(super) fn is_block(name: &str) -> bool {
    let below = |key: &Key| {
        key.name
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    KEYS.iter().any(below)
}

/// The names that stand directly below a block; at the top for an empty one.
pub(super) fn below(block: &str) -> Vec<&'static str> {
    let prefix = if block.is_empty() {
        String::new()
    } else {
        format!("{block}.")
    };
    let all = KEYS
        .iter()
        .filter_map(|key| key.name.strip_prefix(prefix.as_str()));
    let mut names: Vec<&str> = all
        .map(|rest| rest.split('.').next().unwrap_or(rest))
        .collect();
    names.dedup();
    names
}

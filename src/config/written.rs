//! What a configuration file says: everything optional, nothing checked beyond its type.

use super::Part;
use super::autopilot::WrittenAutopilot;
use super::bridge::WrittenBridge;
use super::callers::WrittenCallers;
use super::cni::WrittenCni;
use super::collection::WrittenCollection;
use super::discovery::WrittenDiscovery;
use super::drain::WrittenDrain;
use super::external::WrittenExternal;
use super::fetching::WrittenFiles;
use super::file::{Entry, Problem};
use super::ingress::WrittenIngress;
use super::logs::WrittenLogs;
use super::names::WrittenDns;
use super::networks::WrittenNetworks;
use super::options::WrittenOptions;
use super::plugins::{self, WrittenPlugins};
use super::reader::Reader;
use super::reserved::WrittenReserved;
use super::retention::WrittenRetention;
use super::scheduling::WrittenScheduling;
use super::telemetry::WrittenTelemetry;
use super::tls::WrittenTls;
use super::volumes::{self, HostVolume};
use std::collections::BTreeMap;

/// One source of settings.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct Written {
    /// What the agent is started as, by no key of a file.
    pub part: Part,
    pub dev: Option<bool>,
    pub data_dir: Option<String>,
    pub name: Option<String>,
    pub region: Option<String>,
    pub datacenter: Option<String>,
    pub bind_addr: Option<String>,
    pub leave_on_interrupt: Option<bool>,
    pub leave_on_terminate: Option<bool>,
    pub log_level: Option<String>,
    pub logs: WrittenLogs,
    pub addresses: BTreeMap<String, String>,
    pub ports: BTreeMap<String, u16>,
    pub server_enabled: Option<bool>,
    pub server_data_dir: Option<String>,
    pub bootstrap_expect: Option<u64>,
    pub encrypt: Option<String>,
    pub heartbeat_grace: Option<String>,
    pub min_heartbeat_ttl: Option<String>,
    pub retention: WrittenRetention,
    pub scheduling: WrittenScheduling,
    pub autopilot: WrittenAutopilot,
    pub oidc_issuer: Option<String>,
    pub ignored: Vec<String>,
    /// What is to be said of the configuration beside that, by no key of a file.
    pub notes: Vec<String>,
    /// What is defined in the configuration itself, by no key of a file of ours.
    pub defined: Vec<(String, serde_json::Value)>,
    pub join: Option<Vec<String>>,
    pub servers: Option<Vec<String>>,
    pub advertise: BTreeMap<String, String>,
    pub client_enabled: Option<bool>,
    /// The id of the node, by no key of a file of ours.
    pub node_id: Option<String>,
    pub node_class: Option<String>,
    pub meta: BTreeMap<String, String>,
    pub cpu_total_compute: Option<u64>,
    pub memory_total_mb: Option<u64>,
    pub min_dynamic_port: Option<u64>,
    pub max_dynamic_port: Option<u64>,
    pub plugins: WrittenPlugins,
    pub host_volumes: BTreeMap<String, HostVolume>,
    pub chroot_env: Option<BTreeMap<String, String>>,
    pub networks: WrittenNetworks,
    pub bridge: WrittenBridge,
    pub cni: WrittenCni,
    pub reserved: WrittenReserved,
    pub drain: WrittenDrain,
    pub files: WrittenFiles,
    pub collection: WrittenCollection,
    pub max_kill_timeout: Option<String>,
    pub disable_remote_exec: Option<bool>,
    pub no_host_uuid: Option<bool>,
    pub alloc_dir: Option<String>,
    pub state_dir: Option<String>,
    pub options: WrittenOptions,
    pub artifact_directories: Option<Vec<String>>,
    pub catalog_enabled: Option<bool>,
    pub definitions: Option<Vec<String>>,
    pub enable_script_checks: Option<bool>,
    pub enable_local_script_checks: Option<bool>,
    pub tls: WrittenTls,
    pub dns: WrittenDns,
    pub external: WrittenExternal,
    pub discovery: WrittenDiscovery,
    pub ingress: WrittenIngress,
    pub allowed_hosts: Option<Vec<String>>,
    pub allowed_origins: Option<Vec<String>>,
    pub ui: WrittenUi,
    pub limits: WrittenCallers,
    pub telemetry: WrittenTelemetry,
}

/// What is written about the web UI.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenUi {
    pub enabled: Option<bool>,
    pub read_only: Option<bool>,
    pub show_cli_hints: Option<bool>,
    pub label: Option<String>,
}

impl WrittenUi {
    const KEYS: [&str; 4] = ["enabled", "read_only", "show_cli_hints", "label"];

    fn merge(self, other: Self) -> Self {
        Self {
            enabled: other.enabled.or(self.enabled),
            read_only: other.read_only.or(self.read_only),
            show_cli_hints: other.show_cli_hints.or(self.show_cli_hints),
            label: other.label.or(self.label),
        }
    }
}

/// What may be bound separately: keys of `addresses` and `ports`, with their default ports.
pub(super) const LISTENERS: [(&str, u16); 8] = [
    ("http", 4646),
    ("rpc", 4647),
    ("serf", 4648),
    ("catalog", 8500),
    ("https", 8501),
    ("dns", 8600),
    ("ingress", 9999),
    ("ingress_admin", 9998),
];

/// Keys of `advertise`.
const ADVERTISED: [&str; 3] = ["http", "rpc", "serf"];
/// Keys of `server_join`.
const JOIN: [&str; 4] = ["retry_join", "start_join", "retry_interval", "retry_max"];
/// Keys of `server`.
const SERVER: [&str; 10] = [
    "enabled",
    "data_dir",
    "encrypt",
    "heartbeat_grace",
    "min_heartbeat_ttl",
    "oidc_issuer",
    "bootstrap_expect",
    "server_join",
    "retry_join",
    "start_join",
];

const TOP: [&str; 17] = [
    "data_dir",
    "name",
    "region",
    "datacenter",
    "bind_addr",
    "advertise",
    "leave_on_interrupt",
    "leave_on_terminate",
    "log_level",
    "addresses",
    "ports",
    "server",
    "autopilot",
    "client",
    "plugin",
    "catalog",
    "dns",
];

const CATALOG: [&str; 4] = [
    "enabled",
    "definitions",
    "enable_script_checks",
    "enable_local_script_checks",
];

const CLIENT: [&str; 27] = [
    "enabled",
    "artifact",
    "template",
    "alloc_dir",
    "state_dir",
    "max_kill_timeout",
    "disable_remote_exec",
    "no_host_uuid",
    "options",
    "servers",
    "server_join",
    "node_class",
    "cpu_total_compute",
    "memory_total_mb",
    "min_dynamic_port",
    "max_dynamic_port",
    "meta",
    "artifact_directories",
    "host_volume",
    "chroot_env",
    "bridge_network_name",
    "bridge_network_subnet",
    "bridge_network_hairpin_mode",
    "cni_path",
    "cni_config_dir",
    "reserved",
    "drain_on_shutdown",
];

impl Written {
    /// `self` with everything that `other` sets.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let mut addresses = self.addresses;
        addresses.extend(other.addresses);
        let mut ignored = self.ignored;
        ignored.extend(other.ignored);
        let mut notes = self.notes;
        notes.extend(other.notes);
        let mut defined = self.defined;
        defined.extend(other.defined);
        let mut advertise = self.advertise;
        advertise.extend(other.advertise);
        let mut ports = self.ports;
        ports.extend(other.ports);
        let mut meta = self.meta;
        meta.extend(other.meta);
        let mut host_volumes = self.host_volumes;
        host_volumes.extend(other.host_volumes);
        Self {
            part: self.part,
            notes,
            defined,
            dev: other.dev.or(self.dev),
            data_dir: other.data_dir.or(self.data_dir),
            name: other.name.or(self.name),
            region: other.region.or(self.region),
            datacenter: other.datacenter.or(self.datacenter),
            bind_addr: other.bind_addr.or(self.bind_addr),
            leave_on_interrupt: other.leave_on_interrupt.or(self.leave_on_interrupt),
            leave_on_terminate: other.leave_on_terminate.or(self.leave_on_terminate),
            log_level: other.log_level.or(self.log_level),
            logs: self.logs.merge(other.logs),
            addresses,
            ports,
            server_enabled: other.server_enabled.or(self.server_enabled),
            server_data_dir: other.server_data_dir.or(self.server_data_dir),
            bootstrap_expect: other.bootstrap_expect.or(self.bootstrap_expect),
            encrypt: other.encrypt.or(self.encrypt),
            heartbeat_grace: other.heartbeat_grace.or(self.heartbeat_grace),
            min_heartbeat_ttl: other.min_heartbeat_ttl.or(self.min_heartbeat_ttl),
            retention: self.retention.merge(other.retention),
            scheduling: self.scheduling.merge(other.scheduling),
            autopilot: self.autopilot.merge(other.autopilot),
            oidc_issuer: other.oidc_issuer.or(self.oidc_issuer),
            ignored,
            join: other.join.or(self.join),
            servers: other.servers.or(self.servers),
            advertise,
            client_enabled: other.client_enabled.or(self.client_enabled),
            node_id: other.node_id.or(self.node_id),
            node_class: other.node_class.or(self.node_class),
            meta,
            cpu_total_compute: other.cpu_total_compute.or(self.cpu_total_compute),
            memory_total_mb: other.memory_total_mb.or(self.memory_total_mb),
            min_dynamic_port: other.min_dynamic_port.or(self.min_dynamic_port),
            max_dynamic_port: other.max_dynamic_port.or(self.max_dynamic_port),
            plugins: self.plugins.merge(other.plugins),
            host_volumes,
            chroot_env: other.chroot_env.or(self.chroot_env),
            networks: self.networks.merge(other.networks),
            bridge: self.bridge.merge(other.bridge),
            cni: self.cni.merge(other.cni),
            reserved: self.reserved.merge(other.reserved),
            drain: self.drain.merge(other.drain),
            files: self.files.merge(other.files),
            collection: self.collection.merge(other.collection),
            max_kill_timeout: other.max_kill_timeout.or(self.max_kill_timeout),
            disable_remote_exec: other.disable_remote_exec.or(self.disable_remote_exec),
            no_host_uuid: other.no_host_uuid.or(self.no_host_uuid),
            alloc_dir: other.alloc_dir.or(self.alloc_dir),
            state_dir: other.state_dir.or(self.state_dir),
            options: self.options.merge(other.options),
            artifact_directories: other.artifact_directories.or(self.artifact_directories),
            catalog_enabled: other.catalog_enabled.or(self.catalog_enabled),
            definitions: other.definitions.or(self.definitions),
            enable_script_checks: other.enable_script_checks.or(self.enable_script_checks),
            enable_local_script_checks: other
                .enable_local_script_checks
                .or(self.enable_local_script_checks),
            tls: self.tls.merge(other.tls),
            dns: self.dns.merge(other.dns),
            external: self.external.merge(other.external),
            discovery: self.discovery.merge(other.discovery),
            ingress: self.ingress.merge(other.ingress),
            allowed_hosts: other.allowed_hosts.or(self.allowed_hosts),
            allowed_origins: other.allowed_origins.or(self.allowed_origins),
            ui: self.ui.merge(other.ui),
            limits: self.limits.merge(other.limits),
            telemetry: self.telemetry.merge(other.telemetry),
        }
    }

    pub(super) fn from_tree(file: &str, tree: Vec<Entry>, problems: &mut Vec<Problem>) -> Self {
        let mut written = Self::default();
        let mut reader = Reader::new(file, problems);
        for entry in tree {
            written.take(entry, &mut reader);
        }
        written.ignored = reader.ignored;
        written
    }

    fn take(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        match entry.key.as_str() {
            "data_dir" => self.data_dir = reader.text(&entry),
            "name" => self.name = reader.text(&entry),
            "region" => self.region = reader.text(&entry),
            "datacenter" => self.datacenter = reader.text(&entry),
            "bind_addr" => self.bind_addr = reader.text(&entry),
            "advertise" => {
                for inner in reader.block(entry) {
                    if !ADVERTISED.contains(&inner.key.as_str()) {
                        reader.unknown(&inner, "advertise", &ADVERTISED);
                    } else if let Some(text) = reader.text(&inner) {
                        self.advertise.insert(inner.key, text);
                    }
                }
            }
            "leave_on_interrupt" => self.leave_on_interrupt = reader.flag(&entry),
            "leave_on_terminate" => self.leave_on_terminate = reader.flag(&entry),
            "log_level" => self.log_level = reader.text(&entry),
            key if WrittenLogs::KEYS.contains(&key) => self.logs.take(&entry, reader),
            "addresses" => self.take_addresses(entry, reader),
            "ports" => self.take_ports(entry, reader),
            "server" => self.take_server(entry, reader),
            "autopilot" => self.autopilot.take(entry, reader),
            "client" => self.take_client(entry, reader),
            "plugin" => self.plugins.take(entry, reader),
            "api" => self.take_api(entry, reader),
            "ui" => self.take_ui(entry, reader),
            "limits" => self.limits.take(entry, reader),
            "telemetry" => self.telemetry.take(entry, reader),
            "catalog" => self.take_catalog(entry, reader),
            "tls" => self.tls.take(entry, reader),
            "dns" => self.take_dns(entry, reader),
            "consul" => self.take_external(entry, reader),
            "ingress" => self.take_ingress(entry, reader),
            "acl" => take_acl(entry, reader),
            _ => reader.unknown(
                &entry,
                "",
                &[
                    &TOP[..],
                    &WrittenLogs::KEYS,
                    &[
                        "ingress",
                        "api",
                        "consul",
                        "tls",
                        "ui",
                        "acl",
                        "limits",
                        "telemetry",
                    ],
                ]
                .concat(),
            ),
        }
    }

    fn take_external(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            let external = &mut self.external;
            match inner.key.as_str() {
                "address" => external.address = reader.text(&inner),
                "ssl" => external.ssl = reader.flag(&inner),
                "token" => external.token = reader.text(&inner),
                "ingress" => external.ingress = reader.flag(&inner),
                key if WrittenDiscovery::KEYS.contains(&key) => {
                    self.discovery.take(&inner, reader);
                }
                _ => {
                    let known = [&WrittenExternal::KEYS[..], &WrittenDiscovery::KEYS].concat();
                    reader.unknown(&inner, "consul", &known);
                }
            }
        }
    }

    fn take_ingress(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        let ingress = &mut self.ingress;
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "enabled" => ingress.enabled = reader.flag(&inner),
                "listener" => {
                    let keys = ("address", &WrittenIngress::LISTENER[..]);
                    ingress.listeners.extend(reader.items(inner, keys));
                }
                "certificates" => {
                    let keys = ("cs", &WrittenIngress::CERTIFICATES[..]);
                    ingress.certificates.extend(reader.items(inner, keys));
                }
                "auth" => {
                    let keys = ("name", &WrittenIngress::AUTH[..]);
                    ingress.auth.extend(reader.items(inner, keys));
                }
                key if WrittenIngress::SETTINGS.contains(&key) => {
                    if let Some(text) = reader.scalar(&inner) {
                        ingress.settings.insert(inner.key, text);
                    }
                }
                _ => {
                    let blocks = ["enabled", "listener", "certificates", "auth"];
                    let known = [&blocks[..], &WrittenIngress::SETTINGS[..]].concat();
                    reader.unknown(&inner, "ingress", &known);
                }
            }
        }
    }

    fn take_catalog(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "enabled" => self.catalog_enabled = reader.flag(&inner),
                "definitions" => self.definitions = reader.texts(&inner),
                "enable_script_checks" => self.enable_script_checks = reader.flag(&inner),
                "enable_local_script_checks" => {
                    self.enable_local_script_checks = reader.flag(&inner);
                }
                _ => reader.unknown(&inner, "catalog", &CATALOG),
            }
        }
    }

    fn take_dns(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            let dns = &mut self.dns;
            match inner.key.as_str() {
                "enabled" => dns.enabled = reader.flag(&inner),
                "domain" => dns.domain = reader.text(&inner),
                "alt_domain" => dns.alt_domain = reader.text(&inner),
                "recursors" => dns.recursors = reader.texts(&inner),
                "recursor_timeout" => dns.recursor_timeout = reader.text(&inner),
                "only_passing" => dns.only_passing = reader.flag(&inner),
                "node_ttl" => dns.node_ttl = reader.text(&inner),
                "min_ttl" => dns.min_ttl = reader.text(&inner),
                "enable_truncate" => dns.enable_truncate = reader.flag(&inner),
                "udp_answer_limit" => dns.udp_answer_limit = reader.number(&inner),
                "a_record_limit" => dns.a_record_limit = reader.number(&inner),
                "service_ttl" => {
                    for service in reader.block(inner) {
                        if let Some(text) = reader.text(&service) {
                            self.dns.service_ttl.insert(service.key, text);
                        }
                    }
                }
                _ => {
                    reader.unknown(&inner, "dns", &WrittenDns::KEYS);
                }
            }
        }
    }

    fn take_addresses(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            if !LISTENERS.iter().any(|(name, _)| *name == inner.key) {
                reader.unknown(&inner, "addresses", &LISTENERS.map(|(name, _)| name));
            } else if let Some(text) = reader.text(&inner) {
                self.addresses.insert(inner.key, text);
            }
        }
    }

    fn take_ports(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            if !LISTENERS.iter().any(|(name, _)| *name == inner.key) {
                reader.unknown(&inner, "ports", &LISTENERS.map(|(name, _)| name));
            } else if let Some(number) = reader.number(&inner) {
                match u16::try_from(number) {
                    Ok(port) => drop(self.ports.insert(inner.key, port)),
                    Err(_) => reader.wrong(&inner, "a port from 0 to 65535"),
                }
            }
        }
    }

    fn take_server(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "enabled" => self.server_enabled = reader.flag(&inner),
                "data_dir" => self.server_data_dir = reader.text(&inner),
                "bootstrap_expect" => self.bootstrap_expect = reader.number(&inner),
                "encrypt" => self.encrypt = reader.text(&inner),
                "heartbeat_grace" => self.heartbeat_grace = reader.text(&inner),
                "min_heartbeat_ttl" => self.min_heartbeat_ttl = reader.text(&inner),
                "oidc_issuer" => self.oidc_issuer = reader.text(&inner),
                "server_join" => self.take_join(inner, reader),
                "retry_join" | "start_join" => self.add_join(reader.texts(&inner)),
                key if WrittenRetention::KEYS.contains(&key) => {
                    self.retention.take(&inner, reader);
                }
                key if WrittenScheduling::KEYS.contains(&key) => {
                    self.scheduling.take(inner, reader);
                }
                _ => {
                    let keys = [
                        &SERVER[..],
                        &WrittenRetention::KEYS,
                        &WrittenScheduling::KEYS,
                    ];
                    let known = keys.concat();
                    reader.unknown(&inner, "server", &known);
                }
            }
        }
    }

    fn add_join(&mut self, addresses: Option<Vec<String>>) {
        if let Some(addresses) = addresses {
            self.join.get_or_insert_default().extend(addresses);
        }
    }

    fn take_join(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "retry_join" | "start_join" => self.add_join(reader.texts(&inner)),
                // Servers are asked every second, without end.
                "retry_interval" => drop(reader.text(&inner)),
                "retry_max" => drop(reader.number(&inner)),
                _ => reader.unknown(&inner, "server_join", &JOIN),
            }
        }
    }

    fn take_client(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "enabled" => self.client_enabled = reader.flag(&inner),
                "servers" => self.servers = reader.texts(&inner),
                "server_join" => self.take_join(inner, reader),
                "node_class" => self.node_class = reader.text(&inner),
                "cpu_total_compute" => self.cpu_total_compute = reader.number(&inner),
                "memory_total_mb" => self.memory_total_mb = reader.number(&inner),
                "min_dynamic_port" => self.min_dynamic_port = reader.number(&inner),
                "artifact_directories" => self.artifact_directories = reader.texts(&inner),
                "max_dynamic_port" => self.max_dynamic_port = reader.number(&inner),
                "host_volume" => volumes::take(&mut self.host_volumes, inner, reader),
                "chroot_env" => self.chroot_env = Some(plugins::texts(inner, reader)),
                "bridge_network_name" => self.bridge.name = reader.text(&inner),
                "bridge_network_subnet" => self.bridge.subnet = reader.text(&inner),
                "cni_path" => self.cni.path = reader.text(&inner),
                "cni_config_dir" => self.cni.config_dir = reader.text(&inner),
                "reserved" => self.reserved.take(inner, reader),
                "drain_on_shutdown" => self.drain.take(inner, reader),
                "alloc_dir" => self.alloc_dir = reader.text(&inner),
                "state_dir" => self.state_dir = reader.text(&inner),
                "max_kill_timeout" => self.max_kill_timeout = reader.text(&inner),
                "disable_remote_exec" => self.disable_remote_exec = reader.flag(&inner),
                "no_host_uuid" => self.no_host_uuid = reader.flag(&inner),
                "options" => self.options.take(inner, reader),
                "artifact" => self.files.take_artifact(inner, reader),
                "template" => self.files.take_template(inner, reader),
                "bridge_network_hairpin_mode" => self.bridge.hairpin = reader.flag(&inner),
                "meta" => {
                    for label in reader.block(inner) {
                        if let Some(text) = reader.text(&label) {
                            self.meta.insert(label.key, text);
                        }
                    }
                }
                key if WrittenNetworks::KEYS.contains(&key) => self.networks.take(inner, reader),
                key if WrittenCollection::KEYS.contains(&key) => {
                    self.collection.take(&inner, reader);
                }
                _ => {
                    let keys = [
                        &CLIENT[..],
                        &WrittenNetworks::KEYS,
                        &WrittenCollection::KEYS,
                    ];
                    reader.unknown(&inner, "client", &keys.concat());
                }
            }
        }
    }

    fn take_api(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            match inner.key.as_str() {
                "allowed_hosts" => self.allowed_hosts = reader.texts(&inner),
                "allowed_origins" => self.allowed_origins = reader.texts(&inner),
                _ => reader.unknown(&inner, "api", &["allowed_hosts", "allowed_origins"]),
            }
        }
    }

    fn take_ui(&mut self, entry: Entry, reader: &mut Reader<'_>) {
        for inner in reader.block(entry) {
            let ui = &mut self.ui;
            match inner.key.as_str() {
                "enabled" => ui.enabled = reader.flag(&inner),
                "read_only" => ui.read_only = reader.flag(&inner),
                "show_cli_hints" => ui.show_cli_hints = reader.flag(&inner),
                "label" => {
                    for label in reader.block(inner) {
                        match label.key.as_str() {
                            "text" => self.ui.label = reader.text(&label),
                            _ => reader.unknown(&label, "ui.label", &["text"]),
                        }
                    }
                }
                _ => reader.unknown(&inner, "ui", &WrittenUi::KEYS),
            }
        }
    }
}

/// Access control is not there: a file may say that it is off, and then how long it would remember
/// does not matter.
fn take_acl(entry: Entry, reader: &mut Reader<'_>) {
    const KEYS: [&str; 4] = ["enabled", "token_ttl", "policy_ttl", "role_ttl"];
    for inner in reader.block(entry) {
        match inner.key.as_str() {
            "enabled" => {
                if reader.flag(&inner) == Some(true) {
                    let message = "`acl.enabled` is true, and there is no access control yet: whoever reaches the API may do everything; remove it, and keep the listeners on addresses that only you reach";
                    reader.problem(inner.place, message.to_owned());
                }
            }
            key if KEYS.contains(&key) => drop(reader.text(&inner)),
            _ => reader.unknown(&inner, "acl", &KEYS),
        }
    }
}

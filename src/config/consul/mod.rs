//! An agent that is the catalog and nothing else, told what to do by the settings of the catalog
//! that it stands in for: flags, and files in HCL or JSON.
//!
//! [`load`] reads all of them at once and makes the same [`Config`] of them as a configuration file
//! of ours does. Every published key is obeyed, or told in [`Config::notes`] with what happens
//! instead, or refused.

mod keys;
mod sources;
#[cfg(test)]
mod tests;
mod tls;

use super::{
    Config, Part, Problem, Written, WrittenAutopilot, WrittenCallers, WrittenDns, WrittenLogs,
    WrittenTelemetry, addresses, file::SETTINGS, resolve,
};
use jobs::model::NodeId;
use keys::{KEYS, Kind};
use sources::{Arguments, Settings};
use std::{fmt::Write as _, net::IpAddr, net::Ipv4Addr, path::PathBuf};

/// Where servers listen unless it is set.
const SERVER_PORT: u16 = 8300;
/// Where gossip is unless it is set.
const GOSSIP_PORT: u16 = 8301;
/// Where the API listens unless it is set.
const HTTP_PORT: u16 = 8500;
/// Where names are asked for unless it is set.
const DNS_PORT: u16 = 8600;
/// Names that settings have here and in configuration files of ours.
const NAMES: [(&str, &str); 19] = [
    ("bootstrap_expect", "server.bootstrap_expect"),
    ("ports.server", "ports.rpc"),
    ("ports.http", "ports.catalog"),
    ("addresses.http", "addresses.catalog"),
    ("retry_join", "server.server_join.retry_join"),
    ("retry_join", "client.servers"),
    ("advertise_addr", "advertise.http"),
    ("advertise_addr", "advertise.rpc"),
    ("recursors", "dns.recursors"),
    ("dns_config.recursor_timeout", "dns.recursor_timeout"),
    ("dns_config.node_ttl", "dns.node_ttl"),
    ("dns_config.soa.min_ttl", "dns.min_ttl"),
    ("tls.defaults.ca_file", "tls.ca_file"),
    ("tls.defaults.cert_file", "tls.cert_file"),
    ("tls.defaults.key_file", "tls.key_file"),
    ("tls.defaults.verify_incoming", "tls.verify_incoming"),
    ("verify_outgoing", "tls.rpc"),
    ("telemetry.dogstatsd_addr", "telemetry.datadog_address"),
    ("telemetry.dogstatsd_tags", "telemetry.datadog_tags"),
];

/// Reads the files that the arguments name, lets flags win over them, and resolves.
///
/// # Errors
/// Every problem of every source.
pub fn load(arguments: &[String]) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let arguments = sources::arguments(arguments, &mut problems);
    let (settings, written) = read(&arguments, Whole::Yes, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let config = resolve::resolve(written, &mut problems);
    if problems.is_empty() {
        return Ok(config);
    }
    Err(told(&settings, problems))
}

/// Looks at files and directories of files as an agent would read them, and answers with what they
/// define. What only a running agent needs may be missing.
///
/// # Errors
/// Every problem of every file.
pub fn validate(paths: &[PathBuf]) -> Result<Vec<(String, serde_json::Value)>, Vec<Problem>> {
    let mut problems = Vec::new();
    let arguments = Arguments {
        files: paths.to_vec(),
        ..Arguments::default()
    };
    let (settings, mut written) = read(&arguments, Whole::No, &mut problems);
    if problems.is_empty() {
        written.data_dir.get_or_insert_with(|| "/".to_owned());
        resolve::resolve(written, &mut problems);
    }
    if problems.is_empty() {
        return Ok(settings.defined);
    }
    Err(told(&settings, problems))
}

/// All flags and keys, and what becomes of them.
#[must_use]
pub fn help() -> String {
    let mut text = "Usage: consul agent [-config-file PATH]... [-config-dir PATH]... [-dev] [-hcl TEXT]... [-FLAG VALUE]...\n\n\
         Runs the catalog: its API on 8500, names on 8600. Flags win over files. A key at the top of\n\
         a file is a flag too, with dashes for underlines.\n\n"
        .to_owned();
    for key in KEYS {
        let kind = match key.kind {
            Kind::Text => "TEXT",
            Kind::Flag => "true or false",
            Kind::Number => "NUMBER",
            Kind::Time => "DURATION",
            Kind::Texts => "LIST",
            Kind::Map | Kind::Any => "BLOCK",
        };
        // Writing to a string cannot fail.
        writeln!(text, "  {} = {kind}", key.name).ok();
        text.push_str(&key.role.help());
    }
    text
}

/// Whether everything that an agent needs has to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}

fn read(arguments: &Arguments, whole: Whole, problems: &mut Vec<Problem>) -> (Settings, Written) {
    let settings = Settings::read(arguments, problems);
    let notes = settings.check(problems);
    let mut reader = Reader {
        settings: &settings,
        dev: arguments.dev,
        whole,
        problems,
    };
    let written = reader.written(notes);
    (settings, written)
}

/// Problems in the words of these files, each at the place of its setting.
fn told(settings: &Settings, problems: Vec<Problem>) -> Vec<Problem> {
    let told = problems.into_iter().map(|mut problem| {
        for (name, own) in NAMES {
            problem.message = problem
                .message
                .replace(&format!("`{own}`"), &format!("`{name}`"));
        }
        settings.placed(problem)
    });
    told.collect()
}

/// Settings to what a file of ours would say.
struct Reader<'a> {
    settings: &'a Settings,
    dev: bool,
    whole: Whole,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn wrong(&mut self, message: String) {
        let problem = Problem::new(SETTINGS, message);
        self.problems.push(self.settings.placed(problem));
    }

    fn written(&mut self, mut notes: Vec<String>) -> Written {
        let settings = self.settings;
        let datacenter = settings.text("datacenter").map(str::to_lowercase);
        let mut written = Part::Catalog.written();
        written.dns = self.dns();
        self.listen(&mut written);
        let server = written.ports.get("rpc").copied();
        let joined = self.joined(server.unwrap_or(SERVER_PORT));
        let is_server = match settings.flag("server") {
            None => self.dev || self.whole == Whole::No,
            Some(is_server) => is_server || self.whole == Whole::No && joined.is_empty(),
        };
        if !is_server && joined.is_empty() {
            self.wrong(
                "this agent is no server and knows none: set `server`, or servers to join in `retry_join`"
                    .to_owned(),
            );
        }
        written.dev = self.dev.then_some(true);
        written.data_dir = settings.text("data_dir").map(str::to_owned);
        written.name = settings.text("node_name").map(str::to_owned);
        written.datacenter = datacenter;
        written.log_level = settings.text("log_level").map(level);
        written.logs = self.logs();
        written.server_enabled = Some(is_server);
        written.client_enabled = Some(true);
        written.bootstrap_expect = self.expected(is_server, &joined);
        if is_server {
            written.join = Some(joined).filter(|joined| !joined.is_empty());
        } else {
            written.servers = Some(joined).filter(|joined| !joined.is_empty());
        }
        written.autopilot = self.autopilot();
        written.telemetry = self.telemetry();
        written.limits = self.limits();
        written.meta = settings.map("node_meta");
        written.leave_on_terminate = settings.flag("leave_on_terminate");
        let skips = settings.flag("skip_leave_on_interrupt");
        written.leave_on_interrupt = skips.map(|skips| !skips);
        written.node_id = self.node_id();
        written.enable_script_checks = settings.flag("enable_script_checks");
        written.enable_local_script_checks = settings.flag("enable_local_script_checks");
        written.defined.clone_from(&settings.defined);
        written.tls = tls::written(settings, self.problems);
        if written.ports.contains_key("https") && !tls::has_https(settings) {
            written.ports.remove("https");
            notes.push(
                "`ports.https` is not acted on: `tls.https` or `tls.defaults` names no certificate with a key"
                    .to_owned(),
            );
        }
        let is_local = written.bind_addr.as_deref().is_some_and(|text| {
            text.parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
        });
        if written.tls.rpc.is_none() && !is_local {
            // As published: without certificates whoever reaches the port is let in.
            written.tls.rpc = Some(false);
            notes.push(
                "connections between agents are plain: whoever reaches the port of the servers may do everything; \
                 `tls` with `verify_incoming` and `verify_outgoing` asks for certificates"
                    .to_owned(),
            );
        }
        written.notes = notes;
        written
    }

    /// Where it listens, and what others are told.
    fn listen(&mut self, written: &mut Written) {
        let settings = self.settings;
        let loopback = Ipv4Addr::LOCALHOST.to_string();
        let mut address = |name: &str| {
            let text = settings.text(name)?;
            addresses::filled(name, text, self.problems)
        };
        let bind = address("bind_addr").or_else(|| self.dev.then(|| loopback.clone()));
        let client = address("client_addr").unwrap_or_else(|| loopback.clone());
        let [http, https, dns] =
            ["http", "https", "dns"].map(|name| address(&format!("addresses.{name}")));
        let advertised = address("advertise_addr");
        for (name, own, text) in [
            ("client_addr", "catalog", http.as_ref().unwrap_or(&client)),
            ("client_addr", "https", https.as_ref().unwrap_or(&client)),
            ("client_addr", "dns", dns.as_ref().unwrap_or(&client)),
        ] {
            match single(text) {
                Ok(one) => drop(written.addresses.insert(own.to_owned(), one)),
                Err(reason) => self.wrong(format!("`{name}` or `addresses` is `{text}`: {reason}")),
            }
        }
        let every = Ipv4Addr::UNSPECIFIED.to_string();
        let rpc = bind.clone().unwrap_or(every);
        written.addresses.insert("rpc".to_owned(), rpc);
        written.bind_addr = bind;
        if let Some(advertised) = advertised {
            for name in ["http", "rpc"] {
                written
                    .advertise
                    .insert(name.to_owned(), advertised.clone());
            }
        }
        for (name, own, usual) in [
            ("ports.http", "catalog", Some(HTTP_PORT)),
            ("ports.https", "https", None),
            ("ports.dns", "dns", Some(DNS_PORT)),
            ("ports.server", "rpc", Some(SERVER_PORT)),
        ] {
            let port = self.port(name, usual);
            match (own, port) {
                (_, Some(port)) => drop(written.ports.insert(own.to_owned(), port)),
                ("catalog", None) => written.catalog_enabled = Some(false),
                ("dns", None) => written.dns.enabled = Some(false),
                ("rpc", None) => {
                    self.wrong("`ports.server` must be a port: servers need one".to_owned())
                }
                (_, None) => {}
            }
        }
    }

    /// A port; none where it is off.
    fn port(&mut self, name: &str, usual: Option<u16>) -> Option<u16> {
        match self.settings.number(name) {
            None => usual,
            Some(off) if off < 0 => None,
            Some(port) => {
                let found = u16::try_from(port).ok();
                if found.is_none() {
                    self.wrong(format!(
                        "`{name}` is {port}; it must be a port to 65535, or -1 for none"
                    ));
                }
                found
            }
        }
    }

    fn node_id(&mut self) -> Option<String> {
        let text = self.settings.text("node_id")?.to_lowercase();
        if NodeId::parse(&text).is_none() {
            self.wrong(format!("`node_id` is `{text}`; it must be a UUID"));
        }
        Some(text)
    }

    fn logs(&self) -> WrittenLogs {
        let settings = self.settings;
        let number = |name: &str| settings.number(name);
        WrittenLogs {
            log_json: settings.flag("log_json"),
            log_file: settings.text("log_file").map(str::to_owned),
            log_rotate_bytes: settings.count("log_rotate_bytes"),
            log_rotate_duration: settings.text("log_rotate_duration").map(str::to_owned),
            log_rotate_max_files: number("log_rotate_max_files").map(|count| count.to_string()),
            log_include_location: None,
            enable_syslog: settings.flag("enable_syslog"),
            syslog_facility: settings.text("syslog_facility").map(str::to_owned),
        }
    }

    fn telemetry(&self) -> WrittenTelemetry {
        let settings = self.settings;
        let text = |name: &str| settings.text(name).map(str::to_owned);
        let tagged = text("telemetry.dogstatsd_addr");
        let tags = settings.texts("telemetry.dogstatsd_tags");
        WrittenTelemetry {
            statsd_address: text("telemetry.statsd_address"),
            datadog_tags: tagged.is_some().then_some(tags),
            datadog_address: tagged,
            disable_hostname: settings.flag("telemetry.disable_hostname"),
            ..WrittenTelemetry::default()
        }
    }

    fn limits(&self) -> WrittenCallers {
        let settings = self.settings;
        let text = |name: &str| settings.text(name).map(str::to_owned);
        let count = |name: &str| settings.count(name);
        WrittenCallers {
            https_handshake_timeout: text("limits.https_handshake_timeout"),
            http_max_conns_per_client: count("limits.http_max_conns_per_client"),
            rpc_handshake_timeout: text("limits.rpc_handshake_timeout"),
            rpc_max_conns_per_client: count("limits.rpc_max_conns_per_client"),
        }
    }

    fn autopilot(&self) -> WrittenAutopilot {
        let settings = self.settings;
        WrittenAutopilot::of(|key| {
            let name = format!("autopilot.{key}");
            match keys::of_name(&name)?.kind {
                Kind::Flag => settings.flag(&name).map(|flag| flag.to_string()),
                Kind::Number => settings.number(&name).map(|number| number.to_string()),
                _ => settings.text(&name).map(str::to_owned),
            }
        })
    }

    fn dns(&self) -> WrittenDns {
        let settings = self.settings;
        let text = |name: &str| settings.text(name).map(str::to_owned);
        let count = |name: &str| settings.count(name);
        let seconds = settings.number("dns_config.soa.min_ttl");
        let recursors = settings.texts("recursors");
        WrittenDns {
            enabled: Some(true),
            domain: text("domain").map(|domain| domain.trim_end_matches('.').to_owned()),
            alt_domain: text("alt_domain").map(|domain| domain.trim_end_matches('.').to_owned()),
            recursors: Some(recursors).filter(|recursors| !recursors.is_empty()),
            recursor_timeout: text("dns_config.recursor_timeout"),
            only_passing: settings.flag("dns_config.only_passing"),
            node_ttl: text("dns_config.node_ttl"),
            service_ttl: settings.map("dns_config.service_ttl"),
            min_ttl: seconds.map(|seconds| format!("{seconds}s")),
            enable_truncate: settings.flag("dns_config.enable_truncate"),
            udp_answer_limit: count("dns_config.udp_answer_limit"),
            a_record_limit: count("dns_config.a_record_limit"),
        }
    }

    /// With how many servers the group begins.
    fn expected(&mut self, is_server: bool, joined: &[String]) -> Option<u64> {
        let settings = self.settings;
        let alone = settings.flag("bootstrap").unwrap_or(false);
        let expect = settings
            .number("bootstrap_expect")
            .filter(|count| *count != 0);
        if alone && expect.is_some() {
            self.wrong("`bootstrap` and `bootstrap_expect` cannot both be set".to_owned());
        }
        if !is_server {
            if alone || expect.is_some() {
                self.wrong(
                    "`bootstrap` and `bootstrap_expect` are for servers: set `server`".to_owned(),
                );
            }
            return None;
        }
        match expect {
            Some(count) => {
                let found = u64::try_from(count).ok();
                if found.is_none() {
                    self.wrong(format!(
                        "`bootstrap_expect` is {count}; it must be a number of servers"
                    ));
                }
                found
            }
            None if alone || self.dev || self.whole == Whole::No => Some(1),
            None => {
                if joined.is_empty() {
                    self.wrong(
                        "`server` is set, and neither `bootstrap_expect`, the number of servers that begin, nor `retry_join`, a server to join"
                            .to_owned(),
                    );
                }
                Some(0)
            }
        }
    }

    /// Servers to ask, host and port each. The port of gossip stands for that of servers, `server`.
    fn joined(&mut self, server: u16) -> Vec<String> {
        let settings = self.settings;
        let gossip = self
            .port("ports.serf_lan", Some(GOSSIP_PORT))
            .unwrap_or(GOSSIP_PORT);
        let mut servers = Vec::new();
        for name in ["retry_join", "start_join"] {
            for text in settings.texts(name) {
                if text.contains('=') {
                    self.wrong(format!(
                        "`{name}` has `{text}`: machines of a provider are not looked up, name addresses"
                    ));
                    continue;
                }
                let Some(filled) = addresses::filled(name, &text, self.problems) else {
                    continue;
                };
                // Several addresses may come of one template.
                let all = filled.split_whitespace();
                servers.extend(all.map(|one| with_port(one, gossip, server)));
            }
        }
        servers
    }
}

/// An address with the port of servers, where it names none or that of gossip.
fn with_port(text: &str, gossip: u16, server: u16) -> String {
    if let Ok(address) = text.parse::<IpAddr>() {
        return std::net::SocketAddr::new(address, server).to_string();
    }
    match text
        .rsplit_once(':')
        .map(|(host, port)| (host, port.parse::<u16>()))
    {
        Some((host, Ok(port))) if port == gossip => format!("{host}:{server}"),
        Some((_, Ok(_))) => text.to_owned(),
        _ => format!("{text}:{server}"),
    }
}

/// The one address to listen on.
fn single(text: &str) -> Result<String, &'static str> {
    if text.contains("unix://") {
        return Err("there are no listeners on Unix sockets; name an IP address");
    }
    let all: Vec<&str> = text.split_whitespace().collect();
    match all.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err("it is empty"),
        _ => Err("a listener has one address; 0.0.0.0 stands for all"),
    }
}

/// A level in the words that are known here.
fn level(text: &str) -> String {
    match text.to_lowercase().as_str() {
        "err" => "error".to_owned(),
        other => other.to_owned(),
    }
}

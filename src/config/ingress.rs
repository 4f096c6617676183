//! The block `ingress` of a configuration file, as it is written and as it is meant.

use super::{Problem, Resilience, pairs, resilience};
use jobs::model::Span;
use proxy::{
    Announced, Protocol,
    certs::Version,
    route::{Block, Matching, PathMatcher},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

const SOURCE: &str = "configuration";
/// How long requests in flight may take at the end, unless configured.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(30);
/// The longest time that the end may be put off.
const SHUTDOWN_MAX: Duration = Duration::from_secs(3600);
/// How often files of certificates are looked at, unless configured.
const REFRESH: Duration = Duration::from_secs(3);
/// The least time between two looks.
const REFRESH_MIN: Duration = Duration::from_secs(1);
/// How long the header of the PROXY protocol may take, unless configured.
const HEADER_TIMEOUT: Duration = Duration::from_millis(250);
/// The authority that issues certificates, unless configured.
const ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The most hosts of a source whose certificates are issued.
const ACME_HOSTS_MAX: usize = 1000;
/// Authorities of targets, where the system keeps them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What is written about the ingress. Listeners and sources of certificates are keys and values
/// with the key that names them first.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the configuration file")]
pub struct WrittenIngress {
    pub enabled: Option<bool>,
    pub settings: BTreeMap<String, String>,
    pub listeners: Vec<BTreeMap<String, String>>,
    pub certificates: Vec<BTreeMap<String, String>>,
    pub auth: Vec<BTreeMap<String, String>>,
}

impl WrittenIngress {
    /// Settings of the block that are a text, a number or a flag.
    pub(super) const SETTINGS: [&'static str; 45] = [
        "strategy",
        "matcher",
        "host_globs",
        "proxy_addr",
        "proxy_cs",
        "no_route_status",
        "error_pages",
        "connect_timeout",
        "response_timeout",
        "upstream_idle_timeout",
        "upstream_idle_max",
        "drain_timeout",
        "shutdown_grace",
        "shutdown_wait",
        "admin_access",
        "admin_cs",
        "admin_strictmatch",
        "admin_tlsmin",
        "admin_tlsmax",
        "admin_tlsciphers",
        "retries",
        "request_body_max",
        "authorities_file",
        "idle_timeout",
        "proxy_auth",
        "trusted_proxies",
        "header_clientip",
        "header_requestid",
        "header_tls",
        "header_tls_value",
        "local_ip",
        "sts_maxage",
        "sts_subdomains",
        "sts_preload",
        "compress",
        "access_log",
        "access_log_target",
        "retry_on",
        "retry_percent",
        "retries_per_second",
        "eject_after",
        "eject_time",
        "hold",
        "pending_max",
        "pending_time",
    ];
    /// Keys of a scheme of users, as in `proxy_auth`.
    pub(super) const AUTH: [&'static str; 5] = ["name", "type", "file", "realm", "refresh"];
    /// Keys of a listener, as in `proxy_addr`.
    pub(super) const LISTENER: [&'static str; 14] = [
        "address",
        "proto",
        "cs",
        "rt",
        "wt",
        "it",
        "strictmatch",
        "tlsmin",
        "tlsmax",
        "tlsciphers",
        "pxyproto",
        "pxytimeout",
        "pxytrusted",
        "refresh",
    ];
    /// Keys of a listener that say how TLS ends there.
    pub(super) const TLS: [&'static str; 5] =
        ["cs", "strictmatch", "tlsmin", "tlsmax", "tlsciphers"];
    /// Keys of a source of certificates, as in `proxy_cs`.
    pub(super) const CERTIFICATES: [&'static str; 10] = [
        "cs",
        "type",
        "cert",
        "key",
        "clientca",
        "refresh",
        "hosts",
        "directory",
        "email",
        "ca",
    ];

    /// `self` with everything that `other` sets.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.settings.extend(other.settings);
        self.listeners.extend(other.listeners);
        self.certificates.extend(other.certificates);
        self.auth.extend(other.auth);
        Self {
            enabled: other.enabled.or(self.enabled),
            ..self
        }
    }
}

/// How traffic is carried.
#[derive(Clone, Debug, PartialEq)]
pub struct Ingress {
    /// Where to listen, at least one.
    pub listeners: Vec<IngressListener>,
    /// Sources of certificates by name.
    pub certificates: BTreeMap<String, CertificateSource>,
    /// Admin API and its page.
    pub admin: SocketAddr,
    /// TLS ends at the admin API.
    pub admin_tls: Option<ListenerTls>,
    /// Whether the admin API changes nothing, and keeps the operator's texts to itself.
    pub admin_is_read_only: bool,
    /// How a target is picked.
    pub strategy: Strategy,
    /// How hosts and paths of routes are compared with those of requests.
    pub matching: Matching,
    /// The status of the answer to a request without a route.
    pub no_route_status: u16,
    /// Where pages for answers of the ingress itself come from.
    pub error_pages: Option<PagePlace>,
    /// What replaces the defaults of the proxy.
    pub timeouts: Timeouts,
    /// How it ends.
    pub shutdown: Shutdown,
    /// How many more targets are tried when one fails.
    pub retries: Option<usize>,
    /// How many idle connections to a target are kept; as many as there is room for if none.
    pub target_idle_max: Option<usize>,
    /// What follows from failures, where a route does not say it.
    pub resilience: Resilience,
    /// The largest body of a request in bytes.
    pub request_body_max: Option<u64>,
    /// Authorities of targets that are reached over TLS.
    pub authorities_file: Option<PathBuf>,
    /// Schemes of users by name.
    pub auth: BTreeMap<String, AuthScheme>,
    /// Whose forwarding headers are believed; everybody's if empty.
    pub trusted_proxies: Vec<Block>,
    /// Headers beside the usual ones.
    pub own_headers: proxy::OwnHeaders,
    /// A regular expression for types of content that is compressed.
    pub compress: Option<String>,
    /// Format and place of the log of requests; none without a format.
    pub access_log: Option<IngressLog>,
}

/// Users with their passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthScheme {
    /// A file as `htpasswd` writes it.
    pub file: PathBuf,
    /// What users are asked for.
    pub realm: String,
    /// How often the file is looked at.
    pub refresh: Duration,
}

/// Where requests are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressLog {
    /// `common`, `combined`, or fields and text.
    pub format: String,
    /// A file; none for standard output.
    pub file: Option<PathBuf>,
}

/// What replaces the defaults of the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to a target to come about.
    pub connect: Option<Duration>,
    /// For the silence of a target.
    pub response: Option<Duration>,
    /// For a connection to a target to wait for its next request.
    pub upstream_idle: Option<Duration>,
    /// For requests in flight when something leaves.
    pub drain: Option<Duration>,
    /// For a connection of a client to wait for its next request.
    pub idle: Option<Duration>,
}

/// How the ingress ends with its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long it still serves after it told others that it will not.
    pub grace: Duration,
    /// How long requests in flight may take once nothing new is taken.
    pub wait: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            grace: Duration::ZERO,
            wait: SHUTDOWN_WAIT,
        }
    }
}

/// How a target is picked among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
    /// The one with the fewest requests in flight for its share.
    LeastConnections,
}

/// One address of the ingress.
#[derive(Clone, Debug, PartialEq)]
pub struct IngressListener {
    /// Where.
    pub address: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// TLS ends here.
    pub tls: Option<ListenerTls>,
    /// The header of the PROXY protocol is read.
    pub announced: Option<Announced>,
    /// See [`proxy::Listener::read_timeout`].
    pub read_timeout: Option<Duration>,
    /// See [`proxy::Listener::write_timeout`].
    pub write_timeout: Option<Duration>,
    /// See [`proxy::Listener::idle_timeout`].
    pub idle_timeout: Option<Duration>,
}

/// How TLS ends at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The source of its certificates.
    pub source: String,
    /// Connections for hosts without a certificate are refused.
    pub is_strict: bool,
    /// The oldest version that is spoken.
    pub oldest: Version,
    /// The newest one.
    pub newest: Version,
    /// Ciphers of TLS 1.2; all if empty.
    pub ciphers: Vec<String>,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSource {
    /// The place.
    pub place: CertificatePlace,
    /// How often it is looked at; none for once.
    pub refresh: Option<Duration>,
    /// A file with authorities: clients must have a certificate of one of them.
    pub client_authorities: Option<PathBuf>,
}

/// The place that certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificatePlace {
    /// One certificate and its key; both in one file if there is no other.
    File {
        /// The certificate.
        certificate: PathBuf,
        /// Its key.
        key: Option<PathBuf>,
    },
    /// All files of a directory and those below: `X.pem` with both, or `X-cert.pem` and
    /// `X-key.pem`.
    Path(PathBuf),
    /// A list of names, one a line, each to be asked for beside the list.
    Http(String),
    /// Keys of the key-value store, named like the files of a directory: a URL of its API, or the
    /// prefix alone.
    Consul(String),
    /// An authority issues them.
    Acme(Authority),
}

/// The place that pages come from, by their names: `503.html`, `5xx.html`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PagePlace {
    /// Files of a directory.
    Directory(PathBuf),
    /// Keys of a key-value store: a URL of its API.
    Keys(String),
}

/// An authority that issues certificates by ACME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// URL of its directory.
    pub directory: String,
    /// The hosts, in lower case, one certificate each; never empty.
    pub hosts: Vec<String>,
    /// The address that it writes to.
    pub email: Option<String>,
    /// A file with the certificates that it is known by, beside those of the system.
    pub authorities: Option<PathBuf>,
}

/// Addresses that the rest of the file decides on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// The ingress, unless listeners are written.
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
    /// For listeners that name a port only.
    pub(super) bind: IpAddr,
}

pub(super) fn resolve(
    written: &WrittenIngress,
    places: Places,
    problems: &mut Vec<Problem>,
) -> Option<Ingress> {
    if !written.enabled.unwrap_or(true) {
        return None;
    }
    let mut reader = Resolver { problems };
    let certificates = reader.sources(written);
    let mut listeners = reader.listeners(written, places.bind);
    for listener in &listeners {
        let source = listener.tls.as_ref().map(|tls| &tls.source);
        if let Some(source) = source.filter(|source| !certificates.contains_key(*source)) {
            let address = listener.address;
            reader.wrong(format!(
                "the listener `{address}` gets its certificates from `{source}`, which is not configured"
            ));
        }
    }
    if listeners.is_empty() {
        listeners.push(plain(places.address));
    }
    let setting = |name: &str| written.settings.get(name).map(String::as_str);
    let strategy = match setting("strategy") {
        None | Some("rr") => Strategy::RoundRobin,
        Some("rnd") => Strategy::Random,
        Some("lc") => Strategy::LeastConnections,
        Some(other) => {
            reader.wrong(format!(
                "`ingress.strategy` is `{other}`; it must be `rr`, `rnd` or `lc`"
            ));
            Strategy::RoundRobin
        }
    };
    let paths = match setting("matcher") {
        None | Some("prefix") => PathMatcher::Prefix,
        Some("iprefix") => PathMatcher::PrefixFolded,
        Some("glob") => PathMatcher::Glob,
        Some(other) => {
            reader.wrong(format!(
                "`ingress.matcher` is `{other}`; it must be `prefix`, `iprefix` or `glob`"
            ));
            PathMatcher::Prefix
        }
    };
    let admin_is_read_only = match setting("admin_access") {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(other) => {
            reader.wrong(format!(
                "`ingress.admin_access` is `{other}`; it must be `rw` or `ro`"
            ));
            true
        }
    };
    let admin_tls = reader.admin_tls(&setting);
    if let Some(tls) = &admin_tls
        && !certificates.contains_key(&tls.source)
    {
        reader.wrong(format!(
            "`ingress.admin_cs` is `{}`, which is no source of certificates that is configured",
            tls.source
        ));
    }
    let has_host_globs = reader.flag("ingress.host_globs", setting("host_globs"), true);
    let no_route_status = reader.number("no_route_status", setting("no_route_status"));
    let no_route_status = match no_route_status {
        None => 404,
        Some(status) if (200..600).contains(&status) => status as u16,
        Some(other) => {
            reader.wrong(format!(
                "`ingress.no_route_status` is {other}; it must be a status from 200 to 599"
            ));
            404
        }
    };
    let mut time = |name: &str| {
        let text = setting(name)?;
        reader.duration(&format!("ingress.{name}"), text)
    };
    let timeouts = Timeouts {
        connect: time("connect_timeout"),
        response: time("response_timeout"),
        upstream_idle: time("upstream_idle_timeout"),
        drain: time("drain_timeout"),
        idle: time("idle_timeout"),
    };
    let shutdown = reader.shutdown(&setting, timeouts.drain);
    let retries = reader.number("retries", setting("retries"));
    let idle = reader.number("upstream_idle_max", setting("upstream_idle_max"));
    let resilience = resilience::resolve(&setting, reader.problems);
    let own_headers = reader.own_headers(&setting);
    let proxies = setting("trusted_proxies").unwrap_or_default();
    let trusted_proxies = reader.blocks("`ingress.trusted_proxies`", proxies);
    let access_log = reader.access_log(&setting);
    let auth = reader.schemes(written);
    let authorities_file = setting("authorities_file").map(PathBuf::from);
    let usual = || Some(PathBuf::from(AUTHORITIES)).filter(|path| path.is_file());
    Some(Ingress {
        listeners,
        certificates,
        admin: places.admin,
        admin_tls,
        admin_is_read_only,
        strategy,
        matching: Matching {
            paths,
            has_host_globs,
        },
        no_route_status,
        error_pages: reader.pages(setting("error_pages")),
        timeouts,
        shutdown,
        retries: retries.and_then(|retries| usize::try_from(retries).ok()),
        target_idle_max: idle.and_then(|idle| usize::try_from(idle).ok()),
        resilience,
        request_body_max: reader.number("request_body_max", setting("request_body_max")),
        authorities_file: authorities_file.or_else(usual),
        auth,
        trusted_proxies,
        own_headers,
        compress: setting("compress").map(str::to_owned),
        access_log,
    })
}

/// HTTP without TLS.
fn plain(address: SocketAddr) -> IngressListener {
    IngressListener {
        address,
        protocol: Protocol::Http,
        tls: None,
        announced: None,
        read_timeout: None,
        write_timeout: None,
        idle_timeout: None,
    }
}

/// How TLS ends at a listener that is none of the ingress itself, by the keys of one; not at all if
/// it names no source of certificates.
pub(super) fn listener_tls(
    name: &str,
    item: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Option<ListenerTls> {
    let source = item.get("cs")?;
    Resolver { problems }.tls(name, source, item)
}

/// The pairs of one listener or source; the value without a key is that of `first`.
pub(super) fn keyed(item: pairs::Item, first: &str) -> BTreeMap<String, String> {
    let named = item.into_iter().map(|(key, value)| {
        let key = if key.is_empty() {
            first.to_owned()
        } else {
            key
        };
        (key, value)
    });
    named.collect()
}

struct Resolver<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Resolver<'_> {
    fn wrong(&mut self, message: impl Into<String>) {
        self.problems.push(Problem::new(SOURCE, message));
    }

    /// What is written in blocks and what in one line.
    fn all(
        &mut self,
        blocks: &[BTreeMap<String, String>],
        (name, line): (&str, Option<&String>),
        (first, known): (&str, &[&str]),
    ) -> Vec<BTreeMap<String, String>> {
        let mut all = blocks.to_vec();
        match line.map(|line| pairs::items(line)) {
            Some(Ok(items)) => all.extend(items.into_iter().map(|item| keyed(item, first))),
            Some(Err(reason)) => self.wrong(format!("`ingress.{name}`: {reason}")),
            None => {}
        }
        for item in &all {
            let unknown = item.keys().filter(|key| !known.contains(&key.as_str()));
            for key in unknown {
                self.wrong(format!(
                    "`ingress.{name}` has no key `{key}`; known here: {}",
                    known.join(", ")
                ));
            }
        }
        all
    }

    fn listeners(&mut self, written: &WrittenIngress, bind: IpAddr) -> Vec<IngressListener> {
        let line = ("proxy_addr", written.settings.get("proxy_addr"));
        let keys = ("address", &WrittenIngress::LISTENER[..]);
        let all = self.all(&written.listeners, line, keys);
        all.iter()
            .filter_map(|item| self.listener(item, bind))
            .collect()
    }

    fn listener(
        &mut self,
        item: &BTreeMap<String, String>,
        bind: IpAddr,
    ) -> Option<IngressListener> {
        let value = |key: &str| item.get(key).map(String::as_str);
        let text = value("address").unwrap_or_default();
        let Some(address) = place(text, bind) else {
            let hint = if text.starts_with("unix:") || text.starts_with('/') {
                ": the ingress does not listen on sockets in the file system"
            } else {
                ""
            };
            self.wrong(format!(
                "the listener `{text}` has no address; write `IP:PORT` or `:PORT`{hint}"
            ));
            return None;
        };
        let source = value("cs");
        let (protocol, must, may) = match value("proto") {
            None => (Protocol::Http, false, true),
            Some("http") => (Protocol::Http, false, false),
            Some("https") => (Protocol::Http, true, true),
            Some("grpc") => (Protocol::Grpc, false, false),
            Some("grpcs") => (Protocol::Grpc, true, true),
            Some("tcp") => (Protocol::Tcp, false, true),
            Some("tcp+sni") => (Protocol::TcpSni, false, false),
            Some("https+tcp+sni") => (Protocol::HttpsTcpSni, true, true),
            Some("tcp-dynamic") => (Protocol::TcpDynamic, false, true),
            Some(other) => {
                let hint = if matches!(other, "udp" | "quic" | "h3") {
                    ": nothing is carried over UDP"
                } else {
                    ""
                };
                self.wrong(format!(
                    "the listener `{text}` has the protocol `{other}`; there are `http`, `https`, `grpc`, `grpcs`, \
                     `tcp`, `tcp+sni`, `https+tcp+sni` and `tcp-dynamic`{hint}"
                ));
                return None;
            }
        };
        let proto = value("proto").unwrap_or("http");
        if must && source.is_none() {
            self.wrong(format!(
                "the listener `{text}` speaks `{proto}` and needs certificates: name their source with `cs`"
            ));
        }
        if !may && source.is_some() {
            self.wrong(format!(
                "the listener `{text}` speaks `{proto}`, which has no certificates: leave `cs` out"
            ));
        }
        let mut time = |key: &str| {
            let written = value(key)?;
            self.duration(&format!("ingress listener {text}: {key}"), written)
        };
        let (rt, wt, it) = (time("rt"), time("wt"), time("it"));
        let header = time("pxytimeout");
        let announced = self.announced(item, header);
        Some(IngressListener {
            tls: source.and_then(|source| self.tls(text, source, item)),
            announced,
            read_timeout: rt,
            write_timeout: wt,
            idle_timeout: it,
            protocol,
            ..plain(address)
        })
    }

    fn announced(
        &mut self,
        item: &BTreeMap<String, String>,
        timeout: Option<Duration>,
    ) -> Option<Announced> {
        let is_required = match item.get("pxyproto").map(String::as_str) {
            None | Some("false") => return None,
            Some("true") => false,
            Some("required") => true,
            Some(other) => {
                self.wrong(format!(
                    "`pxyproto` of a listener is `{other}`; it must be `true`, `required` or `false`"
                ));
                return None;
            }
        };
        let trusted = item.get("pxytrusted").map_or("", String::as_str);
        let trusted = self.blocks("`pxytrusted` of a listener", trusted);
        Some(Announced {
            timeout: timeout.unwrap_or(HEADER_TIMEOUT),
            trusted,
            is_required,
        })
    }

    /// Blocks of addresses with commas between.
    fn blocks(&mut self, what: &str, text: &str) -> Vec<Block> {
        let mut blocks = Vec::new();
        for text in words(text) {
            match Block::parse(text) {
                Some(block) => blocks.push(block),
                None => self.wrong(format!("{what} has `{text}`, which is no address or block")),
            }
        }
        blocks
    }

    /// TLS of the admin address: the keys of a listener after `admin_`.
    fn admin_tls<'s>(&mut self, setting: &impl Fn(&str) -> Option<&'s str>) -> Option<ListenerTls> {
        let mut own = BTreeMap::new();
        for key in WrittenIngress::TLS {
            if let Some(value) = setting(&format!("admin_{key}")) {
                own.insert(key.to_owned(), value.to_owned());
            }
        }
        if !own.contains_key("cs") {
            for key in own.keys() {
                self.wrong(format!(
                    "`ingress.admin_{key}` needs certificates: name their source with `admin_cs`"
                ));
            }
        }
        listener_tls("admin", &own, self.problems)
    }

    fn tls(
        &mut self,
        listener: &str,
        source: &str,
        item: &BTreeMap<String, String>,
    ) -> Option<ListenerTls> {
        let value = |key: &str| item.get(key).map(String::as_str);
        let oldest = match value("tlsmin").map(version) {
            None | Some(Some(10..=12)) => Version::Tls12,
            Some(Some(_)) => Version::Tls13,
            Some(None) => {
                self.wrong(format!(
                    "`tlsmin` of the listener `{listener}` must be `tls12` or `tls13`"
                ));
                return None;
            }
        };
        let newest = match value("tlsmax").map(version) {
            None | Some(Some(13)) => Version::Tls13,
            Some(Some(12)) => Version::Tls12,
            Some(_) => {
                self.wrong(format!(
                    "`tlsmax` of the listener `{listener}` must be `tls12` or `tls13`: older versions are not spoken"
                ));
                return None;
            }
        };
        Some(ListenerTls {
            source: source.to_owned(),
            is_strict: self.flag("strictmatch", value("strictmatch"), false),
            oldest,
            newest,
            ciphers: words(value("tlsciphers").unwrap_or_default())
                .map(str::to_owned)
                .collect(),
        })
    }

    fn sources(&mut self, written: &WrittenIngress) -> BTreeMap<String, CertificateSource> {
        let line = ("proxy_cs", written.settings.get("proxy_cs"));
        let keys = ("cs", &WrittenIngress::CERTIFICATES[..]);
        let all = self.all(&written.certificates, line, keys);
        let mut sources = BTreeMap::new();
        for item in &all {
            let name = item.get("cs").cloned().unwrap_or_default();
            if name.is_empty() {
                self.wrong("a source of certificates has no name: write `cs=NAME` first");
            } else if let Some(source) = self.source(&name, item)
                && sources.insert(name.clone(), source).is_some()
            {
                self.wrong(format!("there are two sources of certificates `{name}`"));
            }
        }
        sources
    }

    fn source(&mut self, name: &str, item: &BTreeMap<String, String>) -> Option<CertificateSource> {
        let value = |key: &str| item.get(key).filter(|value| !value.is_empty()).cloned();
        let kind = value("type");
        if kind.as_deref() == Some("acme") {
            let authority = self.authority(name, &value)?;
            return Some(CertificateSource {
                place: CertificatePlace::Acme(authority),
                refresh: None,
                client_authorities: value("clientca").map(PathBuf::from),
            });
        }
        let Some(cert) = value("cert") else {
            self.wrong(format!(
                "the source of certificates `{name}` has no place: write `cert`"
            ));
            return None;
        };
        let place = match kind.as_deref() {
            Some("file") => CertificatePlace::File {
                certificate: cert.into(),
                key: value("key").map(PathBuf::from),
            },
            Some("path") => CertificatePlace::Path(cert.into()),
            Some("http") => CertificatePlace::Http(cert),
            Some("consul") => CertificatePlace::Consul(cert),
            Some(other) => {
                let hint = if other.starts_with("vault") {
                    ": no vault is asked here; have its certificates written to a directory, with a `template` of a \
                     job for example, and read them with `path`"
                } else {
                    ""
                };
                self.wrong(format!(
                    "the source of certificates `{name}` has the type `{other}`; there are `file`, `path`, `http`, \
                     `consul` and `acme`{hint}"
                ));
                return None;
            }
            None => {
                self.wrong(format!(
                    "the source of certificates `{name}` has no type: write `file`, `path`, `http`, `consul` or `acme`"
                ));
                return None;
            }
        };
        let refresh = match value("refresh") {
            None => Some(REFRESH),
            Some(text) => match self.duration(&format!("refresh of `{name}`"), &text)? {
                Duration::ZERO => None,
                time => Some(time.max(REFRESH_MIN)),
            },
        };
        Some(CertificateSource {
            place,
            refresh,
            client_authorities: value("clientca").map(PathBuf::from),
        })
    }

    fn authority(
        &mut self,
        name: &str,
        value: &impl Fn(&str) -> Option<String>,
    ) -> Option<Authority> {
        // It names a directory.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !name.chars().all(is_plain) {
            self.wrong(format!(
                "the source of certificates `{name}` has the type `acme`, so its name has to be of letters, digits, `-` and `_`"
            ));
            return None;
        }
        let hosts = value("hosts").unwrap_or_default().to_ascii_lowercase();
        let hosts = hosts.split([',', ' ']).filter(|host| !host.is_empty());
        let mut hosts: Vec<String> = hosts.map(str::to_owned).collect();
        hosts.sort();
        hosts.dedup();
        if hosts.is_empty() || hosts.len() > ACME_HOSTS_MAX {
            self.wrong(format!(
                "the source of certificates `{name}` needs `hosts`, 1 to {ACME_HOSTS_MAX} of them with commas between"
            ));
            return None;
        }
        for host in &hosts {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            let is_host =
                host.chars().all(is_name) && !host.starts_with('.') && !host.contains("..");
            if !is_host {
                self.wrong(format!(
                    "the source of certificates `{name}` has the host `{host}`; an authority can only be asked for whole names (`*` is not built)"
                ));
                return None;
            }
        }
        let directory = value("directory").unwrap_or_else(|| ACME_DIRECTORY.to_owned());
        if !directory.starts_with("https://") {
            self.wrong(format!(
                "the `directory` of the source of certificates `{name}` is `{directory}`; it must be a URL with `https`"
            ));
            return None;
        }
        Some(Authority {
            directory,
            hosts,
            email: value("email"),
            authorities: value("ca").map(PathBuf::from),
        })
    }

    fn schemes(&mut self, written: &WrittenIngress) -> BTreeMap<String, AuthScheme> {
        let line = ("proxy_auth", written.settings.get("proxy_auth"));
        let all = self.all(&written.auth, line, ("name", &WrittenIngress::AUTH[..]));
        let mut schemes = BTreeMap::new();
        for item in &all {
            let value = |key: &str| item.get(key).filter(|value| !value.is_empty()).cloned();
            let (Some(name), Some(file)) = (value("name"), value("file")) else {
                self.wrong("a scheme of users needs `name` and `file`");
                continue;
            };
            match value("type").as_deref() {
                None | Some("basic") => {}
                Some(other) => {
                    self.wrong(format!(
                        "the scheme of users `{name}` has the type `{other}`; there is `basic`"
                    ));
                    continue;
                }
            }
            let refresh = match value("refresh") {
                None => Some(REFRESH),
                Some(text) => self.duration(&format!("refresh of `{name}`"), &text),
            };
            let scheme = AuthScheme {
                file: file.into(),
                realm: value("realm").unwrap_or_else(|| name.clone()),
                refresh: refresh.unwrap_or(REFRESH).max(REFRESH_MIN),
            };
            if schemes.insert(name.clone(), scheme).is_some() {
                self.wrong(format!("there are two schemes of users `{name}`"));
            }
        }
        schemes
    }

    fn pages(&mut self, text: Option<&str>) -> Option<PagePlace> {
        let text = text.filter(|text| !text.is_empty())?;
        if text.starts_with('/') {
            return Some(PagePlace::Directory(text.into()));
        }
        let url = url::Url::parse(text).ok();
        let is_url = |url: &url::Url| {
            matches!(url.scheme(), "http" | "https") && url.path().starts_with("/v1/kv/")
        };
        if url.as_ref().is_some_and(is_url) {
            return Some(PagePlace::Keys(text.to_owned()));
        }
        self.wrong(
            "`ingress.error_pages` is no place of pages: write a directory (/etc/pages), or the URL of keys \
             (http://HOST:PORT/v1/kv/PREFIX)",
        );
        None
    }

    fn own_headers<'s>(&mut self, setting: &impl Fn(&str) -> Option<&'s str>) -> proxy::OwnHeaders {
        let text = |name: &str| {
            setting(name)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let age = self
            .number("sts_maxage", setting("sts_maxage"))
            .unwrap_or(0);
        let mut security = format!("max-age={age}");
        for (name, word) in [
            ("sts_subdomains", "includeSubdomains"),
            ("sts_preload", "preload"),
        ] {
            if self.flag(&format!("ingress.{name}"), setting(name), false) {
                security.push_str("; ");
                security.push_str(word);
            }
        }
        let by = text("local_ip").and_then(|text| {
            let address = text.parse().ok();
            if address.is_none() {
                self.wrong(format!(
                    "`ingress.local_ip` is `{text}`, which is no address; it is told to targets after `by=` in `Forwarded`"
                ));
            }
            address
        });
        proxy::OwnHeaders {
            by,
            client_ip: text("header_clientip"),
            request_id: text("header_requestid"),
            tls: text("header_tls")
                .map(|name| (name, text("header_tls_value").unwrap_or_default())),
            transport_security: (age > 0).then_some(security),
        }
    }

    fn access_log<'s>(&mut self, setting: &impl Fn(&str) -> Option<&'s str>) -> Option<IngressLog> {
        let target = setting("access_log_target").filter(|target| !target.is_empty());
        let format = setting("access_log").filter(|format| !format.is_empty());
        if target.is_none() && format.is_none() {
            return None;
        }
        let format = format.unwrap_or("common");
        if let Err(reason) = proxy::AccessLog::new(format) {
            self.wrong(format!("`ingress.access_log`: {reason}"));
            return None;
        }
        Some(IngressLog {
            format: format.to_owned(),
            file: target
                .filter(|target| *target != "stdout")
                .map(PathBuf::from),
        })
    }

    fn shutdown<'s>(
        &mut self,
        setting: &impl Fn(&str) -> Option<&'s str>,
        drain: Option<Duration>,
    ) -> Shutdown {
        let mut time = |name: &str| {
            let key = format!("ingress.{name}");
            let time = self.duration(&key, setting(name)?)?;
            if time > SHUTDOWN_MAX {
                self.wrong(format!(
                    "`{key}` is longer than `1h`, the most that it may be"
                ));
                return None;
            }
            Some(time)
        };
        let usual = Shutdown::default();
        Shutdown {
            grace: time("shutdown_grace").unwrap_or(usual.grace),
            wait: time("shutdown_wait").or(drain).unwrap_or(usual.wait),
        }
    }

    fn duration(&mut self, name: &str, text: &str) -> Option<Duration> {
        match Span::parse(text) {
            Ok(span) if span >= Span::ZERO => Some(span.to_std()),
            Ok(_) | Err(_) => {
                self.wrong(format!(
                    "`{name}` is `{text}`, which is no duration such as `10s`"
                ));
                None
            }
        }
    }

    fn flag(&mut self, name: &str, text: Option<&str>, default: bool) -> bool {
        match text {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                self.wrong(format!(
                    "`{name}` is `{other}`; it must be `true` or `false`"
                ));
                default
            }
        }
    }

    fn number(&mut self, name: &str, text: Option<&str>) -> Option<u64> {
        let text = text?;
        let number = text.parse().ok();
        if number.is_none() {
            self.wrong(format!("`ingress.{name}` is `{text}`, which is no number"));
        }
        number
    }
}

/// `IP:PORT`, or `:PORT` of the usual address.
pub(super) fn place(text: &str, bind: IpAddr) -> Option<SocketAddr> {
    match text.strip_prefix(':') {
        Some(port) => Some(SocketAddr::new(bind, port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

/// Words between commas.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// A version of TLS as `tls12` or by its number on the wire.
fn version(text: &str) -> Option<u8> {
    match text.to_ascii_lowercase().as_str() {
        "tls10" | "0x0301" | "769" => Some(10),
        "tls11" | "0x0302" | "770" => Some(11),
        "tls12" | "0x0303" | "771" => Some(12),
        "tls13" | "0x0304" | "772" => Some(13),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(written: &WrittenIngress) -> (Ingress, Vec<String>) {
        let mut problems = Vec::new();
        let places = Places {
            address: "127.0.0.1:9999".parse().unwrap(),
            admin: "127.0.0.1:9998".parse().unwrap(),
            bind: "10.0.0.1".parse().unwrap(),
        };
        let ingress = resolve(written, places, &mut problems).unwrap();
        (ingress, problems.iter().map(ToString::to_string).collect())
    }

    fn lines(addr: &str, cs: &str) -> WrittenIngress {
        let settings = [("proxy_addr", addr), ("proxy_cs", cs)];
        WrittenIngress {
            settings: settings
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            ..WrittenIngress::default()
        }
    }

    #[test]
    fn listeners_in_one_line_are_as_written() {
        let (ingress, problems) = resolved(&lines(
            ":9999, 127.0.0.1:9443;proto=https;cs=a;tlsmin=tls13;strictmatch=true;rt=5s;it=1m, :53;proto=tcp-dynamic, \
             :1;cs=a;tlsciphers=\"X,Y\";tlsmax=0x0303, :2;proto=tcp+sni;pxyproto=required;pxytrusted='10.0.0.0/8,::1'",
            "cs=a;type=path;cert=/etc/certs;refresh=0s;clientca=/etc/ca.pem, cs=b;type=file;cert=/c.pem;key=/k.pem",
        ));
        assert_eq!(problems, Vec::<String>::new());
        let addresses: Vec<String> = ingress
            .listeners
            .iter()
            .map(|l| l.address.to_string())
            .collect();
        assert_eq!(
            addresses,
            [
                "10.0.0.1:9999",
                "127.0.0.1:9443",
                "10.0.0.1:53",
                "10.0.0.1:1",
                "10.0.0.1:2"
            ]
        );
        let tls = ingress.listeners[1].tls.clone().unwrap();
        assert_eq!(
            (tls.oldest, tls.newest, tls.is_strict),
            (Version::Tls13, Version::Tls13, true)
        );
        assert_eq!(
            ingress.listeners[1].read_timeout,
            Some(Duration::from_secs(5))
        );
        assert_eq!(ingress.listeners[2].protocol, Protocol::TcpDynamic);
        assert_eq!(ingress.listeners[3].protocol, Protocol::Http);
        assert_eq!(
            ingress.listeners[3].tls.clone().unwrap().ciphers,
            ["X", "Y"]
        );
        let announced = ingress.listeners[4].announced.clone().unwrap();
        assert!(announced.is_required && announced.trusted.len() == 2);
        assert_eq!(ingress.certificates["a"].refresh, None);
        assert_eq!(ingress.certificates["b"].refresh, Some(REFRESH));
    }

    #[test]
    fn headers_users_and_logs_are_as_written() {
        let mut written = WrittenIngress::default();
        for (key, value) in [
            (
                "proxy_auth",
                "name=team;type=basic;file=/etc/users;realm=the team;refresh=5s",
            ),
            ("header_tls", "X-Tls"),
            ("header_tls_value", "on"),
            ("sts_maxage", "60"),
            ("sts_preload", "true"),
            ("access_log", "combined"),
            ("access_log_target", "/var/log/requests"),
        ] {
            written.settings.insert(key.into(), value.into());
        }
        let (ingress, problems) = resolved(&written);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(ingress.auth["team"].realm, "the team");
        assert_eq!(ingress.own_headers.tls, Some(("X-Tls".into(), "on".into())));
        let security = ingress.own_headers.transport_security.unwrap();
        assert_eq!(security, "max-age=60; preload");
        let log = ingress.access_log.unwrap();
        assert_eq!(
            (log.format.as_str(), log.file),
            ("combined", Some("/var/log/requests".into()))
        );
    }

    #[test]
    fn without_any_the_usual_address_is_listened_on() {
        let (ingress, problems) = resolved(&WrittenIngress::default());
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            ingress.listeners,
            [plain("127.0.0.1:9999".parse().unwrap())]
        );
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let mut written = lines(
            "x, :1;proto=https, :2;proto=http;cs=a, :3;proto=quic, :4;cs=none, :5;rt=fast, :6;cs=a;tlsmax=tls11, \
             :7;pxyproto=maybe, :8;color=red, :9;proto=https+tcp+sni, unix:/run/x, :10;proto=udp",
            "cs=a;type=file;cert=/c.pem, type=path;cert=/x, cs=c;type=vault;cert=x, cs=d;type=file, cs=a;type=path;cert=/y, \
             cs=e;type=acme, cs=f;type=acme;hosts=*.io, cs=g;type=acme;hosts=a.io;directory=http://x/, \
             cs=h/i;type=acme;hosts=a.io",
        );
        written.settings.insert("matcher".into(), "regex".into());
        written
            .settings
            .insert("no_route_status".into(), "99".into());
        for (name, text) in [
            ("access_log", "$nope"),
            ("sts_maxage", "long"),
            ("proxy_auth", "name=a;type=ldap;file=/x, name=b"),
            ("shutdown_grace", "61m"),
            ("admin_access", "none"),
            ("admin_cs", "lost"),
            ("trusted_proxies", "10.0.0.0/8, here"),
            ("local_ip", "eth0"),
            ("error_pages", "http://h/pages"),
            ("upstream_idle_max", "many"),
            ("shutdown_wait", "-1s"),
        ] {
            written.settings.insert(name.into(), text.into());
        }
        let (_, problems) = resolved(&written);
        for part in [
            "`x` has no address; write `IP:PORT` or `:PORT`",
            "`unix:/run/x` has no address; write `IP:PORT` or `:PORT`: the ingress does not listen on sockets in the file system",
            "`:10` has the protocol `udp`",
            "`tcp-dynamic`: nothing is carried over UDP",
            "`:1` speaks `https` and needs certificates",
            "`:2` speaks `http`, which has no certificates",
            "`:9` speaks `https+tcp+sni` and needs certificates",
            "the protocol `quic`",
            "from `none`, which is not configured",
            "`ingress listener :5: rt` is `fast`",
            "`tlsmax` of the listener `:6`",
            "`pxyproto` of a listener is `maybe`",
            "no key `color`",
            "no name",
            "the type `vault`; there are `file`, `path`, `http`, `consul` and `acme`: no vault is asked here",
            "`ingress.admin_access` is `none`; it must be `rw` or `ro`",
            "`ingress.admin_cs` is `lost`, which is no source of certificates",
            "`ingress.trusted_proxies` has `here`, which is no address or block",
            "`ingress.local_ip` is `eth0`, which is no address",
            "`ingress.error_pages` is no place of pages",
            "`ingress.upstream_idle_max` is `many`, which is no number",
            "`d` has no place",
            "two sources of certificates `a`",
            "`e` needs `hosts`",
            "the host `*.io`",
            "`http://x/`; it must be a URL with `https`",
            "`h/i` has the type `acme`",
            "`ingress.matcher` is `regex`",
            "`ingress.no_route_status` is 99",
            "no field `$nope`",
            "`ingress.sts_maxage` is `long`",
            "the type `ldap`",
            "needs `name` and `file`",
            "`ingress.shutdown_grace` is longer than `1h`",
            "`ingress.shutdown_wait` is `-1s`",
        ] {
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{part}: {problems:#?}"
            );
        }
        assert_eq!(problems.len(), 34, "{problems:#?}");
    }

    #[test]
    fn the_admin_address_has_tls_where_it_has_a_source_of_certificates() {
        let of = |settings: &[(&str, &str)]| {
            let mut written = lines(":1", "cs=own;type=path;cert=/etc/certs");
            for (key, value) in settings {
                written.settings.insert((*key).into(), (*value).into());
            }
            let (ingress, problems) = resolved(&written);
            (ingress.admin_tls, problems)
        };
        assert_eq!(of(&[]), (None, Vec::new()));
        let (tls, problems) = of(&[("admin_cs", "own"), ("admin_tlsmin", "tls13")]);
        assert_eq!(problems, Vec::<String>::new());
        let expected = ListenerTls {
            source: "own".into(),
            is_strict: false,
            oldest: Version::Tls13,
            newest: Version::Tls13,
            ciphers: Vec::new(),
        };
        assert_eq!(tls, Some(expected));
        let (tls, problems) = of(&[("admin_strictmatch", "true"), ("admin_tlsmax", "tls12")]);
        assert_eq!((tls, problems.len()), (None, 2), "{problems:?}");
        for (setting, part) in [
            (("admin_tlsmin", "ssl3"), "`tlsmin` of the listener `admin`"),
            (("admin_cs", "lost"), "`ingress.admin_cs` is `lost`"),
        ] {
            let (_, problems) = of(&[("admin_cs", "own"), setting]);
            assert!(
                problems.len() == 1 && problems[0].contains(part),
                "{part}: {problems:?}"
            );
        }
    }

    #[test]
    fn pages_are_files_or_keys() {
        let of = |text: &str| {
            let mut written = WrittenIngress::default();
            written.settings.insert("error_pages".into(), text.into());
            let (ingress, problems) = resolved(&written);
            assert_eq!(problems, Vec::<String>::new());
            ingress.error_pages
        };
        assert_eq!(of(""), None);
        let directory = PagePlace::Directory("/etc/pages".into());
        assert_eq!(of("/etc/pages"), Some(directory));
        let url = "http://127.0.0.1:8500/v1/kv/pages?token=t";
        assert_eq!(of(url), Some(PagePlace::Keys(url.into())));
    }

    #[test]
    fn the_end_is_as_written() {
        let end = |settings: &[(&str, &str)]| {
            let mut written = WrittenIngress::default();
            for (key, value) in settings {
                written.settings.insert((*key).into(), (*value).into());
            }
            let (ingress, problems) = resolved(&written);
            assert_eq!(problems, Vec::<String>::new());
            let shutdown = ingress.shutdown;
            (shutdown.grace.as_secs(), shutdown.wait.as_secs())
        };
        assert_eq!(end(&[]), (0, 30));
        assert_eq!(end(&[("drain_timeout", "5s")]), (0, 5));
        let all = [
            ("drain_timeout", "5s"),
            ("shutdown_grace", "10s"),
            ("shutdown_wait", "1h"),
        ];
        assert_eq!(end(&all), (10, 3600));
    }

    #[test]
    fn an_authority_issues_certificates_for_hosts() {
        let written = lines(
            ":1;cs=own",
            "cs=own;type=acme;hosts=\"Web.io, a.io,web.io\";email=me@web.io;ca=/ca.pem;directory=https://ca.test/dir",
        );
        let (ingress, problems) = resolved(&written);
        assert_eq!(problems, Vec::<String>::new());
        let expected = CertificatePlace::Acme(Authority {
            directory: "https://ca.test/dir".into(),
            hosts: vec!["a.io".into(), "web.io".into()],
            email: Some("me@web.io".into()),
            authorities: Some("/ca.pem".into()),
        });
        assert_eq!(ingress.certificates["own"].place, expected);
    }
}

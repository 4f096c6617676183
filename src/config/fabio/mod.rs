//! The ingress by itself, told what to do by the settings of the ingress that it stands in for:
//! flags, variables of the environment, and a file of properties.
//!
//! [`Standalone::load`] reads all of them at once and makes the same [`Ingress`] of them as a
//! configuration file does, with a place that routes come from. Every key that is published is
//! obeyed, or told in [`Standalone::notes`] with what happens instead, or refused.

mod address;
mod keys;
mod metrics;
mod properties;
mod sources;

use super::{
    External, Problem,
    external::{Consistency, ExternalTls},
    ingress::{self, CertificatePlace, Ingress, ListenerTls, Places, WrittenIngress, keyed},
    pairs,
};
use jobs::model::Span;
use keys::KEYS;
pub use metrics::{MetricsForm, MetricsReceiver, PushedMetrics, RouteNames};
use sources::Settings;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// The longest file of properties, bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Names of settings of the ingress, and the keys that they are set by.
const SAME: [(&str, &str); 24] = [
    ("access_log", "log.access.format"),
    ("access_log_target", "log.access.target"),
    ("admin_access", "ui.access"),
    ("compress", "proxy.gzip.contenttype"),
    ("connect_timeout", "proxy.dialtimeout"),
    ("header_clientip", "proxy.header.clientip"),
    ("header_requestid", "proxy.header.requestid"),
    ("header_tls", "proxy.header.tls"),
    ("header_tls_value", "proxy.header.tls.value"),
    ("host_globs", "glob.matching.disabled"),
    ("local_ip", "proxy.localip"),
    ("matcher", "proxy.matcher"),
    ("no_route_status", "proxy.noroutestatus"),
    ("proxy_addr", "proxy.addr"),
    ("proxy_auth", "proxy.auth"),
    ("proxy_cs", "proxy.cs"),
    ("response_timeout", "proxy.responseheadertimeout"),
    ("shutdown_grace", "proxy.deregistergraceperiod"),
    ("shutdown_wait", "proxy.shutdownwait"),
    ("strategy", "proxy.strategy"),
    ("sts_maxage", "proxy.header.sts.maxage"),
    ("sts_preload", "proxy.header.sts.preload"),
    ("sts_subdomains", "proxy.header.sts.subdomains"),
    ("upstream_idle_max", "proxy.maxconn"),
];
/// The least time between two questions for routes, and the longest that an answer may take.
const ASKED_EVERY: Duration = Duration::from_secs(1);
const ASKED_MAX: Duration = Duration::from_secs(60);
/// Idle connections to a target that are kept where `0` is written, as is published.
const IDLE_USUAL: i64 = 2;
/// How long a target may be silent where that is not to be bounded.
const SILENCE_MAX: &str = "24h";

/// An ingress by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Standalone {
    /// A level.
    pub log_level: String,
    /// How traffic is carried.
    pub ingress: Ingress,
    /// Where its routes come from.
    pub routes: RouteSource,
    /// Listeners that show metrics and nothing else.
    pub metrics: Vec<MetricsListener>,
    /// Where they show them.
    pub metrics_path: String,
    /// Begins the names of metrics that are published elsewhere.
    pub metrics_prefix: String,
    /// Times that answers are sorted by there.
    pub metrics_bounds: Vec<Duration>,
    /// Metrics that are pushed, if any are.
    pub pushed: Option<PushedMetrics>,
    /// What the log says of changes of the routing table.
    pub routes_log: RoutesLog,
    /// What stands before all paths of the admin address but `/health`; empty for nothing.
    pub admin_path: String,
    /// The title of the admin page; empty for the usual one.
    pub title: String,
    /// Keys that are not acted on, with what happens instead.
    pub notes: Vec<String>,
}

/// What the log says when another routing table is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutesLog {
    /// Routes that came and went.
    Delta,
    /// All routes, in the language of routes.
    All,
    /// All routes by host and path, with the shares of their targets.
    Detail,
}

/// A listener that shows metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsListener {
    /// Where.
    pub address: SocketAddr,
    /// TLS ends here.
    pub tls: Option<ListenerTls>,
}

/// Where routes come from.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteSource {
    /// Services and keys of a catalog elsewhere.
    Catalog(Box<CatalogSource>),
    /// What a server elsewhere answers, which is asked again and again.
    Asked(Box<AskedSource>),
    /// A text that never changes.
    Text {
        /// Commands of routes.
        routes: String,
        /// The page for requests without a route.
        page: PageSource,
    },
    /// A file, which is looked at again and again.
    File {
        /// Commands of routes.
        routes: PathBuf,
        /// The page for requests without a route.
        page: PageSource,
    },
}

/// A server that routes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedSource {
    /// What it is asked for.
    pub url: String,
    /// Whatever certificate it has is taken.
    pub is_unverified: bool,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often it is asked.
    pub interval: Duration,
    /// The page for requests without a route.
    pub page: PageSource,
}

/// The page for requests without a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageSource {
    /// This text.
    Text(String),
    /// What stands in a file.
    File(PathBuf),
}

/// A catalog elsewhere that routes come from.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogSource {
    /// How it is asked.
    pub external: External,
    /// Begins the tags that ask for routes.
    pub tag_prefix: String,
    /// The key of commands of routes; keys below it are more of them.
    pub commands_key: String,
    /// The key of the page for requests without a route; keys below it are more of it.
    pub page_key: String,
    /// The checks of an instance that gets requests have one of these statuses.
    pub statuses: Vec<String>,
    /// All of them; one at least if not.
    pub needs_all_checks: bool,
    /// How the ingress is registered there; not at all if none.
    pub registration: Option<Announcement>,
}

/// How the ingress is registered in a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Name of the service.
    pub name: String,
    /// Name of the machine, which tells services of the same name apart.
    pub host: String,
    /// Its address for others.
    pub address: IpAddr,
    /// Its port, if it is not that of the admin address.
    pub port: Option<u16>,
    /// Its tags.
    pub tags: Vec<String>,
    /// How often its health is asked for, as it is written.
    pub check_interval: String,
    /// How long an answer may take, as it is written.
    pub check_timeout: String,
    /// Its health is asked for over TLS.
    pub is_secured: bool,
    /// And whatever certificate it has is taken.
    pub is_unverified: bool,
}

impl Standalone {
    /// The place of the file of properties that the arguments name: a path, or a URL.
    #[must_use]
    pub fn file(arguments: &[String]) -> Option<String> {
        sources::arguments(arguments, &mut Vec::new()).file
    }

    /// Reads everything. `file` is what stands at the place that the arguments name.
    ///
    /// # Errors
    /// Every problem of every source.
    pub fn load(
        arguments: &[String],
        environment: &[(String, String)],
        file: Option<&str>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let arguments = sources::arguments(arguments, &mut problems);
        let label = arguments.file.as_deref().unwrap_or_default();
        let file = file.map(|text| (label, text));
        if file.is_some_and(|(_, text)| text.len() > FILE_BYTES_MAX) {
            problems.push(Problem::new(label, "the file is larger than 1 MiB"));
            return Err(problems);
        }
        let mut settings = Settings::read(&arguments.flags, environment, file, &mut problems);
        let notes = settings.check(&mut problems);
        let mut resolver = Resolver {
            settings: &settings,
            problems: &mut problems,
        };
        let standalone = resolver.resolve(notes);
        match standalone {
            Some(standalone) if problems.is_empty() => Ok(standalone),
            _ => Err(problems),
        }
    }

    /// All keys, with their defaults and what becomes of them.
    #[must_use]
    pub fn help() -> String {
        let mut text = "Usage: fabio [-cfg FILE] [-KEY VALUE]...\n\n\
             Keys are flags (-proxy.addr :80), variables (FABIO_proxy_addr, PROXY_ADDR) and lines of\n\
             the file (proxy.addr = :80); what comes first here wins.\n\n"
            .to_owned();
        for key in KEYS {
            // Writing to a string cannot fail.
            writeln!(text, "  {} = {}", key.name, key.default).ok();
            text.push_str(&key.role.help());
        }
        text
    }
}

struct Resolver<'a> {
    settings: &'a Settings,
    problems: &'a mut Vec<Problem>,
}

impl Resolver<'_> {
    fn wrong(&mut self, key: &str, message: String) {
        self.problems.push(self.settings.problem(key, message));
    }

    fn resolve(&mut self, notes: Vec<String>) -> Option<Standalone> {
        let (admin, admin_tls) = self.admin();
        let listeners = self.items("proxy.addr", "address");
        let (metrics, listeners) = self.metrics(listeners);
        let written = self.ingress(listeners);
        let mut ingress = self.resolved(&written, admin)?;
        ingress.admin_tls = admin_tls;
        self.check_certificates(&ingress);
        self.check_sources(&ingress, &metrics);
        Some(Standalone {
            log_level: self.log_level(),
            routes_log: self.routes_log(),
            routes: self.routes(admin, ingress.admin_tls.is_some()),
            ingress,
            metrics,
            pushed: self.pushed(),
            metrics_prefix: self.metrics_prefix(),
            metrics_bounds: self.metrics_bounds(),
            metrics_path: self.path("metrics.prometheus.path"),
            admin_path: self.path("ui.path"),
            title: self.settings.text("ui.title").to_owned(),
            notes,
        })
    }

    /// The settings of the ingress, under the names that they have in configuration files.
    fn ingress(&mut self, listeners: Vec<BTreeMap<String, String>>) -> WrittenIngress {
        let settings = self.settings;
        let apart = ["proxy_addr", "proxy_cs", "proxy_auth"];
        let mut own = BTreeMap::new();
        for (name, key) in SAME.iter().filter(|(name, _)| !apart.contains(name)) {
            own.insert((*name).to_owned(), settings.text(key).to_owned());
        }
        for (name, key) in [
            ("sts_preload", "proxy.header.sts.preload"),
            ("sts_subdomains", "proxy.header.sts.subdomains"),
        ] {
            own.insert(name.to_owned(), settings.flag(key).to_string());
        }
        let has_globs = !settings.flag("glob.matching.disabled");
        own.insert("host_globs".to_owned(), has_globs.to_string());
        own.insert("local_ip".to_owned(), self.filled("proxy.localip"));
        own.insert("upstream_idle_max".to_owned(), self.idle_max());
        // The pool's own time is shorter than what targets usually allow, and better.
        if let Some(time) = settings.written("proxy.idleconntimeout") {
            own.insert("upstream_idle_timeout".to_owned(), time.to_owned());
        }
        for name in [
            "connect_timeout",
            "response_timeout",
            "upstream_idle_timeout",
        ] {
            // No time is no bound there.
            if let Some(time) = own.get_mut(name)
                && Span::parse(time) == Ok(Span::ZERO)
            {
                SILENCE_MAX.clone_into(time);
            }
        }
        // A format alone writes nothing.
        if settings.written("log.access.target").is_none() {
            own.remove("access_log");
        }
        own.retain(|_, value| !value.is_empty());
        let certificates = self.items("proxy.cs", "cs");
        WrittenIngress {
            enabled: None,
            settings: own,
            listeners,
            certificates: self.certificates(certificates),
            auth: self.items("proxy.auth", "name"),
        }
    }

    /// The ingress as a configuration file would make it; its problems name the keys.
    fn resolved(&mut self, written: &WrittenIngress, admin: SocketAddr) -> Option<Ingress> {
        let places = Places {
            address: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 9999),
            admin,
            bind: Ipv4Addr::UNSPECIFIED.into(),
        };
        let mut problems = Vec::new();
        let ingress = ingress::resolve(written, places, &mut problems);
        for mut problem in problems {
            for (name, key) in SAME {
                let own = format!("`ingress.{name}`");
                problem.message = problem.message.replace(&own, &format!("`{key}`"));
            }
            self.problems.push(self.settings.placed(problem));
        }
        ingress
    }

    /// A text with the templates in it filled in; nothing if they cannot be.
    fn filled(&mut self, key: &str) -> String {
        address::filled(self.settings.text(key)).unwrap_or_else(|reason| {
            self.wrong(key, format!("`{key}`: {reason}"));
            String::new()
        })
    }

    /// How many idle connections to a target are kept, if that is set: none for less than 0.
    fn idle_max(&self) -> String {
        let Some(text) = self.settings.written("proxy.maxconn") else {
            return String::new();
        };
        // What is no number was told before.
        let most = match text.parse().unwrap_or_default() {
            0 => IDLE_USUAL,
            most => most.max(0),
        };
        most.to_string()
    }

    /// The items of a structured value, with the templates in them filled in.
    fn items(&mut self, key: &str, first: &str) -> Vec<BTreeMap<String, String>> {
        let text = self.filled(key);
        match pairs::items(&text) {
            Ok(items) => items.into_iter().map(|item| keyed(item, first)).collect(),
            Err(reason) => {
                self.wrong(key, format!("`{key}`: {reason}"));
                Vec::new()
            }
        }
    }

    /// Takes out the listeners that show metrics, and gives the others the times that hold for all.
    fn metrics(
        &mut self,
        listeners: Vec<BTreeMap<String, String>>,
    ) -> (Vec<MetricsListener>, Vec<BTreeMap<String, String>>) {
        let mut metrics = Vec::new();
        let mut others = Vec::new();
        for mut listener in listeners {
            let address = listener.get("address").cloned().unwrap_or_default();
            let address = address.replace("localhost:", "127.0.0.1:");
            listener.insert("address".to_owned(), address.clone());
            if listener
                .get("proto")
                .is_none_or(|proto| proto != "prometheus")
            {
                for (option, key) in [("rt", "proxy.readtimeout"), ("wt", "proxy.writetimeout")] {
                    if let Some(time) = self.settings.written(key) {
                        let entry = listener.entry(option.to_owned());
                        entry.or_insert_with(|| time.to_owned());
                    }
                }
                // No time is written as none.
                listener.retain(|option, value| {
                    !matches!(option.as_str(), "rt" | "wt" | "it")
                        || Span::parse(value) != Ok(Span::ZERO)
                });
                others.push(listener);
                continue;
            }
            let tls = self.tls("proxy.addr", &address, &listener);
            match ingress::place(&address, Ipv4Addr::UNSPECIFIED.into()) {
                Some(address) => metrics.push(MetricsListener { address, tls }),
                None => {
                    let message = format!(
                        "`proxy.addr`: the listener `{address}` has no address; write `IP:PORT` or `:PORT`"
                    );
                    self.wrong("proxy.addr", message);
                }
            }
        }
        (metrics, others)
    }

    /// Sources of certificates without what means nothing here.
    fn certificates(
        &mut self,
        items: Vec<BTreeMap<String, String>>,
    ) -> Vec<BTreeMap<String, String>> {
        let mut kept = Vec::new();
        for mut item in items {
            let name = item.get("cs").cloned().unwrap_or_default();
            for (option, why) in [
                (
                    "caupgcn",
                    "put the certificate of that name into the file of `clientca`",
                ),
                (
                    "hdr",
                    "lists of certificates are asked for without further headers",
                ),
            ] {
                if item.remove(option).is_some_and(|value| !value.is_empty()) {
                    let message =
                        format!("`proxy.cs`: `{option}` of the source `{name}` is refused: {why}");
                    self.wrong("proxy.cs", message);
                }
            }
            // It belongs to a type that is refused.
            item.remove("vaultfetchtoken");
            kept.push(item);
        }
        kept
    }

    /// Refuses sources of certificates that need an agent around them.
    fn check_certificates(&mut self, ingress: &Ingress) {
        for (name, source) in &ingress.certificates {
            let why = match &source.place {
                CertificatePlace::Acme(_) => {
                    "its type is `acme`, which needs a data directory: use an agent by the name `trivet`"
                }
                CertificatePlace::Consul(place) if !place.contains("://") => {
                    "its type is `consul`, so `cert` has to be a URL: http://HOST:PORT/v1/kv/PREFIX"
                }
                _ => continue,
            };
            let message = format!("`proxy.cs`: the source `{name}` is refused: {why}");
            self.wrong("proxy.cs", message);
        }
    }

    /// How TLS ends at a listener that is written in the value of `key`.
    fn tls(
        &mut self,
        key: &str,
        name: &str,
        item: &BTreeMap<String, String>,
    ) -> Option<ListenerTls> {
        let mut problems = Vec::new();
        let tls = ingress::listener_tls(name, item, &mut problems);
        for problem in problems {
            self.wrong(key, format!("`{key}`: {}", problem.message));
        }
        tls
    }

    /// Refuses listeners outside of the ingress itself whose certificates come from nowhere.
    fn check_sources(&mut self, ingress: &Ingress, metrics: &[MetricsListener]) {
        let metrics = metrics
            .iter()
            .map(|listener| ("proxy.addr", listener.address, &listener.tls));
        let admin = ("ui.addr", ingress.admin, &ingress.admin_tls);
        for (key, address, tls) in metrics.chain([admin]) {
            if let Some(ListenerTls { source, .. }) = tls
                && !ingress.certificates.contains_key(source)
            {
                let message = format!(
                    "`{key}`: the listener `{address}` gets its certificates from `{source}`, which is not configured"
                );
                self.wrong(key, message);
            }
        }
    }

    /// Where the admin API listens, and how TLS ends there.
    fn admin(&mut self) -> (SocketAddr, Option<ListenerTls>) {
        let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let usual = (SocketAddr::new(any, 9998), None);
        let items = self.items("ui.addr", "address");
        let item = match items.as_slice() {
            [] => return usual,
            [item] => item,
            _ => {
                let message = "`ui.addr` has several addresses; there is one".to_owned();
                self.wrong("ui.addr", message);
                return usual;
            }
        };
        let proto = item.get("proto").map(String::as_str);
        let message = match (proto, item.contains_key("cs")) {
            (None, _) | (Some("http"), false) | (Some("https"), true) => None,
            (Some("https"), false) => Some(
                "`ui.addr` speaks `https` and needs certificates: name their source with `cs`"
                    .to_owned(),
            ),
            (Some("http"), true) => Some(
                "`ui.addr` speaks `http`, which has no certificates: leave `cs` out".to_owned(),
            ),
            (Some(other), _) => Some(format!(
                "`ui.addr` has the protocol `{other}`; there are `http` and `https`"
            )),
        };
        if let Some(message) = message {
            self.wrong("ui.addr", message);
        }
        let known = ["address", "proto", "rt", "wt", "it"];
        let is_known = |key: &str| known.contains(&key) || WrittenIngress::TLS.contains(&key);
        for option in item.keys().filter(|key| !is_known(key)) {
            self.wrong(
                "ui.addr",
                format!("`ui.addr` has no option `{option}` here"),
            );
        }
        let text = item.get("address").map_or("", String::as_str);
        let text = text.replace("localhost:", "127.0.0.1:");
        let Some(place) = ingress::place(&text, any) else {
            let message = format!("`ui.addr` is `{text}`; write `IP:PORT` or `:PORT`");
            self.wrong("ui.addr", message);
            return usual;
        };
        (place, self.tls("ui.addr", &text, item))
    }

    fn routes(&mut self, admin: SocketAddr, is_secured: bool) -> RouteSource {
        let settings = self.settings;
        match settings.text("registry.backend") {
            "consul" => RouteSource::Catalog(Box::new(self.catalog(admin, is_secured))),
            "static" => {
                let page = match settings.written("registry.static.noroutehtmlpath") {
                    Some(path) if !path.contains('<') => PageSource::File(path.into()),
                    Some(text) => PageSource::Text(text.to_owned()),
                    None => {
                        PageSource::Text(settings.text("registry.static.noroutehtml").to_owned())
                    }
                };
                RouteSource::Text {
                    routes: settings.text("registry.static.routes").to_owned(),
                    page,
                }
            }
            "file" => {
                let routes = settings.text("registry.file.path");
                if routes.is_empty() {
                    let message =
                        "`registry.backend` is `file`, and `registry.file.path` names none";
                    self.wrong("registry.backend", message.to_owned());
                }
                let page = settings.written("registry.file.noroutehtmlpath");
                RouteSource::File {
                    routes: routes.into(),
                    page: page.map_or(PageSource::Text(String::new()), |path| {
                        PageSource::File(path.into())
                    }),
                }
            }
            "custom" => RouteSource::Asked(Box::new(self.asked())),
            other => {
                let message = format!(
                    "`registry.backend` is `{other}`; there are `consul`, `static`, `file` and `custom`"
                );
                self.wrong("registry.backend", message);
                RouteSource::Text {
                    routes: String::new(),
                    page: PageSource::Text(String::new()),
                }
            }
        }
    }

    /// A server that is asked for routes.
    fn asked(&mut self) -> AskedSource {
        let settings = self.settings;
        let text = |name: &str| settings.text(&format!("registry.custom.{name}"));
        let (scheme, host, path) = (text("scheme"), text("host"), text("path"));
        let query = match text("queryparams") {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let path = path.trim_start_matches('/');
        let url = format!("{scheme}://{host}/{path}{query}");
        let is_fine = matches!(scheme, "http" | "https")
            && !host.is_empty()
            && url::Url::parse(&url).is_ok_and(|url| url.has_host());
        if !is_fine {
            let message = format!(
                "`registry.custom.host` is `{host}` and `registry.custom.scheme` is `{scheme}`; a host, with a port where \
                 it has one, and `http` or `https` are expected"
            );
            self.wrong("registry.custom.host", message);
        }
        // What is no duration was told before.
        let time = |name: &str| {
            let key = format!("registry.custom.{name}");
            super::names::duration(&key, settings.text(&key), &mut Vec::new())
        };
        let (timeout, interval) = (time("timeout"), time("pollinterval"));
        AskedSource {
            url,
            is_unverified: settings.flag("registry.custom.checkTLSSkipVerify"),
            timeout: if timeout.is_zero() {
                ASKED_MAX
            } else {
                timeout
            },
            interval: interval.max(ASKED_EVERY),
            page: settings
                .written("registry.custom.noroutehtml")
                .map_or(PageSource::Text(String::new()), |path| {
                    PageSource::File(path.into())
                }),
        }
    }

    fn catalog(&mut self, admin: SocketAddr, is_secured: bool) -> CatalogSource {
        let settings = self.settings;
        let is_stale = settings.flag("registry.consul.allowStale");
        let is_consistent = settings.flag("registry.consul.requireConsistent");
        if is_stale && is_consistent {
            let message = "`registry.consul.allowStale` and `registry.consul.requireConsistent` are both `true`; set the \
                           second to `false` to read what may be old";
            self.wrong("registry.consul.allowStale", message.to_owned());
        }
        let consistency = match (is_stale, is_consistent) {
            (true, _) => Consistency::Stale,
            (false, true) => Consistency::Consistent,
            (false, false) => Consistency::Default,
        };
        let needs_all_checks = match settings.text("registry.consul.checksRequired") {
            "all" => true,
            "one" => false,
            other => {
                let message = format!(
                    "`registry.consul.checksRequired` is `{other}`; it must be `one` or `all`"
                );
                self.wrong("registry.consul.checksRequired", message);
                false
            }
        };
        let tag_prefix = settings.text("registry.consul.tagprefix").to_owned();
        if tag_prefix.is_empty() {
            let message =
                "`registry.consul.tagprefix` is empty, so that every tag would be a route";
            self.wrong("registry.consul.tagprefix", message.to_owned());
        }
        let mut statuses = settings.list("registry.consul.service.status");
        for status in &statuses {
            if !matches!(status.as_str(), "passing" | "warning" | "critical") {
                let message = format!(
                    "`registry.consul.service.status` has `{status}`; there are `passing`, `warning` and `critical`"
                );
                self.wrong("registry.consul.service.status", message);
            }
        }
        if statuses.is_empty() {
            statuses.push("passing".to_owned());
        }
        let key = |name: &str| settings.text(name).trim_matches('/').to_owned();
        CatalogSource {
            external: self.external(consistency),
            tag_prefix,
            commands_key: key("registry.consul.kvpath"),
            page_key: key("registry.consul.noroutehtmlpath"),
            statuses,
            needs_all_checks,
            registration: self.registration(admin, is_secured),
        }
    }

    fn external(&mut self, consistency: Consistency) -> External {
        let settings = self.settings;
        let written = settings.text("registry.consul.addr");
        let (scheme, rest) = written.split_once("://").unwrap_or(("http", written));
        // What follows the host means nothing.
        let host = rest.split('/').next().unwrap_or_default();
        let whole = url::Url::parse(&format!("{scheme}://{host}")).ok();
        let whole = whole.filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty()
        });
        if whole.is_none() {
            let message = format!(
                "`registry.consul.addr` is `{written}`; HOST:PORT, http://HOST:PORT or https://HOST:PORT is expected"
            );
            self.wrong("registry.consul.addr", message);
        }
        let port = whole.as_ref().and_then(url::Url::port).unwrap_or_else(|| {
            // The library leaves out the port that a scheme has by itself.
            let has_port = host
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            match (has_port, scheme) {
                (true, "https") => 443,
                (true, _) => 80,
                _ => 8500,
            }
        });
        let name = whole
            .as_ref()
            .and_then(url::Url::host_str)
            .unwrap_or_default();
        let file = |key: &str| settings.written(key).map(PathBuf::from);
        let pair = (
            file("registry.consul.tls.certfile"),
            file("registry.consul.tls.keyfile"),
        );
        let identity = match pair {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                let message = "`registry.consul.tls.certfile` and `registry.consul.tls.keyfile` go together; one of them is \
                               missing";
                self.wrong("registry.consul.tls.certfile", message.to_owned());
                None
            }
        };
        External {
            address: format!("{scheme}://{name}:{port}"),
            token: settings.written("registry.consul.token").map(str::to_owned),
            feeds_ingress: true,
            namespace: settings
                .written("registry.consul.namespace")
                .map(str::to_owned),
            consistency,
            tls: ExternalTls {
                authorities: file("registry.consul.tls.cafile"),
                identity,
                is_unverified: settings.flag("registry.consul.tls.insecureskipverify"),
            },
        }
    }

    fn registration(&mut self, admin: SocketAddr, is_secured: bool) -> Option<Announcement> {
        let settings = self.settings;
        if !settings.flag("registry.consul.register.enabled") {
            return None;
        }
        let name = settings.text("registry.consul.register.name").to_owned();
        if name.is_empty() {
            let message = "`registry.consul.register.name` is empty; name the service, or set \
                           `registry.consul.register.enabled` to `false`";
            self.wrong("registry.consul.register.name", message.to_owned());
        }
        let key = "registry.consul.register.addr";
        let place = match settings.written(key).map(address::filled) {
            None => Some(None),
            Some(Ok(text)) => ingress::place(&text, Ipv4Addr::UNSPECIFIED.into()).map(Some),
            Some(Err(reason)) => {
                self.wrong(key, format!("`{key}`: {reason}"));
                Some(None)
            }
        };
        let place = place.unwrap_or_else(|| {
            let written = settings.text(key);
            self.wrong(
                key,
                format!("`{key}` is `{written}`; write `IP:PORT` or `:PORT`"),
            );
            None
        });
        let ip = place.unwrap_or(admin).ip();
        Some(Announcement {
            name,
            host: super::resolve::host_name(),
            address: if ip.is_unspecified() {
                address::outward()
            } else {
                ip
            },
            port: place.map(|place| place.port()),
            tags: settings.list("registry.consul.register.tags"),
            check_interval: settings
                .text("registry.consul.register.checkInterval")
                .to_owned(),
            check_timeout: settings
                .text("registry.consul.register.checkTimeout")
                .to_owned(),
            is_secured,
            is_unverified: settings.flag("registry.consul.register.checkTLSSkipVerify"),
        })
    }

    /// A path without a slash at its end.
    fn path(&mut self, key: &str) -> String {
        let text = self.settings.text(key).trim_end_matches('/');
        let is_plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
        if text.is_empty() {
            return String::new();
        }
        let path = format!("/{}", text.trim_start_matches('/'));
        if !path.chars().all(is_plain) {
            let message = format!(
                "`{key}` is `{text}`; a path of letters, digits, `-`, `_`, `.` and `~` is expected"
            );
            self.wrong(key, message);
            return String::new();
        }
        path
    }

    /// What the log says of routes; the older name of the key counts where the newer is not set.
    fn routes_log(&mut self) -> RoutesLog {
        let keys = ["log.routes.format", "proxy.log.routes"];
        let written = keys.iter().find_map(|key| {
            let text = self.settings.written(key)?;
            Some((*key, text))
        });
        match written {
            None | Some((_, "delta")) => RoutesLog::Delta,
            Some((_, "all")) => RoutesLog::All,
            Some((_, "detail")) => RoutesLog::Detail,
            Some((key, other)) => {
                let message =
                    format!("`{key}` is `{other}`; it must be `delta`, `detail` or `all`");
                self.wrong(key, message);
                RoutesLog::Delta
            }
        }
    }

    fn log_level(&mut self) -> String {
        let text = self.settings.text("log.level");
        match text.to_ascii_lowercase().as_str() {
            level @ ("trace" | "debug" | "info" | "warn" | "error") => level.to_owned(),
            "fatal" => "error".to_owned(),
            _ => {
                let message = format!(
                    "`log.level` is `{text}`; it must be `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`"
                );
                self.wrong("log.level", message);
                "info".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests;

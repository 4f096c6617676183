//! Every published key: what it takes, what it is unless it is set, and what becomes of it.

use super::super::published::Role::{self, Instead, Obeyed, Refused};
use Kind::{Flag, Float, Number, Text, Time};

/// What a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Time,
    Number,
    Float,
}

/// A published key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) role: Role,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, role: Role) -> Key {
    Key {
        name,
        kind,
        default,
        role,
    }
}

const NO_CIRCONUS: Role = Instead("nothing is pushed to Circonus itself");
const NEVER_GIVES_UP: Role =
    Instead("a receiver is looked for at every turn, and the ingress starts without it");
const NO_PROFILE: Role = Instead("no profile is written");
const NO_TRACES: Role = Instead("no traces are made; headers of traces are passed on");
const NO_LINKS: Role = Instead("the table of routes has no links");
const NO_BGP: Role = Instead("no routes are announced");
const STREAMED: Role = Instead("every piece of an answer is passed on as it comes");
const AS_THEY_COME: Role = Instead("messages are passed on piece by piece, whatever their size");
const KEEPS_TRYING: Role =
    Instead("the ingress listens at once, and asks Consul with pauses until it answers");
const AT_ONCE: Role = Instead("changes are waited for, and told the moment they happen");

/// All of them, in order.
pub(super) const KEYS: &[Key] = &[
    key(
        "aws.apigw.cert.cn",
        Text,
        "",
        Refused(
            "certificates of clients are of authorities only: put that of the gateway into the file \
             of `clientca`",
        ),
    ),
    key("bgp.anycastaddresses", Text, "", NO_BGP),
    key("bgp.asn", Number, "65000", NO_BGP),
    key("bgp.certfile", Text, "", NO_BGP),
    key(
        "bgp.enabled",
        Flag,
        "false",
        Refused("routes are not announced here: run a daemon of BGP beside it that asks `/health`"),
    ),
    key("bgp.enablegrpc", Flag, "false", NO_BGP),
    key("bgp.gobgpdcfgfile", Text, "", NO_BGP),
    key("bgp.grpclistenaddress", Text, "127.0.0.1:50051", NO_BGP),
    key("bgp.grpctls", Flag, "false", NO_BGP),
    key("bgp.keyfile", Text, "", NO_BGP),
    key("bgp.listenaddresses", Text, "0.0.0.0", NO_BGP),
    key("bgp.listenport", Number, "179", NO_BGP),
    key("bgp.nexthop", Text, "", NO_BGP),
    key("bgp.peers", Text, "", NO_BGP),
    key("bgp.routerid", Text, "", NO_BGP),
    key(
        "glob.cache.size",
        Number,
        "1000",
        Instead("hosts with `*` are found by an index, which needs no cache"),
    ),
    key("glob.matching.disabled", Flag, "false", Obeyed),
    key(
        "insecure",
        Flag,
        "false",
        Instead("nothing is said about running as root"),
    ),
    key("log.access.format", Text, "common", Obeyed),
    key("log.access.target", Text, "", Obeyed),
    key("log.level", Text, "INFO", Obeyed),
    key("log.routes.format", Text, "delta", Obeyed),
    key("metrics.circonus.apiapp", Text, "fabio", NO_CIRCONUS),
    key("metrics.circonus.apikey", Text, "", NO_CIRCONUS),
    key("metrics.circonus.apiurl", Text, "", NO_CIRCONUS),
    key("metrics.circonus.brokerid", Text, "", NO_CIRCONUS),
    key("metrics.circonus.checkid", Text, "", NO_CIRCONUS),
    key("metrics.circonus.submissionurl", Text, "", NO_CIRCONUS),
    key("metrics.dogstatsd.addr", Text, "", Obeyed),
    key("metrics.graphite.addr", Text, "", Obeyed),
    key("metrics.interval", Time, "30s", Obeyed),
    key(
        "metrics.names",
        Text,
        "{{clean .Service}}.{{clean .Host}}.{{clean .Path}}.{{clean .TargetURL.Host}}",
        Obeyed,
    ),
    key(
        "metrics.prefix",
        Text,
        "{{clean .Hostname}}.{{clean .Exec}}",
        Obeyed,
    ),
    key(
        "metrics.prometheus.buckets",
        Text,
        ".005,.01,.025,.05,.1,.25,.5,1,2.5,5,10",
        Obeyed,
    ),
    key("metrics.prometheus.path", Text, "/metrics", Obeyed),
    key("metrics.prometheus.subsystem", Text, "", Obeyed),
    key("metrics.retry", Time, "500ms", NEVER_GIVES_UP),
    key("metrics.statsd.addr", Text, "", Obeyed),
    key("metrics.target", Text, "", Obeyed),
    key("metrics.timeout", Time, "10s", NEVER_GIVES_UP),
    key("profile.mode", Text, "", NO_PROFILE),
    key("profile.path", Text, "", NO_PROFILE),
    key("proxy.addr", Text, ":9999", Obeyed),
    key("proxy.auth", Text, "", Obeyed),
    key("proxy.cs", Text, "", Obeyed),
    key("proxy.deregistergraceperiod", Time, "0s", Obeyed),
    key("proxy.dialtimeout", Time, "30s", Obeyed),
    key("proxy.flushinterval", Time, "1s", STREAMED),
    key("proxy.globalflushinterval", Time, "0", STREAMED),
    key("proxy.grpcmaxrxmsgsize", Number, "4194304", AS_THEY_COME),
    key("proxy.grpcmaxtxmsgsize", Number, "4194304", AS_THEY_COME),
    key(
        "proxy.grpcshutdowntimeout",
        Time,
        "2s",
        Instead("calls to a target that left the routes go on to their end"),
    ),
    key("proxy.gzip.contenttype", Text, "", Obeyed),
    key("proxy.header.clientip", Text, "", Obeyed),
    key("proxy.header.requestid", Text, "", Obeyed),
    key("proxy.header.sts.maxage", Number, "0", Obeyed),
    key("proxy.header.sts.preload", Flag, "false", Obeyed),
    key("proxy.header.sts.subdomains", Flag, "false", Obeyed),
    key("proxy.header.tls", Text, "", Obeyed),
    key("proxy.header.tls.value", Text, "", Obeyed),
    key("proxy.idleconntimeout", Time, "15s", Obeyed),
    key(
        "proxy.keepalivetimeout",
        Time,
        "0s",
        Instead("connections to targets are probed as the system does by default"),
    ),
    key("proxy.localip", Text, "", Obeyed),
    // The older name of `log.routes.format`.
    key("proxy.log.routes", Text, "", Obeyed),
    key("proxy.matcher", Text, "prefix", Obeyed),
    key("proxy.maxconn", Number, "10000", Obeyed),
    key("proxy.noroutestatus", Number, "404", Obeyed),
    key("proxy.readtimeout", Time, "0s", Obeyed),
    key("proxy.responseheadertimeout", Time, "0s", Obeyed),
    key("proxy.shutdownwait", Time, "0s", Obeyed),
    key("proxy.strategy", Text, "rnd", Obeyed),
    key("proxy.writetimeout", Time, "0s", Obeyed),
    key("registry.backend", Text, "consul", Obeyed),
    key("registry.consul.addr", Text, "localhost:8500", Obeyed),
    key("registry.consul.allowStale", Flag, "false", Obeyed),
    key("registry.consul.checksRequired", Text, "one", Obeyed),
    key("registry.consul.kvpath", Text, "/fabio/config", Obeyed),
    key("registry.consul.namespace", Text, "", Obeyed),
    key(
        "registry.consul.noroutehtmlpath",
        Text,
        "/fabio/noroute.html",
        Obeyed,
    ),
    // The first is what is read, the second what is documented.
    key("registry.consul.pollinterval", Time, "0", AT_ONCE),
    key("registry.consul.pollInterval", Time, "0", AT_ONCE),
    key("registry.consul.register.addr", Text, "", Obeyed),
    key(
        "registry.consul.register.checkDeregisterCriticalServiceAfter",
        Text,
        "90m",
        DEREGISTERED,
    ),
    key("registry.consul.register.checkInterval", Time, "1s", Obeyed),
    key(
        "registry.consul.register.checkTLSSkipVerify",
        Flag,
        "false",
        Obeyed,
    ),
    key("registry.consul.register.checkTimeout", Time, "3s", Obeyed),
    key(
        "registry.consul.register.deregisterCriticalServiceAfter",
        Text,
        "90m",
        DEREGISTERED,
    ),
    key("registry.consul.register.enabled", Flag, "true", Obeyed),
    key("registry.consul.register.name", Text, "fabio", Obeyed),
    key("registry.consul.register.tags", Text, "", Obeyed),
    key("registry.consul.requireConsistent", Flag, "true", Obeyed),
    key("registry.consul.service.status", Text, "passing", Obeyed),
    key(
        "registry.consul.serviceMonitors",
        Number,
        "1",
        Instead("eight services are asked for at a time, and only those that changed"),
    ),
    key("registry.consul.tagprefix", Text, "urlprefix-", Obeyed),
    key("registry.consul.tls.cafile", Text, "", Obeyed),
    key(
        "registry.consul.tls.capath",
        Text,
        "",
        Refused(
            "put the certificates of the directory into one file, and name it in `registry.consul.tls.cafile`",
        ),
    ),
    key("registry.consul.tls.certfile", Text, "", Obeyed),
    key(
        "registry.consul.tls.insecureskipverify",
        Flag,
        "false",
        Obeyed,
    ),
    key("registry.consul.tls.keyfile", Text, "", Obeyed),
    key("registry.consul.token", Text, "", Obeyed),
    key("registry.custom.checkTLSSkipVerify", Flag, "false", Obeyed),
    key("registry.custom.host", Text, "", Obeyed),
    key("registry.custom.noroutehtml", Text, "", Obeyed),
    key("registry.custom.path", Text, "", Obeyed),
    key("registry.custom.pollinterval", Time, "10s", Obeyed),
    key("registry.custom.queryparams", Text, "", Obeyed),
    key("registry.custom.scheme", Text, "https", Obeyed),
    key("registry.custom.timeout", Time, "5s", Obeyed),
    key("registry.file.noroutehtmlpath", Text, "", Obeyed),
    key("registry.file.path", Text, "", Obeyed),
    key("registry.retry", Time, "500ms", KEEPS_TRYING),
    // The first is what is read, the second what is documented.
    key("registry.static.noroutehtml", Text, "", Obeyed),
    key("registry.static.noroutehtmlpath", Text, "", Obeyed),
    key("registry.static.routes", Text, "", Obeyed),
    key("registry.timeout", Time, "10s", KEEPS_TRYING),
    key(
        "runtime.gogc",
        Number,
        "100",
        Instead("memory is given back without a collector"),
    ),
    key(
        "runtime.gomaxprocs",
        Number,
        "-1",
        Instead("a thread for each processor that the process may use carries requests"),
    ),
    key("tracing.CollectorType", Text, "http", NO_TRACES),
    key(
        "tracing.ConnectString",
        Text,
        "http://localhost:9411/api/v1/spans",
        NO_TRACES,
    ),
    key("tracing.SamplerRate", Float, "-1", NO_TRACES),
    key("tracing.ServiceName", Text, "Fabiolb", NO_TRACES),
    key("tracing.SpanHost", Text, "localhost:9998", NO_TRACES),
    key("tracing.SpanName", Text, "", NO_TRACES),
    key("tracing.Topic", Text, "Fabiolb-Kafka-Topic", NO_TRACES),
    key("tracing.TracingEnabled", Flag, "false", NO_TRACES),
    key("ui.access", Text, "rw", Obeyed),
    key("ui.addr", Text, ":9998", Obeyed),
    key(
        "ui.color",
        Text,
        "light-green",
        Instead("the page has the colors of the browser"),
    ),
    key("ui.path", Text, "", Obeyed),
    key("ui.routingtable.source.host", Text, "", NO_LINKS),
    key(
        "ui.routingtable.source.linkenabled",
        Flag,
        "false",
        NO_LINKS,
    ),
    key("ui.routingtable.source.newtab", Flag, "true", NO_LINKS),
    key("ui.routingtable.source.port", Text, "", NO_LINKS),
    key("ui.routingtable.source.scheme", Text, "http", NO_LINKS),
    key("ui.title", Text, "", Obeyed),
];

const DEREGISTERED: Role =
    Instead("a minute after its last sign of life, Consul takes the service out");

/// The key of this name, as it is published.
pub(super) fn of_name(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that somebody may have meant.
pub(super) fn like(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['.', '_', '-'], "");
    let wanted = plain(name);
    let mut names = KEYS.iter().map(|key| key.name);
    names.find(|known| plain(known) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_defaults_are_of_their_kind() {
        for (at, key) in KEYS.iter().enumerate() {
            let again = KEYS.iter().skip(at + 1).any(|other| other.name == key.name);
            assert!(!again, "{}", key.name);
            let is_fine = match key.kind {
                Text => true,
                Flag => matches!(key.default, "true" | "false"),
                Time => jobs::model::Span::parse(key.default).is_ok(),
                Number => key.default.parse::<i64>().is_ok(),
                Float => key.default.parse::<f64>().is_ok(),
            };
            assert!(is_fine, "{}: {}", key.name, key.default);
        }
        assert_eq!(like("Proxy_Addr"), Some("proxy.addr"));
        assert_eq!(like("proxy.port"), None);
    }
}

use super::super::published::Role;
use super::*;
use crate::{Shutdown, Strategy};
use proptest::{
    prelude::{ProptestConfig, prop_assert, prop_oneof, proptest},
    strategy::Strategy as _,
};
use std::time::Duration;

/// What came of flags, with or without a leading dash.
fn load(flags: &[&str]) -> Result<Standalone, Vec<String>> {
    load_from(flags, &[], None)
}

fn load_from(
    flags: &[&str],
    environment: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Standalone, Vec<String>> {
    let flags = flags.iter().copied();
    let file_flag = file.map(|_| "-cfg=fabio.properties");
    let arguments: Vec<String> = file_flag
        .into_iter()
        .chain(flags)
        .map(str::to_owned)
        .collect();
    let environment: Vec<(String, String)> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let loaded = Standalone::load(&arguments, &environment, file);
    loaded.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn catalog(standalone: &Standalone) -> &CatalogSource {
    match &standalone.routes {
        RouteSource::Catalog(catalog) => catalog,
        other => panic!("no catalog: {other:?}"),
    }
}

#[test]
fn without_any_setting_it_is_as_published() {
    let standalone = load(&[]).unwrap();
    assert_eq!(standalone.notes, Vec::<String>::new());
    let ingress = &standalone.ingress;
    let listeners: Vec<String> = ingress
        .listeners
        .iter()
        .map(|listener| listener.address.to_string())
        .collect();
    assert_eq!(listeners, ["0.0.0.0:9999"]);
    assert_eq!(ingress.admin.to_string(), "0.0.0.0:9998");
    assert_eq!(ingress.strategy, Strategy::Random);
    assert_eq!(ingress.access_log, None);
    let none = Shutdown {
        grace: Duration::ZERO,
        wait: Duration::ZERO,
    };
    assert_eq!(ingress.shutdown, none);
    assert_eq!(ingress.timeouts.connect, Some(Duration::from_secs(30)));
    assert_eq!(ingress.timeouts.upstream_idle, None);
    assert_eq!(
        (ingress.target_idle_max, ingress.own_headers.by),
        (None, None)
    );
    let source = catalog(&standalone);
    assert_eq!(source.external.address, "http://localhost:8500");
    assert_eq!(source.external.consistency, Consistency::Consistent);
    assert_eq!(
        (source.commands_key.as_str(), source.page_key.as_str()),
        ("fabio/config", "fabio/noroute.html")
    );
    let registration = source.registration.as_ref().unwrap();
    assert_eq!(
        (registration.name.as_str(), registration.port),
        ("fabio", None)
    );
}

/// What of the result a row of the table looks at.
type Shown = fn(&Standalone) -> String;

#[test]
fn keys_are_obeyed() {
    let rows: &[(&str, &str, Shown, &str)] = &[
        (
            "proxy.addr",
            ":80,127.0.0.1:81;proto=tcp",
            |s| {
                let all = s.ingress.listeners.iter();
                let all = all.map(|l| format!("{} {:?}", l.address, l.protocol));
                all.collect::<Vec<_>>().join(", ")
            },
            "0.0.0.0:80 Http, 127.0.0.1:81 Tcp",
        ),
        (
            "proxy.addr",
            ":80;rt=5s;wt=0s",
            |s| {
                format!(
                    "{:?}",
                    (
                        s.ingress.listeners[0].read_timeout,
                        s.ingress.listeners[0].write_timeout
                    )
                )
            },
            "(Some(5s), None)",
        ),
        (
            "proxy.addr",
            ":80,localhost:9100;proto=prometheus",
            |s| {
                let metrics = s.metrics.iter().map(|listener| listener.address);
                let metrics = metrics.collect::<Vec<_>>();
                format!("{} {metrics:?}", s.ingress.listeners.len())
            },
            "1 [127.0.0.1:9100]",
        ),
        (
            "proxy.readtimeout",
            "7s",
            |s| format!("{:?}", s.ingress.listeners[0].read_timeout),
            "Some(7s)",
        ),
        (
            "proxy.writetimeout",
            "8s",
            |s| format!("{:?}", s.ingress.listeners[0].write_timeout),
            "Some(8s)",
        ),
        (
            "proxy.cs",
            "cs=a;type=path;cert=/certs;refresh=5s",
            |s| match &s.ingress.certificates["a"].place {
                CertificatePlace::Path(path) => path.display().to_string(),
                other => format!("{other:?}"),
            },
            "/certs",
        ),
        (
            "proxy.cs",
            "cs=a;type=consul;cert=http://c:8500/v1/kv/certs?token=t",
            |s| format!("{:?}", s.ingress.certificates["a"].place),
            "Consul(\"http://c:8500/v1/kv/certs?token=t\")",
        ),
        (
            "proxy.auth",
            "name=team;type=basic;file=/users",
            |s| s.ingress.auth["team"].file.display().to_string(),
            "/users",
        ),
        (
            "proxy.maxconn",
            "50",
            |s| format!("{:?}", s.ingress.target_idle_max),
            "Some(50)",
        ),
        (
            "proxy.maxconn",
            "0",
            |s| format!("{:?}", s.ingress.target_idle_max),
            "Some(2)",
        ),
        (
            "proxy.maxconn",
            "-1",
            |s| format!("{:?}", s.ingress.target_idle_max),
            "Some(0)",
        ),
        (
            "proxy.localip",
            "203.0.113.9",
            |s| format!("{:?}", s.ingress.own_headers.by),
            "Some(203.0.113.9)",
        ),
        (
            "proxy.localip",
            "{{ GetInterfaceIP \"lo\" }}",
            |s| format!("{:?}", s.ingress.own_headers.by),
            "Some(127.0.0.1)",
        ),
        (
            "proxy.strategy",
            "rr",
            |s| format!("{:?}", s.ingress.strategy),
            "RoundRobin",
        ),
        (
            "proxy.matcher",
            "iprefix",
            |s| format!("{:?}", s.ingress.matching.paths),
            "PrefixFolded",
        ),
        (
            "glob.matching.disabled",
            "true",
            |s| s.ingress.matching.has_host_globs.to_string(),
            "false",
        ),
        (
            "proxy.noroutestatus",
            "410",
            |s| s.ingress.no_route_status.to_string(),
            "410",
        ),
        (
            "proxy.shutdownwait",
            "1m",
            |s| format!("{:?}", s.ingress.shutdown.wait),
            "60s",
        ),
        (
            "proxy.deregistergraceperiod",
            "20s",
            |s| format!("{:?}", s.ingress.shutdown.grace),
            "20s",
        ),
        (
            "proxy.dialtimeout",
            "2s",
            |s| format!("{:?}", s.ingress.timeouts.connect),
            "Some(2s)",
        ),
        (
            "proxy.responseheadertimeout",
            "9s",
            |s| format!("{:?}", s.ingress.timeouts.response),
            "Some(9s)",
        ),
        (
            "proxy.responseheadertimeout",
            "0",
            |s| format!("{:?}", s.ingress.timeouts.response),
            "Some(86400s)",
        ),
        (
            "proxy.idleconntimeout",
            "3s",
            |s| format!("{:?}", s.ingress.timeouts.upstream_idle),
            "Some(3s)",
        ),
        (
            "proxy.header.clientip",
            "X-C",
            |s| format!("{:?}", s.ingress.own_headers.client_ip),
            "Some(\"X-C\")",
        ),
        (
            "proxy.header.requestid",
            "X-R",
            |s| format!("{:?}", s.ingress.own_headers.request_id),
            "Some(\"X-R\")",
        ),
        (
            "proxy.header.tls",
            "X-T",
            |s| format!("{:?}", s.ingress.own_headers.tls),
            "Some((\"X-T\", \"\"))",
        ),
        (
            "proxy.header.sts.maxage",
            "60",
            |s| format!("{:?}", s.ingress.own_headers.transport_security),
            "Some(\"max-age=60\")",
        ),
        (
            "proxy.gzip.contenttype",
            "^text/",
            |s| format!("{:?}", s.ingress.compress),
            "Some(\"^text/\")",
        ),
        (
            "log.access.target",
            "stdout",
            |s| {
                s.ingress.access_log.as_ref().map_or(String::new(), |log| {
                    format!("{} {:?}", log.format, log.file)
                })
            },
            "common None",
        ),
        ("log.level", "FATAL", |s| s.log_level.clone(), "error"),
        ("log.level", "warn", |s| s.log_level.clone(), "warn"),
        (
            "metrics.target",
            "prometheus",
            |s| s.metrics_path.clone(),
            "/metrics",
        ),
        (
            "metrics.prometheus.path",
            "m/x/",
            |s| s.metrics_path.clone(),
            "/m/x",
        ),
        (
            "metrics.prefix",
            "Edge-1.example",
            |s| s.metrics_prefix.clone(),
            "edge_1_example",
        ),
        (
            "metrics.prefix",
            "edge-{{clean .Exec}}",
            |s| s.metrics_prefix.clone(),
            "edge_fabio",
        ),
        (
            "metrics.prometheus.subsystem",
            "lb",
            |s| s.metrics_prefix.clone(),
            "fabio_lb",
        ),
        (
            "metrics.prometheus.buckets",
            ".5, 2",
            |s| format!("{:?}", s.metrics_bounds),
            "[500ms, 2s]",
        ),
        (
            "metrics.target",
            "stdout,prometheus,label,flat",
            |s| {
                let pushed = s.pushed.as_ref().unwrap();
                let receivers = pushed.receivers.iter();
                let receivers = receivers.map(|one| format!("{:?} {:?}", one.form, one.address));
                receivers.collect::<Vec<_>>().join(", ")
            },
            "Plain None, Tags None",
        ),
        (
            "registry.consul.addr",
            "https://c.example/x",
            |s| catalog(s).external.address.clone(),
            "https://c.example:8500",
        ),
        (
            "registry.consul.addr",
            "10.0.0.1:80",
            |s| catalog(s).external.address.clone(),
            "http://10.0.0.1:80",
        ),
        (
            "registry.consul.token",
            "secret",
            |s| format!("{:?}", catalog(s).external.token),
            "Some(\"secret\")",
        ),
        (
            "registry.consul.namespace",
            "team",
            |s| format!("{:?}", catalog(s).external.namespace),
            "Some(\"team\")",
        ),
        (
            "registry.consul.requireConsistent",
            "false",
            |s| format!("{:?}", catalog(s).external.consistency),
            "Default",
        ),
        (
            "registry.consul.tls.cafile",
            "/ca.pem",
            |s| format!("{:?}", catalog(s).external.tls.authorities),
            "Some(\"/ca.pem\")",
        ),
        (
            "registry.consul.tls.insecureskipverify",
            "true",
            |s| catalog(s).external.tls.is_unverified.to_string(),
            "true",
        ),
        (
            "registry.consul.kvpath",
            "/my/routes/",
            |s| catalog(s).commands_key.clone(),
            "my/routes",
        ),
        (
            "registry.consul.noroutehtmlpath",
            "/my/page",
            |s| catalog(s).page_key.clone(),
            "my/page",
        ),
        (
            "registry.consul.tagprefix",
            "p-",
            |s| catalog(s).tag_prefix.clone(),
            "p-",
        ),
        (
            "registry.consul.service.status",
            "passing, warning",
            |s| catalog(s).statuses.join("+"),
            "passing+warning",
        ),
        (
            "registry.consul.checksRequired",
            "all",
            |s| catalog(s).needs_all_checks.to_string(),
            "true",
        ),
        (
            "registry.consul.register.enabled",
            "false",
            |s| format!("{:?}", catalog(s).registration),
            "None",
        ),
        (
            "registry.consul.register.name",
            "edge",
            |s| catalog(s).registration.as_ref().unwrap().name.clone(),
            "edge",
        ),
        (
            "registry.consul.register.addr",
            "10.1.1.1:99",
            |s| {
                format!(
                    "{:?}",
                    catalog(s)
                        .registration
                        .as_ref()
                        .map(|r| (r.address, r.port))
                        .unwrap()
                )
            },
            "(10.1.1.1, Some(99))",
        ),
        (
            "registry.consul.register.tags",
            "a,, b",
            |s| catalog(s).registration.as_ref().unwrap().tags.join("+"),
            "a+b",
        ),
        (
            "registry.consul.register.checkInterval",
            "5s",
            |s| {
                catalog(s)
                    .registration
                    .as_ref()
                    .unwrap()
                    .check_interval
                    .clone()
            },
            "5s",
        ),
        (
            "registry.consul.register.checkTimeout",
            "6s",
            |s| {
                catalog(s)
                    .registration
                    .as_ref()
                    .unwrap()
                    .check_timeout
                    .clone()
            },
            "6s",
        ),
        (
            "ui.addr",
            "127.0.0.1:1",
            |s| s.ingress.admin.to_string(),
            "127.0.0.1:1",
        ),
        (
            "ui.access",
            "ro",
            |s| s.ingress.admin_is_read_only.to_string(),
            "true",
        ),
        (
            "registry.consul.register.checkTLSSkipVerify",
            "true",
            |s| {
                let registration = catalog(s).registration.as_ref().unwrap();
                format!("{} {}", registration.is_secured, registration.is_unverified)
            },
            "false true",
        ),
        (
            "log.routes.format",
            "all",
            |s| format!("{:?}", s.routes_log),
            "All",
        ),
        (
            "proxy.log.routes",
            "detail",
            |s| format!("{:?}", s.routes_log),
            "Detail",
        ),
        ("ui.path", "/fabio/", |s| s.admin_path.clone(), "/fabio"),
        ("ui.title", "edge 1", |s| s.title.clone(), "edge 1"),
    ];
    for (key, value, shown, expected) in rows {
        let flag = format!("-{key}={value}");
        let standalone = load(&[&flag]).unwrap_or_else(|problems| panic!("{flag}: {problems:?}"));
        assert_eq!(shown(&standalone), *expected, "{flag}");
        assert_eq!(standalone.notes, Vec::<String>::new(), "{flag}");
    }
}

#[test]
fn the_admin_address_and_metrics_may_have_certificates() {
    let standalone = load(&[
        "-proxy.cs=cs=own;type=path;cert=/certs",
        "-ui.addr=:1;proto=https;cs=own;tlsmin=tls13;strictmatch=true",
        "-proxy.addr=:2,:3;proto=prometheus;cs=own",
    ]);
    let standalone = standalone.unwrap();
    let admin = standalone.ingress.admin_tls.as_ref().unwrap();
    assert!(admin.source == "own" && admin.is_strict && admin.oldest == admin.newest);
    let metrics = standalone.metrics[0].tls.as_ref().unwrap();
    assert!(metrics.source == "own" && !metrics.is_strict);
    let registration = catalog(&standalone).registration.as_ref().unwrap();
    assert!(registration.is_secured && !registration.is_unverified);
    for (value, part) in [
        (":1;proto=https", "needs certificates"),
        (":1;proto=http;cs=own", "has no certificates"),
        (":1;proto=tcp", "the protocol `tcp`"),
        (":1;cs=own;tlsmin=old", "`ui.addr`: `tlsmin`"),
        (":1;cs=own;pxyproto=true", "no option `pxyproto`"),
    ] {
        let flags = ["-proxy.cs=cs=own;type=path;cert=/certs", "-ui.addr", value];
        let problems = load(&flags).unwrap_err();
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{part}: {problems:?}"
        );
    }
    let problems = load(&["-proxy.addr=:3;proto=prometheus;cs=own"]).unwrap_err();
    assert!(
        problems[0].contains("from `own`, which is not configured"),
        "{problems:?}"
    );
}

#[test]
fn metrics_are_pushed_as_they_are_named() {
    let standalone = load(&[
        "-metrics.target=statsd_raw, dogstatsd,graphite",
        "-metrics.statsd.addr=:8125",
        "-metrics.dogstatsd.addr=[::1]:8126",
        "-metrics.graphite.addr=graphite.example:2003",
        "-metrics.prefix=edge.",
        "-metrics.names={{.Service}}",
        "-metrics.interval=10s",
    ]);
    let pushed = standalone.unwrap().pushed.unwrap();
    let receiver = |form, address: &str| MetricsReceiver {
        form,
        address: Some(address.into()),
    };
    assert_eq!(
        pushed.receivers,
        [
            receiver(MetricsForm::Plain, "localhost:8125"),
            receiver(MetricsForm::Tags, "[::1]:8126"),
            receiver(MetricsForm::Graphite, "graphite.example:2003"),
        ]
    );
    assert_eq!(
        (pushed.prefix.as_str(), pushed.interval),
        ("edge.", Duration::from_secs(10))
    );
    assert_eq!(pushed.names.filled("web", "", "/", "http://h/"), "web");
    // The host, and the program.
    let standalone = load(&["-metrics.target=stdout"]).unwrap();
    let prefix = standalone.pushed.unwrap().prefix;
    assert!(
        prefix.ends_with(".fabio") && !prefix.contains("{{"),
        "{prefix}"
    );
    assert_eq!(standalone.metrics_prefix, "fabio");
    assert_eq!(load(&[]).unwrap().pushed, None);
    for (flags, part) in [
        (
            ["-metrics.target=statsd_raw", "-metrics.statsd.addr=nobody"],
            "`metrics.statsd.addr` is `nobody`; it must be a host",
        ),
        (
            ["-metrics.target=circonus", "-metrics.circonus.apikey="],
            "`metrics.target` has `circonus`, which is not pushed to",
        ),
        (
            ["-metrics.target=log", "-metrics.prefix=x"],
            "`metrics.target` has `log`, which is none",
        ),
        (
            ["-metrics.target=", "-metrics.prefix={{.User}}"],
            "`metrics.prefix`: `{{.User}}` is not understood",
        ),
    ] {
        let problems = load(&flags).unwrap_err();
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{part}: {problems:?}"
        );
    }
}

#[test]
fn every_published_key_is_obeyed_or_told_or_refused() {
    for key in KEYS {
        let value = match key.kind {
            keys::Kind::Text => "/x",
            keys::Kind::Flag if key.default == "true" => "false",
            keys::Kind::Flag => "true",
            keys::Kind::Time => "77s",
            keys::Kind::Number | keys::Kind::Float => "77",
        };
        let loaded = load(&[&format!("--{}={value}", key.name)]);
        let named = format!("`{}`", key.name);
        match (key.role, loaded) {
            // Some of them take certain words only.
            (Role::Obeyed, Ok(standalone)) => assert_eq!(standalone.notes, Vec::<String>::new()),
            (Role::Obeyed, Err(problems)) | (Role::Refused(_), Err(problems)) => {
                let is_named = problems.iter().any(|problem| problem.contains(&named));
                assert!(
                    is_named || key.name.starts_with("proxy."),
                    "{named}: {problems:?}"
                );
            }
            (Role::Instead(what), Ok(standalone)) => {
                let note = format!("{named} is not acted on: {what}");
                assert_eq!(standalone.notes, [note]);
            }
            (role, loaded) => panic!("{named} is {role:?}: {loaded:?}"),
        }
        // The published default is no reason for a word.
        let standalone = load(&[&format!("-{}={}", key.name, key.default)]);
        assert_eq!(
            standalone.map(|standalone| standalone.notes),
            Ok(Vec::new()),
            "{named}"
        );
    }
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let file = "proxy.addr = :1\nui.addr = :2\nproxy.strategy = rr\nproxy.matcher = glob\n";
    let environment = [
        ("UI_ADDR", ":4"),
        ("fabio_Ui_Addr", ":5"),
        ("proxy_strategy", "rnd"),
        ("PROXY_ADDR", ":6"),
    ];
    let flags = ["--proxy.addr", ":7", "-insecure"];
    let standalone = load_from(&flags, &environment, Some(file)).unwrap();
    let ingress = &standalone.ingress;
    assert_eq!(ingress.listeners[0].address.port(), 7);
    assert_eq!(ingress.admin.port(), 5);
    assert_eq!(ingress.strategy, Strategy::Random);
    assert_eq!(ingress.matching.paths, proxy::route::PathMatcher::Glob);
    assert_eq!(standalone.notes.len(), 1, "{:?}", standalone.notes);
    assert_eq!(
        Standalone::file(&["-cfg".to_owned(), "\"http://x/y\"".to_owned()]).as_deref(),
        Some("http://x/y")
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let file = "proxy.port = 1\nproxy.Addr = :1\nproxy.shutdownwait = 5\nui.access = none\nregistry.backend = etcd\nlog.access.format = ${\n";
    let environment = [("FABIO_INSECURE", "maybe")];
    let flags = [
        "-proxy.cs",
        "cs=v;type=vault;cert=x;vaultfetchtoken=env:T,cs=w;type=path;cert=/x;caupgcn=CN",
        "-bgp.enabled",
        "-proxy.addr=:1;proto=https;cs=none,:2;proto=prometheus;cs=w",
        "-metrics.target=graphite,statsd",
        "-metrics.names={{.Port}}",
        "-metrics.interval=1ms",
        "-metrics.prometheus.buckets=1,1",
        "-ui.addr=:1;cs=lost",
        "-proxy.dialtimeout",
    ];
    let problems = load_from(&flags, &environment, Some(file)).unwrap_err();
    for part in [
        "fabio.properties:1,1: there is no key `proxy.port`; `-help`",
        "fabio.properties:2,1: there is no key `proxy.Addr`; did you mean `proxy.addr`?",
        "fabio.properties:3,1: `proxy.shutdownwait` is `5`; it must be a duration",
        "fabio.properties:4,1: `ui.access` is `none`; it must be `rw` or `ro`",
        "fabio.properties:5,1: `registry.backend` is `etcd`",
        "fabio.properties:6,1: a `${` is not closed",
        "variable FABIO_INSECURE: `insecure` is `maybe`",
        "no vault is asked here",
        "`caupgcn` of the source `w` is refused",
        "command line: `bgp.enabled` is refused",
        "from `none`, which is not configured",
        "`metrics.target` has `graphite`, and `metrics.graphite.addr` names nobody",
        "`metrics.target` has `statsd`, which is no more: write `statsd_raw`",
        "command line: `metrics.names`: `{{.Port}}` is not understood",
        "`metrics.interval` is `1ms`; it must be from `100ms` to `1h`",
        "`metrics.prometheus.buckets` is `1,1`; at most 64 rising",
        "`ui.addr`: the listener `0.0.0.0:1` gets its certificates from `lost`",
        "command line: `-proxy.dialtimeout` has no value",
    ] {
        let found = problems.iter().any(|problem| problem.contains(part));
        assert!(found, "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 18, "{problems:#?}");
    let both = load(&[
        "-registry.consul.tagprefix=",
        "-registry.consul.allowStale",
        "-registry.consul.tls.certfile=/c",
        "-registry.consul.register.name=",
    ]);
    assert_eq!(both.unwrap_err().len(), 4);
    let commands = load(&["agent"]).unwrap_err();
    assert!(commands[0].contains("takes flags only"), "{commands:?}");
}

#[test]
fn other_backends_need_no_catalog() {
    let standalone = load(&[
        "-registry.backend=static",
        "-registry.static.routes=route add a / http://1.2.3.4:5/",
        "-registry.static.noroutehtmlpath=<p>none</p>",
    ]);
    let routes = RouteSource::Text {
        routes: "route add a / http://1.2.3.4:5/".to_owned(),
        page: PageSource::Text("<p>none</p>".to_owned()),
    };
    assert_eq!(standalone.unwrap().routes, routes);
    let standalone = load(&["-registry.backend=file", "-registry.file.path=/routes"]);
    let routes = RouteSource::File {
        routes: "/routes".into(),
        page: PageSource::Text(String::new()),
    };
    assert_eq!(standalone.unwrap().routes, routes);
    let standalone = load(&[
        "-registry.backend=custom",
        "-registry.custom.host=routes.example:8080",
        "-registry.custom.scheme=http",
        "-registry.custom.path=v1/routes",
        "-registry.custom.queryparams=env=prod",
        "-registry.custom.pollinterval=2s",
        "-registry.custom.checkTLSSkipVerify",
        "-registry.custom.noroutehtml=/page",
    ]);
    let asked = AskedSource {
        url: "http://routes.example:8080/v1/routes?env=prod".to_owned(),
        is_unverified: true,
        timeout: Duration::from_secs(5),
        interval: Duration::from_secs(2),
        page: PageSource::File("/page".into()),
    };
    assert_eq!(
        standalone.unwrap().routes,
        RouteSource::Asked(Box::new(asked))
    );
    let nobody = load(&["-registry.backend=custom"]).unwrap_err();
    assert!(
        nobody[0].contains("`registry.custom.host` is ``"),
        "{nobody:?}"
    );
    let nothing = load(&["-registry.backend=file"]).unwrap_err();
    assert!(
        nothing[0].contains("`registry.file.path` names none"),
        "{nothing:?}"
    );
}

/// A text with much of what means something in a setting.
fn text() -> impl proptest::strategy::Strategy<Value = String> {
    let words = [
        "proxy.addr",
        "proxy.cs",
        "registry.static.routes",
        "ui.addr",
        "-",
        "--",
        "=",
        ":",
        ";",
        ",",
        " ",
        "\\",
        "\n",
        "\"",
        "'",
        "${",
        "}",
        "{{",
        "}}",
        "GetPrivateIP",
        "#",
        "!",
        "\\u00",
        "cs",
        "proto",
        "prometheus",
        "1s",
        "[::1]:80",
        ":9999",
        "http://",
        "a",
        "\u{e9}",
    ];
    let word = prop_oneof![
        4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => ".{0,3}",
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_read_or_refused(
        arguments in proptest::collection::vec(text(), 0..6),
        values in proptest::collection::vec(text(), 3),
        file in text(),
    ) {
        let names = ["FABIO_PROXY_ADDR", "UI_ADDR", "proxy_cs"];
        let names = names.map(str::to_owned);
        let environment: Vec<_> = names.into_iter().zip(values).collect();
        if let Err(problems) = Standalone::load(&arguments, &environment, Some(&file)) {
            prop_assert!(!problems.is_empty());
        }
    }
}

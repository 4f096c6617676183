use super::*;
use crate::{Https, RpcSecurity};
use keys::{of_flag, of_name};
use proptest::prelude::*;

fn loaded(files: &[(&str, &str)], flags: &[&str]) -> Result<Config, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = Vec::new();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        arguments.extend(["-config-file".to_owned(), path.display().to_string()]);
    }
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let place = format!("{}/", dir.path().display());
    load(&arguments).map_err(|problems| {
        let lines = problems
            .iter()
            .map(|problem| problem.to_string().replace(&place, ""));
        lines.collect()
    })
}

fn refused(text: &str, flags: &[&str]) -> Vec<String> {
    loaded(&[("a.hcl", text)], flags).unwrap_err()
}

const SERVER: &str = r#"
node_name = "one"
datacenter = "East"
data_dir = "/var/lib/consul"
server = true
bootstrap_expect = 3
retry_join = ["10.0.0.2", "10.0.0.3:8301", "10.0.0.4:9300"]
bind_addr = "10.0.0.1"
client_addr = "0.0.0.0"
encrypt = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
log_level = "WARN"
node_meta { rack = "r1" }
ports { grpc = 8502 }
addresses { dns = "127.0.0.1" }
recursors = ["9.9.9.9"]
domain = "example."
dns_config {
  node_ttl = "5s"
  service_ttl { "*" = "10s" }
  soa { min_ttl = 30 }
}
performance { raft_multiplier = 1 }
connect { enabled = true }
ui_config { enabled = true }
service { name = "web" port = 80 }
services { name = "db" }
"#;

#[test]
fn a_published_file_of_a_server_resolves() {
    let config = loaded(&[("a.hcl", SERVER)], &[]).unwrap();
    assert_eq!(config.part, Part::Catalog);
    assert_eq!(
        (config.name.as_str(), config.datacenter.as_str()),
        ("one", "east")
    );
    assert_eq!(config.http, None);
    assert_eq!(config.ingress, None);
    assert_eq!(config.catalog.unwrap().to_string(), "0.0.0.0:8500");
    assert_eq!(config.rpc.to_string(), "10.0.0.1:8300");
    assert_eq!(config.rpc_security, RpcSecurity::Plain);
    assert_eq!(config.log_level, "warn");
    let server = config.server.unwrap();
    assert_eq!(server.bootstrap_expect, 3);
    assert_eq!(
        server.join,
        ["10.0.0.2:8300", "10.0.0.3:8300", "10.0.0.4:9300"]
    );
    let client = config.client.unwrap();
    assert!(!client.takes_jobs);
    assert_eq!(client.meta["rack"], "r1");
    let dns = config.dns.unwrap();
    assert_eq!(dns.address.to_string(), "127.0.0.1:8600");
    assert_eq!(
        (dns.domain.as_str(), dns.min_ttl.as_secs()),
        ("example", 30)
    );
    assert_eq!(dns.service_ttl["*"].as_secs(), 10);
    let defined = &config.registration.defined[0].1;
    assert_eq!(defined["service"]["name"], "web");
    assert_eq!(defined["services"]["name"], "db");
    let notes = config.notes.join("\n");
    for name in ["encrypt", "performance", "ports.grpc", "ui_config.enabled"] {
        assert!(
            notes.contains(&format!("`{name}` is not acted on: ")),
            "{name}: {notes}"
        );
    }
    assert!(!notes.contains("`connect"), "{notes}");
    assert!(
        notes.contains("connections between agents are plain"),
        "{notes}"
    );
}

#[test]
fn a_suite_of_tests_starts_its_agent_with_json() {
    let text = r#"{"node_name":"node-1","node_id":"3e6aa222-df32-4515-c5c5-ea131ec8c455","performance":{"raft_multiplier":1},"bootstrap":true,"server":true,
        "data_dir":"/tmp/data","segments":null,"disable_update_check":true,"log_level":"debug","bind_addr":"127.0.0.1",
        "addresses":{},"ports":{"dns":7001,"http":7002,"https":7003,"serf_lan":7004,"serf_wan":7005,"server":7006,"grpc":7007},
        "acl":{"tokens":{}},"connect":{"enabled":true,"ca_config":{"cluster_id":"1"}},"skip_leave_on_interrupt":true,
        "peering":{"enabled":true},"version":"1.22.0"}"#;
    let config = loaded(&[("config.json", text)], &[]).unwrap();
    assert_eq!(config.catalog.unwrap().to_string(), "127.0.0.1:7002");
    assert_eq!(config.dns.unwrap().address.to_string(), "127.0.0.1:7001");
    assert_eq!(config.rpc.to_string(), "127.0.0.1:7006");
    assert_eq!(config.https, None);
    assert_eq!(config.rpc_security, RpcSecurity::Loopback);
    let notes = config.notes.join("\n");
    assert!(notes.contains("`ports.https` is not acted on"), "{notes}");
}

#[test]
fn flags_win_over_files_and_later_files_over_earlier_ones() {
    let files = [
        (
            "a.hcl",
            "datacenter = \"one\"\nnode_name = \"a\"\nretry_join = [\"10.0.0.1\"]\ndata_dir = \"/a\"",
        ),
        (
            "b.json",
            r#"{"datacenter": "two", "retry_join": "10.0.0.2", "check": {"name": "c", "ttl": "10s"}}"#,
        ),
    ];
    let flags = [
        "-datacenter=three",
        "-retry-join",
        "10.0.0.3",
        "-http-port",
        "18500",
        "-dns-port=-1",
        "-client",
        "{{ GetAllInterfaces | include \"flags\" \"loopback\" | include \"type\" \"ipv4\" | attr \"address\" }}",
        "--node-meta",
        "rack:r1",
        "-node-meta=zone:z",
        "-enable-script-checks",
        "-hcl",
        "recursors = [\"8.8.8.8\"]",
    ];
    let config = loaded(&files, &flags).unwrap();
    assert_eq!(
        (config.name.as_str(), config.datacenter.as_str()),
        ("a", "three")
    );
    assert_eq!(config.server, None);
    assert_eq!(
        config.servers,
        ["10.0.0.1:8300", "10.0.0.2:8300", "10.0.0.3:8300"]
    );
    assert_eq!(config.catalog.unwrap().to_string(), "127.0.0.1:18500");
    assert_eq!(config.dns, None);
    let meta = config.client.unwrap().meta;
    assert_eq!((meta["rack"].as_str(), meta["zone"].as_str()), ("r1", "z"));
    assert!(config.registration.remote_scripts);
    assert_eq!(config.registration.defined[0].1["check"]["name"], "c");
}

#[test]
fn figures_are_pushed_to_those_who_are_named() {
    let telemetry = |block: &str| {
        let text = format!("telemetry {{\n{block}\n}}\n");
        loaded(&[("a.hcl", text.as_str())], &["-dev"])
    };
    let config = telemetry(
        "statsd_address = \"127.0.0.1:8125\"\ndogstatsd_addr = \"h:8126\"\n\
         dogstatsd_tags = [\"team:web\"]\ndisable_hostname = true\n\
         \"disable_compat_1.9\" = true\nmetrics_prefix = \"x\"",
    );
    let config = config.unwrap();
    let receivers: Vec<_> = config
        .telemetry
        .receivers
        .iter()
        .map(|receiver| (receiver.address.as_str(), receiver.tags.clone()))
        .collect();
    let tags = Some(vec!["team:web".to_owned()]);
    assert_eq!(receivers, [("127.0.0.1:8125", None), ("h:8126", tags)]);
    assert_eq!(config.telemetry.host, None);
    let notes = config.notes.join("\n");
    for key in ["disable_compat_1.9", "metrics_prefix"] {
        let note = format!("`telemetry.{key}` is not acted on: ");
        assert!(notes.contains(&note), "{notes}");
    }
    let config = telemetry("dogstatsd_tags = [\"team:web\"]").unwrap();
    assert_eq!(config.telemetry.receivers, []);
    let problems = telemetry("port = 1").unwrap_err();
    assert!(
        problems[0].contains("unknown key `telemetry.port`"),
        "{problems:?}"
    );
    let problems = telemetry("dogstatsd_addr = \"unix:///d.sock\"").unwrap_err();
    assert!(
        problems[0].starts_with("a.hcl:2,") && problems[0].contains("`telemetry.dogstatsd_addr`"),
        "{problems:?}"
    );
}

#[test]
fn limits_of_addresses_are_those_of_the_file_and_others_are_told() {
    let limits = "limits { http_max_conns_per_client = 7 https_handshake_timeout = \"1s\" rpc_rate = 5.5 request_limits { mode = \"permissive\" } }\n";
    let config = loaded(&[("a.hcl", SERVER), ("b.hcl", limits)], &[]).unwrap();
    assert_eq!(config.callers.catalog.most, Some(7));
    assert!(config.callers.catalog.counts_loopback);
    assert_eq!(config.callers.rpc.most, Some(100));
    assert_eq!(config.callers.https_handshake.as_secs(), 1);
    for key in ["limits.rpc_rate", "limits.request_limits"] {
        let note = format!("`{key}` is not acted on");
        assert!(config.notes.iter().any(|own| own.contains(&note)), "{key}");
    }
}

#[test]
fn an_agent_to_try_things_with_needs_nothing() {
    let config = loaded(&[], &["-dev"]).unwrap();
    assert!(config.dev && config.server.is_some());
    assert_eq!(config.catalog.unwrap().to_string(), "127.0.0.1:8500");
    assert_eq!(config.rpc.to_string(), "127.0.0.1:8300");
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place() {
    let text = "server = \"maybe\"\nnode_nam = \"x\"\nports { htp = 1 }\nacl { enabled = true }\ndata_dir = 3\nretry_join = [\"provider=aws tag_key=a\"]\nclient_addr = \"1.2.3.4 5.6.7.8\"\nbootstrap = true\nbootstrap_expect = 3\nsegments = [{ name = \"a\" }]\nauto_encrypt { tls = true }\ndns_config { node_ttl = \"soon\" }\n";
    let text = format!("{text}ports {{ server = 70000 }}\n");
    let problems = refused(&text, &["-colour", "red", "-bind"]);
    let of_port = problems
        .iter()
        .filter(|own| own.contains("`ports.server` is 70000"));
    assert_eq!(of_port.count(), 1, "{}", problems.join("\n"));
    let starts = [
        "command line: `-bind` has no value",
        "a.hcl:1,1: `server` must be true or false",
        "a.hcl:2,1: unknown key `node_nam`; known here: ",
        "a.hcl:3,9: unknown key `ports.htp`; known here: dns, ",
        "a.hcl:12,14: `dns_config.node_ttl` must be a duration",
        "command line: there is no flag `-colour`",
        "a.hcl:4,7: `acl.enabled` is refused: there is no access control",
        "a.hcl:11,16: `auto_encrypt.tls` is refused",
        "a.hcl:10,1: `segments` is refused",
        "a.hcl:6,1: `retry_join` has `provider=aws tag_key=a`",
        "a.hcl:8,1: `bootstrap` and `bootstrap_expect` are for servers",
        "a.hcl:7,1: `client_addr` or `addresses` is `1.2.3.4 5.6.7.8`: a listener has one address",
    ];
    for start in starts {
        let found = problems.iter().any(|problem| problem.starts_with(start));
        assert!(found, "{start}\n{}", problems.join("\n"));
    }
}

#[test]
fn problems_speak_of_these_keys_and_not_of_ours() {
    for (text, expected) in [
        ("server = true\n", "neither `bootstrap_expect`"),
        ("server = true\nbootstrap = true\n", "`data_dir` is missing"),
        (
            "data_dir = \"/d\"\n",
            "this agent is no server and knows none",
        ),
        (
            "data_dir = \"/d\"\nserver = true\nbootstrap = true\nnode_id = \"one\"\n",
            "a.hcl:4,1: `node_id` is `one`",
        ),
        (
            "data_dir = \"/d\"\nserver = true\nbootstrap_expect = 2\n",
            "a.hcl:3,1: `bootstrap_expect` is 2",
        ),
        (
            "data_dir = \"/d\"\nserver = true\nbootstrap = true\naddresses { http = \"unix:///a\" }\n",
            "Unix sockets",
        ),
        (
            "data_dir = \"/d\"\nserver = true\nbootstrap = true\nrecursors = [\"a.example\"]\n",
            "a.hcl:4,1: `recursors` has `a.example`",
        ),
        (
            "data_dir = \"/d\"\nserver = true\nbootstrap = true\nverify_outgoing = true\n",
            "a.hcl:4,1: `verify_outgoing` needs `tls.defaults.ca_file`",
        ),
        (
            "data_dir = \"/d\"\nserver = true\nbootstrap = true\nports { http = 70000 }\n",
            "a.hcl:4,9: `ports.http` is 70000",
        ),
    ] {
        let problems = refused(text, &[]).join("\n");
        assert!(problems.contains(expected), "{text}\n{problems}");
    }
}

#[test]
fn certificates_are_those_of_the_file_in_either_form() {
    let new = "tls {\n  defaults {\n    ca_file = \"/c/ca.pem\"\n    cert_file = \"/c/a.pem\"\n    key_file = \"/c/a.key\"\n    verify_incoming = true\n    verify_outgoing = true\n  }\n  internal_rpc { verify_server_hostname = true }\n}\n";
    let old = "ca_file = \"/c/ca.pem\"\ncert_file = \"/c/a.pem\"\nkey_file = \"/c/a.key\"\nverify_incoming = true\nverify_outgoing = true\n";
    for tls in [new, old] {
        let text = format!(
            "data_dir = \"/d\"\nserver = true\nbootstrap = true\nports {{ https = 8501 }}\n{tls}"
        );
        let config = loaded(&[("a.hcl", &text)], &["-datacenter", "east"]).unwrap();
        let https = Https {
            address: "127.0.0.1:8501".parse().unwrap(),
            certificate: "/c/a.pem".into(),
            key: "/c/a.key".into(),
            client_authorities: Some("/c/ca.pem".into()),
        };
        assert_eq!(config.https, Some(https));
        let RpcSecurity::Mutual { servers, .. } = config.rpc_security else {
            panic!("{tls}");
        };
        assert_eq!(servers, "server.east.consul");
    }
    // The API over TLS alone.
    let text = format!(
        "data_dir = \"/d\"\nserver = true\nbootstrap = true\nports {{\n  http = -1\n  https = 8501\n}}\n{old}"
    );
    let config = loaded(&[("a.hcl", &text)], &[]).unwrap();
    assert!(config.catalog.is_none() && config.https.is_some());
}

#[test]
fn parts_of_a_configuration_can_be_looked_at_alone() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("web.hcl", "service {\n  name = \"web\"\n}\n");
    write("agent.hcl", "server = false\nnode_name = \"a\"\n");
    write("readme.txt", "no configuration");
    write("later.json", "");
    let defined = validate(&[dir.path().to_path_buf()]).unwrap();
    assert_eq!(defined[0].1["service"]["name"], "web");
    write("wrong.json", "{\"servers\": true}");
    let problems = validate(&[dir.path().to_path_buf()]).unwrap_err();
    assert!(
        problems[0].to_string().contains("unknown key `servers`"),
        "{problems:?}"
    );
}

#[test]
fn every_flag_has_its_key_and_every_key_stands_once() {
    let mut names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    let sorted = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), sorted);
    for (flag, name) in [
        ("server", "server"),
        ("retry-join", "retry_join"),
        ("ui", "ui_config.enabled"),
        ("serf-lan-port", "ports.serf_lan"),
        ("recursor", "recursors"),
    ] {
        assert_eq!(of_flag(flag).map(|key| key.name), Some(name));
    }
    assert!(of_name("server").is_some() && of_flag("tls.defaults.ca_file").is_none());
    assert!(help().contains("not acted on: there is no gossip"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "([a-z_]{1,12} ?(=|\\{)? ?(\"[a-z.{} |]{0,8}\"|[0-9]{1,4}|true|\\[|\\])?\n?\\}?){0,12}") {
        let mut problems = Vec::new();
        let arguments = Arguments { fragments: vec![text], ..Arguments::default() };
        read(&arguments, Whole::No, &mut problems);
    }
}

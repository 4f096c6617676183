use super::*;
use jobs::model::{SchedulerAlgorithm, SchedulerConfig, Span};
use std::{collections::BTreeSet, time::Duration};

fn parsed(label: &str, text: &str) -> (Written, Vec<String>) {
    let mut problems = Vec::new();
    let written = match file::parse(label, text) {
        Ok(tree) => Written::from_tree(label, tree, &mut problems),
        Err(problem) => {
            problems.push(problem);
            Written::default()
        }
    };
    (written, problems.iter().map(ToString::to_string).collect())
}

const WHOLE: &str = r#"
data_dir  = "/var/lib/trivet" # where it lives
name      = "one"
datacenter = "east"
bind_addr = "10.0.0.7"
log_level = "DEBUG"
addresses { http = "127.0.0.1" }
ports {
  http = 14646
  dns  = 18600
}
server {
  enabled          = true
  bootstrap_expect = 1
}
client {
  enabled = true
  meta { rack = "r1" }
}
plugin "raw_exec" {
  config { enabled = true }
}
catalog { enabled = false }
ingress { strategy = "rnd" }
"#;

#[test]
fn a_whole_file_resolves() {
    let (written, problems) = parsed("a.hcl", WHOLE);
    assert_eq!(problems, Vec::<String>::new());
    let mut problems = Vec::new();
    let config = resolve::resolve(written, &mut problems);
    assert_eq!(problems, []);
    assert_eq!(config.http.unwrap().to_string(), "127.0.0.1:14646");
    assert_eq!(config.rpc.to_string(), "127.0.0.1:4647");
    assert_eq!(
        config.dns.as_ref().unwrap().address.to_string(),
        "10.0.0.7:18600"
    );
    assert_eq!(config.catalog, None);
    assert_eq!(config.ingress.as_ref().unwrap().strategy, Strategy::Random);
    let client = config.client.unwrap();
    assert!(client.raw_exec);
    assert_eq!(client.meta["rack"], "r1");
}

#[test]
fn json_says_the_same_as_hcl() {
    let json = r#"{
        "data_dir": "/var/lib/trivet", "name": "one", "datacenter": "east", "bind_addr": "10.0.0.7",
        "log_level": "DEBUG", "addresses": {"http": "127.0.0.1"}, "ports": {"http": 14646, "dns": 18600},
        "server": {"enabled": true, "bootstrap_expect": 1},
        "client": {"enabled": true, "meta": {"rack": "r1"}},
        "plugin": {"raw_exec": {"config": {"enabled": true}}},
        "catalog": [{"enabled": false}], "ingress": {"strategy": "rnd"}
    }"#;
    assert_eq!(parsed("a.json", json), parsed("a.hcl", WHOLE));
}

#[test]
fn every_unknown_key_and_wrong_type_is_named_with_its_place() {
    let text = "dat_dir = \"/x\"\nserver {\n  enabled = 3\n  encrypted = \"k\"\n}\nports { web = 80 }\nplugin \"lxc\" {}\n";
    let (_, problems) = parsed("a.hcl", text);
    let starts = [
        "a.hcl:1,1: unknown key `dat_dir`",
        "a.hcl:3,3: `enabled` must be true or false",
        "a.hcl:4,3: unknown key `server.encrypted`",
        "a.hcl:6,9: unknown key `ports.web`",
        "a.hcl:7,1: no plugin `lxc`",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(
            problem.starts_with(start),
            "{problem} should start with {start}"
        );
    }
}

#[test]
fn a_syntax_error_has_its_line() {
    let (_, problems) = parsed("a.hcl", "name = \"x\"\nserver {\n  enabled = \n}\n");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("a.hcl:3,"), "{problems:?}");
}

#[test]
fn what_this_version_cannot_do_is_refused() {
    let refused = |written: Written| {
        let mut problems = Vec::new();
        resolve::resolve(written, &mut problems);
        problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let dev = || Written {
        dev: Some(true),
        ..Written::default()
    };
    assert_eq!(refused(dev()), "");
    let rpc = [("rpc".to_owned(), "10.0.0.1".to_owned())];
    let far = || Some(vec!["10.0.0.1".to_owned()]);
    for (written, part) in [
        (
            Written {
                bootstrap_expect: Some(2),
                ..dev()
            },
            "1, 3 or 5 servers",
        ),
        (
            Written {
                bootstrap_expect: Some(0),
                ..dev()
            },
            "names none",
        ),
        (
            Written {
                server_enabled: Some(false),
                ..dev()
            },
            "knows none",
        ),
        (
            Written {
                servers: far(),
                ..dev()
            },
            "the server at 10.0.0.1:4647 is on another machine; connections between machines need",
        ),
        (
            Written {
                join: far(),
                ..dev()
            },
            "10.0.0.1:4647 is on another machine",
        ),
        (
            Written {
                addresses: rpc.clone().into(),
                ..dev()
            },
            "`addresses.rpc` is `10.0.0.1`; connections between machines need",
        ),
        (
            Written {
                bind_addr: Some("10.0.0.1".into()),
                bootstrap_expect: Some(3),
                ..dev()
            },
            "the other servers cannot reach this one on 127.0.0.1",
        ),
    ] {
        let problems = refused(written);
        assert!(problems.contains(part), "{part}: {problems}");
    }
    // The operator says so.
    let plain = WrittenTls {
        rpc: Some(false),
        ..WrittenTls::default()
    };
    let said = Written {
        tls: plain,
        join: far(),
        addresses: rpc.into(),
        ..dev()
    };
    assert_eq!(refused(said), "");
    let problems = refused(Written::default());
    assert!(problems.contains("nothing to run") && problems.contains("`data_dir` is missing"));
}

#[test]
fn published_files_load_and_say_what_is_not_acted_on() {
    let server = r#"
data_dir = "/opt/nomad"
bind_addr = "0.0.0.0"
advertise {
  http = "10.0.0.7"
  rpc  = "10.0.0.7"
  serf = "10.0.0.7"
}
leave_on_terminate = true
server {
  enabled = true
  bootstrap_expect = 1
}
client {
  enabled = true
  servers = ["127.0.0.1"]
  options = { "driver.raw_exec.enable" = "1" }
}
telemetry {
  prometheus_metrics = true
  statsite_address = "stats.example:8125"
}
"#;
    let (written, problems) = parsed("server.hcl", server);
    assert_eq!(problems, Vec::<String>::new());
    let mut problems = Vec::new();
    let config = resolve::resolve(written, &mut problems);
    assert_eq!(problems, []);
    assert!(config.client.unwrap().raw_exec);
    let note = "`telemetry.statsite_address` is known and not acted on";
    assert_eq!(config.notes, [note]);
    assert_eq!(config.advertise.to_string(), "10.0.0.7");
    // What would protect something is not passed over.
    let (_, problems) = parsed("server.hcl", "acl {\n  enabled = true\n}\n");
    assert!(
        problems[0].contains("server.hcl:2,3: `acl.enabled` is true"),
        "{problems:?}"
    );
    let off = "acl {\n  enabled = false\n  token_ttl = \"30s\"\n}\n";
    assert_eq!(parsed("server.hcl", off).1, Vec::<String>::new());
}

#[test]
fn logs_and_what_is_kept_are_as_written() {
    let text = r#"
data_dir = "/d"
log_json = true
log_file = "/var/log/trivet/"
log_rotate_bytes = 1048576
log_rotate_duration = "12h"
log_rotate_max_files = -1
log_include_location = true
enable_syslog = true
syslog_facility = "local3"
server {
  enabled = true
  job_gc_interval = "1m"
  job_gc_threshold = "2h"
  eval_gc_threshold = "3h"
  batch_eval_gc_threshold = "4h"
  deployment_gc_threshold = "5h"
  node_gc_threshold = "6h"
  oidc_issuer = "https://trivet.example.com/"
}
autopilot {
  cleanup_dead_servers = false
  last_contact_threshold = "1s"
  min_quorum = 3
}
"#;
    let resolved = |text: &str| {
        let (written, said) = parsed("server.hcl", text);
        assert_eq!(said, Vec::<String>::new());
        let mut problems = Vec::new();
        let config = resolve::resolve(written, &mut problems);
        (config, problems)
    };
    let (config, problems) = resolved(text);
    assert_eq!(problems, []);
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let file = LogFile {
        path: "/var/log/trivet/trivet.log".into(),
        bytes_max: Some(1_048_576),
        age_max: hours(12),
        older_max: Some(0),
    };
    let logs = Logs {
        is_json: true,
        has_location: true,
        file: Some(file),
        system: Some(SystemLog {
            facility: "LOCAL3".into(),
        }),
    };
    assert_eq!(config.logs, logs);
    let gc = GcLimits {
        interval: Duration::from_secs(60),
        job: hours(2),
        eval: hours(3),
        batch_eval: hours(4),
        deployment: hours(5),
        node: hours(6),
        ..GcLimits::default()
    };
    let server = config.server.expect("a server");
    assert_eq!(server.gc, gc);
    let autopilot = AutopilotConfig {
        cleanup_dead_servers: false,
        last_contact_threshold: Span::SECOND,
        min_quorum: 3,
        ..AutopilotConfig::default()
    };
    assert_eq!(server.autopilot, autopilot);
    let issuer = server.oidc_issuer.as_deref();
    assert_eq!(issuer, Some("https://trivet.example.com"));

    let (config, _) =
        resolved("data_dir = \"/d\"\nlog_file = \"own.log\"\nserver { enabled = true }\n");
    let file = config.logs.file.expect("a file");
    assert_eq!((file.age_max, file.older_max), (hours(24), None));
    assert_eq!(
        (config.logs.system, config.logs.has_location),
        (None, false)
    );
    let wrong = "data_dir = \"/d\"\nsyslog_facility = \"LOCAL9\"\nlog_rotate_max_files = -2\nlog_rotate_duration = \"soon\"\nserver {\n enabled = true\n job_gc_interval = \"0s\"\n node_gc_threshold = \"-1h\"\n oidc_issuer = \"example.com\"\n}\nautopilot {\n min_quorum = \"some\"\n enable_custom_upgrades = true\n}\n";
    let said: Vec<String> = resolved(wrong).1.iter().map(ToString::to_string).collect();
    for part in [
        "`log_rotate_max_files` is `-2`",
        "`log_rotate_duration` is `soon`",
        "`syslog_facility` is `LOCAL9`; it must be one of KERN",
        "`server.job_gc_interval` must be at least 1s",
        "`server.node_gc_threshold` is `-1h`",
        "`server.oidc_issuer` is `example.com`",
        "`autopilot.min_quorum` is `some`; it must be a whole number",
        "`autopilot.enable_custom_upgrades` is `true`; it must be false",
    ] {
        assert!(
            said.iter().any(|own| own.contains(part)),
            "{part}: {said:?}"
        );
    }
}

/// What a file comes to, with the problems, below what every file needs.
fn resolved(text: &str) -> (Config, String) {
    let base = "data_dir = \"/d\"\nbind_addr = \"127.0.0.1\"\n";
    let (written, mut said) = parsed("a.hcl", &format!("{base}{text}"));
    let mut problems = Vec::new();
    let config = resolve::resolve(written, &mut problems);
    said.extend(problems.iter().map(ToString::to_string));
    (config, said.join("\n"))
}

#[test]
fn an_address_may_hold_as_many_connections_as_is_written() {
    let server = "server {\n enabled = true\n}\n";
    let usual = |most| PerAddress {
        most: Some(most),
        counts_loopback: false,
    };
    let written = |most| PerAddress {
        most,
        counts_loopback: true,
    };
    let seconds = Duration::from_secs;
    for (limits, callers, handshakes) in [
        (
            "",
            [usual(100), usual(200), usual(100)],
            [seconds(5), seconds(5)],
        ),
        (
            "http_max_conns_per_client = 7\nhttps_handshake_timeout = \"1s\"",
            [written(Some(7)), written(Some(7)), usual(100)],
            [seconds(1), seconds(5)],
        ),
        (
            "http_max_conns_per_client = 0\nrpc_max_conns_per_client = 0\nrpc_handshake_timeout = \"0s\"",
            [written(None), written(None), written(None)],
            [seconds(5), Duration::MAX],
        ),
        (
            "rpc_max_conns_per_client = 10",
            [usual(100), usual(200), written(Some(10))],
            [seconds(5), seconds(5)],
        ),
    ] {
        let (config, problems) = resolved(&format!("{server}limits {{\n{limits}\n}}\n"));
        assert_eq!(problems, "", "{limits}");
        assert_eq!(config.notes, Vec::<String>::new(), "{limits}");
        let found = config.callers;
        assert_eq!([found.http, found.catalog, found.rpc], callers, "{limits}");
        let found = [found.https_handshake, found.rpc_handshake];
        assert_eq!(found, handshakes, "{limits}");
    }
    for (limits, part) in [
        (
            "rpc_max_conns_per_client = 3",
            "`limits.rpc_max_conns_per_client` is 3; an agent may need 10",
        ),
        (
            "http_max_conns_per_client = -1",
            "`http_max_conns_per_client` must be a whole number",
        ),
        (
            "rpc_handshake_timeout = \"soon\"",
            "`limits.rpc_handshake_timeout` is `soon`",
        ),
        ("max_conns = 1", "unknown key `limits.max_conns`"),
    ] {
        let (_, problems) = resolved(&format!("{server}limits {{\n{limits}\n}}\n"));
        assert!(problems.contains(part), "{part}: {problems}");
    }
}

#[test]
fn ended_allocations_are_collected_as_is_written() {
    let of_client = |inner: &str| {
        let client = format!("client {{\n enabled = true\n {inner}\n}}\n");
        let (config, problems) = resolved(&format!("server {{\n enabled = true\n}}\n{client}"));
        assert_eq!(config.notes, Vec::<String>::new(), "{inner}");
        (config.client.unwrap().collection, problems)
    };
    let usual = Collection {
        interval: Duration::from_secs(60),
        disk_percent_max: 80.0,
        inode_percent_max: 70.0,
        allocs_max: 50,
        parallel: 2,
    };
    for (inner, expected) in [
        ("", usual),
        (
            "gc_interval = \"5m\"\n gc_disk_usage_threshold = 92.5\n gc_max_allocs = 0",
            Collection {
                interval: Duration::from_secs(300),
                disk_percent_max: 92.5,
                allocs_max: 0,
                ..usual
            },
        ),
        (
            "gc_inode_usage_threshold = 100\n gc_parallel_destroys = 8",
            Collection {
                inode_percent_max: 100.0,
                parallel: 8,
                ..usual
            },
        ),
    ] {
        assert_eq!(of_client(inner), (expected, String::new()), "{inner}");
    }
    for (inner, part) in [
        ("gc_interval = \"10ms\"", "`client.gc_interval` must be"),
        ("gc_interval = \"soon\"", "`client.gc_interval` is `soon`"),
        (
            "gc_disk_usage_threshold = 101",
            "`client.gc_disk_usage_threshold` is `101`; it must be percent",
        ),
        ("gc_parallel_destroys = 0", "it must be from 1 to 64"),
        ("gc_max_allocs = 1000000", "it must be from 0 to 10000"),
    ] {
        let (_, problems) = of_client(inner);
        assert!(problems.contains(part), "{part}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
    let dev = Written {
        dev: Some(true),
        ..Written::default()
    };
    let found = resolve::resolve(dev, &mut Vec::new())
        .client
        .unwrap()
        .collection;
    let expected = Collection {
        interval: Duration::from_secs(600),
        disk_percent_max: 99.0,
        inode_percent_max: 99.0,
        ..usual
    };
    assert_eq!(found, expected);
}

#[test]
fn a_client_is_as_is_written() {
    let of_client = |inner: &str| {
        let client = format!("client {{\n enabled = true\n {inner}\n}}\n");
        let text = format!("server {{\n enabled = true\n data_dir = \"/s\"\n}}\n{client}");
        let (config, problems) = resolved(&text);
        assert_eq!(
            config.server.unwrap().data_dir.as_deref(),
            Some(Path::new("/s"))
        );
        (config.client.unwrap(), problems, config.notes)
    };
    let (usual, problems, notes) = of_client("");
    assert_eq!((problems.as_str(), notes), ("", Vec::new()));
    assert_eq!(usual.kill_timeout_max, Duration::from_secs(30));
    assert!(usual.takes_commands && !usual.has_host_id);
    assert_eq!((&usual.alloc_dir, &usual.state_dir), (&None, &None));
    let users = &usual.options.users;
    for (driver, user, is_refused) in [
        ("exec", "root", true),
        ("java", "0", true),
        ("exec", "nobody", false),
        ("exec", "", false),
        ("raw_exec", "root", false),
        ("docker", "root", false),
    ] {
        assert_eq!(users.refuses(driver, user), is_refused, "{driver} {user}");
    }
    let (client, problems, notes) = of_client(
        "alloc_dir = \"/a\"\n state_dir = \"/c\"\n max_kill_timeout = \"2m\"\n disable_remote_exec = true\n no_host_uuid = false",
    );
    assert_eq!((problems.as_str(), notes), ("", Vec::new()));
    assert_eq!(client.kill_timeout_max, Duration::from_secs(120));
    assert!(!client.takes_commands && client.has_host_id);
    let dirs = [client.alloc_dir, client.state_dir];
    assert_eq!(dirs, [Some("/a".into()), Some("/c".into())]);
    for (inner, part) in [
        ("alloc_dir = \"a\"", "`client.alloc_dir` is `a`; it must be"),
        ("state_dir = \"./a\"", "`client.state_dir` is `./a`"),
        ("max_kill_timeout = \"-1s\"", "`client.max_kill_timeout`"),
        (
            "options = { \"driver.raw_exec.enable\" = \"yes\" }",
            "`client.options` has `driver.raw_exec.enable` with `yes`",
        ),
    ] {
        let (_, problems, _) = of_client(inner);
        assert!(problems.contains(part), "{part}: {problems}");
    }
}

#[test]
fn options_of_the_older_form_are_settings_of_drivers_and_rules() {
    let of_options = |inner: &str, more: &str| {
        let text = format!(
            "client {{\n enabled = true\n servers = [\"127.0.0.1\"]\n options {inner}\n}}\n{more}"
        );
        let (config, problems) = resolved(&text);
        assert_eq!(problems, "", "{inner}");
        (config.client.unwrap(), config.notes)
    };
    let names = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    // A block, an attribute, and the same in later files.
    for inner in [
        "{\n \"driver.raw_exec.enable\" = \"1\"\n}",
        "= { \"driver.raw_exec.enable\" = true }",
    ] {
        let (client, notes) = of_options(inner, "");
        assert!(client.raw_exec, "{inner}");
        assert_eq!(notes, Vec::<String>::new());
        let plugin = "plugin \"raw_exec\" {\n config { enabled = false }\n}\n";
        assert!(!of_options(inner, plugin).0.raw_exec, "the newer form wins");
    }
    let (client, notes) = of_options(
        "= { \"docker.privileged.enabled\" = \"true\", \"docker.endpoint\" = \"unix:///d.sock\", \"docker.cleanup.image\" = \"false\", \"docker.cleanup.image.delay\" = \"1h\", \"docker.caps.whitelist\" = \"chown, kill\", \"docker.volumes.enabled\" = \"1\", \"docker.tls.ca\" = \"/ca\", \"consul.token\" = \"t\" }",
        "",
    );
    let docker = &client.plugins.docker;
    assert_eq!(docker.endpoint.as_deref(), Some("unix:///d.sock"));
    assert!(docker.allow_privileged && docker.volumes && !docker.gc_image);
    assert_eq!(docker.gc_image_delay, Duration::from_secs(3600));
    let caps = docker.allow_caps.clone().unwrap();
    assert_eq!(caps, ["chown", "kill"]);
    let told = ["consul.token", "docker.tls.ca"]
        .map(|name| format!("`client.options` has `{name}`, which is not acted on"));
    assert_eq!(notes, told);
    assert_eq!(client.options, Options::default());
    let (client, notes) = of_options(
        "{\n \"driver.whitelist\" = \"exec,docker\"\n \"driver.denylist\" = \"docker\"\n \"fingerprint.denylist\" = \"env_aws, consul\"\n \"user.denylist\" = \"root,web\"\n \"user.checked_drivers\" = \"raw_exec\"\n \"env.denylist\" = \"SECRET\"\n}",
        "",
    );
    assert_eq!(notes, Vec::<String>::new());
    let expected = Options {
        drivers: Listed {
            allowed: Some(names(&["docker", "exec"])),
            denied: names(&["docker"]),
        },
        facts: Listed {
            allowed: None,
            denied: names(&["consul", "env_aws"]),
        },
        users: Users {
            denied: names(&["root", "web"]),
            checked_drivers: names(&["raw_exec"]),
        },
        hidden_variables: names(&["SECRET"]),
    };
    assert_eq!(client.options, expected);
    let drivers = &client.options.drivers;
    let taken = ["exec", "docker", "java"].map(|name| drivers.takes(name));
    assert_eq!(taken, [true, false, false]);
    assert!(client.options.users.refuses("raw_exec", "web"));
    assert!(!client.options.users.refuses("exec", "root"));
    let (config, _) = resolved("server {\n enabled = true\n}\nplugin_dir = \"/p\"\n");
    assert_eq!(
        config.notes,
        [
            "`plugin_dir` is known and not acted on: all drivers are part of the program, and it starts no others"
        ]
    );
}

#[test]
fn the_jobs_api_is_advertised_with_the_port_that_is_written() {
    let server = "server {\n enabled = true\n}\n";
    let of = |http: &str| {
        let (config, problems) =
            resolved(&format!("{server}advertise {{\n http = \"{http}\"\n}}\n"));
        let advertised = (config.advertise.to_string(), config.http_port_advertised);
        (advertised, problems)
    };
    for (http, address, port) in [
        ("10.0.0.7", "10.0.0.7", None),
        ("10.0.0.7:14646", "10.0.0.7", Some(14_646)),
        ("10.0.0.7:0", "10.0.0.7", None),
        ("[2001:db8::1]:80", "2001:db8::1", Some(80)),
    ] {
        let expected = ((address.to_owned(), port), String::new());
        assert_eq!(of(http), expected, "{http}");
    }
    let (_, problems) = of("agent.example:80");
    assert!(problems.contains("`advertise.http` is `agent.example:80`"));
    let (config, _) = resolved(server);
    assert_eq!(config.http_port_advertised, None);
}

#[test]
fn a_server_schedules_and_listens_as_is_written() {
    let of_server = |inner: &str| {
        let (config, problems) = resolved(&format!("server {{\n enabled = true\n {inner}\n}}\n"));
        (config.server.unwrap().scheduling, problems, config.notes)
    };
    let usual = Scheduling {
        rhythm: jobs::control::Rhythm::default(),
        event_buffer: 256,
        raft_multiplier: 1,
        first: None,
    };
    assert_eq!(of_server(""), (usual, String::new(), Vec::new()));
    let (found, problems, notes) = of_server(
        r#"
 event_buffer_size = 1000
 failover_heartbeat_ttl = "5m"
 max_heartbeats_per_second = 50.0
 raft_multiplier = 5
 default_scheduler_config {
   scheduler_algorithm = "spread"
   memory_oversubscription_enabled = true
   preemption_config {
     batch_scheduler_enabled = true
     system_scheduler_enabled = false
   }
 }"#,
    );
    assert_eq!((problems.as_str(), notes), ("", Vec::new()));
    let mut first = SchedulerConfig {
        scheduler_algorithm: SchedulerAlgorithm::Spread,
        memory_oversubscription_enabled: true,
        ..SchedulerConfig::default()
    };
    first.preemption_config.batch_scheduler_enabled = true;
    first.preemption_config.system_scheduler_enabled = false;
    let expected = Scheduling {
        rhythm: jobs::control::Rhythm {
            failover: Some(Duration::from_secs(300)),
            spacing: Duration::from_millis(20),
        },
        event_buffer: 1000,
        raft_multiplier: 5,
        first: Some(first),
    };
    assert_eq!(found, expected);
    for (inner, part) in [
        ("event_buffer_size = 0", "`server.event_buffer_size` is `0`"),
        ("raft_multiplier = 11", "a whole number from 1 to 10"),
        (
            "max_heartbeats_per_second = 0",
            "`server.max_heartbeats_per_second` is `0`",
        ),
        ("failover_heartbeat_ttl = \"1s\"", "it must be from 10 s"),
        ("failover_heartbeat_ttl = \"soon\"", "is `soon`"),
        (
            "default_scheduler_config { scheduler_algorithm = \"best\" }",
            "it must be `binpack` or `spread`",
        ),
        (
            "default_scheduler_config { pause_eval_broker = \"x\" }",
            "it must be true or false",
        ),
        (
            "default_scheduler_config { algorithm = \"spread\" }",
            "unknown key `server.default_scheduler_config.algorithm`",
        ),
    ] {
        let (_, problems, _) = of_server(inner);
        assert!(problems.contains(part), "{part}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
    let (_, problems, notes) = of_server("num_schedulers = 2\n enabled_schedulers = [\"batch\"]");
    assert_eq!(problems, "");
    let reasons = [
        "the leader decides about evaluations in batches",
        "every kind of job",
    ];
    for (note, reason) in notes.iter().zip(reasons) {
        assert!(note.contains(reason), "{note}");
    }
    assert_eq!(notes.len(), 2);
}

#[test]
fn files_are_fetched_and_rendered_within_what_is_written() {
    let of_client = |inner: &str| {
        let client = format!("client {{\n enabled = true\n {inner}\n}}\n");
        let (config, problems) = resolved(&format!("server {{\n enabled = true\n}}\n{client}"));
        let client = config.client.unwrap();
        ((client.artifact, client.template), problems, config.notes)
    };
    let usual = (ArtifactLimits::default(), TemplateRules::default());
    assert_eq!(of_client(""), (usual.clone(), String::new(), Vec::new()));
    assert_eq!(usual.0.download_bytes_max, 100_000_000_000);
    let seconds = Duration::from_secs;
    let (found, problems, notes) = of_client(
        r#"
  artifact {
    http_read_timeout = "5m"
    git_timeout = "1m"
    s3_timeout = "2m"
    http_max_size = "1GB"
    decompression_limit_size = "16 MiB"
    decompression_limit_file_count = 10
    hg_timeout = "1m"
  }
  template {
    function_denylist = ["env"]
    wait { min = "5s" }
    wait_bounds {
      enabled = true
      min = "1s"
      max = "10s"
    }
    disable_file_sandbox = true
  }"#,
    );
    assert_eq!(problems, "");
    let artifact = ArtifactLimits {
        http_timeout: seconds(300),
        git_timeout: seconds(60),
        s3_timeout: seconds(120),
        download_bytes_max: 1_000_000_000,
        unpacked_bytes_max: 16 << 20,
        files_max: 10,
    };
    let template = TemplateRules {
        denied_functions: ["env".to_owned()].into(),
        calm: Some((seconds(5), seconds(20))),
        calm_bounds: Some((seconds(1), seconds(10))),
    };
    assert_eq!(found, (artifact, template));
    let told = [
        "`client.artifact.hg_timeout` is known and not acted on: artifacts do not come from there",
        "`client.template.disable_file_sandbox` is known and not acted on: templates read files of their allocation alone",
    ];
    assert_eq!(notes, told);
    for (inner, part) in [
        (
            "artifact { http_max_size = \"much\" }",
            "`client.artifact.http_max_size` is `much`; it must be bytes",
        ),
        (
            "artifact { http_max_size = \"0\" }",
            "it must be more than nothing",
        ),
        (
            "artifact { decompression_limit_file_count = 0 }",
            "it must be more than nothing",
        ),
        (
            "artifact { git_timeout = \"soon\" }",
            "`client.artifact.git_timeout` is `soon`",
        ),
        (
            "template {\n wait {\n min = \"5s\"\n max = \"1s\"\n }\n }",
            "`client.template.wait` has a `min` that is longer than its `max`",
        ),
        (
            "template {\n wait {\n least = \"5s\"\n }\n }",
            "unknown key `client.template.wait.least`",
        ),
    ] {
        let (_, problems, _) = of_client(inner);
        assert!(problems.contains(part), "{part}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
}

#[test]
fn published_blocks_of_the_web_ui_load() {
    let text = "server {\n enabled = true\n}\nui {\n enabled = true\n consul {\n ui_url = \"https://c.example\"\n }\n label {\n text = \"staging\"\n background_color = \"red\"\n }\n}\nenable_debug = true\n";
    let (config, problems) = resolved(text);
    assert_eq!(problems, "");
    assert_eq!(config.ui.label, "staging");
    let told = ["ui.consul", "ui.label.background_color"]
        .map(|key| format!("`{key}` is known and not acted on"));
    let profiles =
        "`enable_debug` is known and not acted on: the program has no profiles to be asked for";
    let told: Vec<String> = told.into_iter().chain([profiles.to_owned()]).collect();
    assert_eq!(config.notes, told);
}

#[test]
fn a_part_runs_what_is_its_own_and_what_is_written() {
    let dev = Written {
        dev: Some(true),
        ..Written::default()
    };
    let load = |part, flags| Config::load_as(part, &[], flags).unwrap();
    let parts = |config: &Config| {
        let listeners = (config.catalog.is_some(), config.dns.is_some());
        (listeners, config.ingress.is_some(), config.client.is_some())
    };
    let all = load(Part::of_program("trivet"), dev.clone());
    assert_eq!(parts(&all), ((true, true), true, true));
    let jobs = load(Part::of_program("nomad"), dev.clone());
    assert_eq!(parts(&jobs), ((false, false), false, true));
    let catalog = load(Part::of_program("consul"), dev.clone());
    assert_eq!(parts(&catalog), ((true, true), false, true));
    assert!(catalog.http.is_none() && !catalog.client.unwrap().takes_jobs);
    let asked = Written {
        catalog_enabled: Some(true),
        ..dev
    };
    let jobs = load(Part::Jobs, asked);
    assert_eq!(parts(&jobs), ((true, false), false, true));
}

#[test]
fn what_is_reserved_and_own_ports_are_kept_back() {
    let text = r#"
data_dir = "/d"
bind_addr = "127.0.0.1"
server { enabled = true }
ports { http = 20001 }
client {
  enabled = true
  reserved {
    cpu = 500
    memory = 256
    disk = 1000
    cores = "0,2-3"
    reserved_ports = "22,80"
  }
}
ingress {
  listener ":20003" { proto = "http" }
}
"#;
    let (written, problems) = parsed("a.hcl", text);
    assert_eq!(problems, Vec::<String>::new());
    let mut problems = Vec::new();
    let client = resolve::resolve(written, &mut problems).client.unwrap();
    assert_eq!(problems, []);
    let expected = Reserved {
        cpu_mhz: 500,
        memory_mb: 256,
        disk_mb: 1000,
        cores: [0, 2, 3].into(),
        ports: [22, 80, 20_001, 20_003].into(),
    };
    assert_eq!(client.reserved, expected);
    let (_, problems) = parsed("a.hcl", "client {\n  reserved {\n    ports = 1\n  }\n}\n");
    assert!(problems[0].contains("reserved_ports"), "{problems:?}");
}

#[test]
fn servers_and_clients_say_where_the_others_are() {
    let resolved = |text: &str| {
        let (written, problems) = parsed("a.hcl", text);
        assert_eq!(problems, Vec::<String>::new());
        let mut problems = Vec::new();
        let config = resolve::resolve(written, &mut problems);
        assert_eq!(problems, [], "{text}");
        config
    };
    let server = resolved(
        r#"
data_dir = "/d"
bind_addr = "127.0.0.2"
advertise { rpc = "127.0.0.9:7000" }
server {
  enabled = true
  bootstrap_expect = 3
  server_join {
    retry_join = ["127.0.0.1:4000", "127.0.0.3"]
    retry_interval = "15s"
  }
}
"#,
    );
    assert_eq!(server.rpc.to_string(), "127.0.0.2:4647");
    assert_eq!(server.rpc_advertised.unwrap().to_string(), "127.0.0.9:7000");
    assert!(server.client.is_none() && server.servers.is_empty());
    assert_eq!(
        server.server.unwrap(),
        Server {
            bootstrap_expect: 3,
            join: vec!["127.0.0.1:4000".into(), "127.0.0.3:4647".into()],
            autopilot: AutopilotConfig::default(),
            gc: GcLimits::default(),
            oidc_issuer: None,
            data_dir: None,
            lease: Duration::from_secs(10),
            scheduling: Scheduling::default(),
            gossip: Some(Gossip {
                listen: "127.0.0.2:4648".parse().unwrap(),
                advertised: None,
                key: None,
            }),
        }
    );
    let client = resolved(
        r#"
data_dir = "/d"
bind_addr = "0.0.0.0"
tls {
  rpc = true
  ca_file = "/ca"
  cert_file = "/c"
  key_file = "/k"
}
client {
  enabled = true
  servers = ["a.example", "b.example:1", "[::1]:2"]
}
"#,
    );
    assert!(client.server.is_none());
    assert_eq!(client.servers, ["a.example:4647", "b.example:1", "[::1]:2"]);
    assert!(matches!(client.rpc_security, RpcSecurity::Mutual { .. }));
}

#[test]
fn agents_find_each_other_through_a_catalog_elsewhere() {
    let resolved = |text: &str| {
        let (written, problems) = parsed("a.hcl", text);
        assert_eq!(problems, Vec::<String>::new());
        let mut problems = Vec::new();
        let config = resolve::resolve(written, &mut problems);
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        (config, said.join("\n"))
    };
    let usual = Discovery {
        servers: "nomad".into(),
        clients: "nomad-client".into(),
        tags: Vec::new(),
        is_advertised: true,
        checks_advertised: false,
        asks_for_servers: false,
    };
    let server = |inner: &str| format!("server {{\n enabled = true\n {inner}\n}}\n");
    let at = |inner: &str| format!("consul {{\n address = \"127.0.0.1:8500\"\n {inner}\n}}\n");
    let client = "client {\n enabled = true\n}\n".to_owned();
    // Whether it asks for servers, and with how many a group begins.
    for (text, asks, expect) in [
        // Who wrote nothing of it is as before, and known there.
        (server("") + &at(""), false, Some(1)),
        (
            server("bootstrap_expect = 1") + &at("server_auto_join = true"),
            false,
            Some(1),
        ),
        (server("bootstrap_expect = 3") + &at(""), true, Some(3)),
        (server("bootstrap_expect = 0") + &at(""), true, Some(0)),
        (server("") + &at("server_auto_join = true"), true, Some(0)),
        (
            server("bootstrap_expect = 3") + &at("server_auto_join = false"),
            false,
            Some(3),
        ),
        (
            server("retry_join = [\"127.0.0.9\"]") + &at(""),
            false,
            Some(0),
        ),
        (client.clone() + &at(""), true, None),
        (
            "client {\n enabled = true\n servers = [\"127.0.0.9\"]\n}\n".to_owned() + &at(""),
            false,
            None,
        ),
    ] {
        let (config, problems) = resolved(&format!(
            "data_dir = \"/d\"\nbind_addr = \"127.0.0.1\"\n{text}"
        ));
        assert_eq!(problems, "", "{text}");
        let expected = Discovery {
            asks_for_servers: asks,
            ..usual.clone()
        };
        assert_eq!(config.discovery, Some(expected), "{text}");
        let begins = config.server.map(|server| server.bootstrap_expect);
        assert_eq!(begins, expect, "{text}");
    }
    let all = at(
        "server_auto_join = false\n client_auto_join = false\n server_service_name = \"s\"\n client_service_name = \"c\"\n auto_advertise = false\n checks_use_advertise = true\n tags = [\"a\", \"b\"]",
    );
    let (config, problems) = resolved(&format!("data_dir = \"/d\"\n{}{all}", server("")));
    assert_eq!(problems, "");
    let expected = Discovery {
        servers: "s".into(),
        clients: "c".into(),
        tags: vec!["a".into(), "b".into()],
        is_advertised: false,
        checks_advertised: true,
        asks_for_servers: false,
    };
    assert_eq!(config.discovery, Some(expected));
    assert_eq!(config.notes, Vec::<String>::new());
    // A dev agent begins alone whatever is written, as files of published courses have it.
    let course = "consul {\n address = \"127.0.0.1:8500\"\n server_service_name = \"nomad\"\n client_service_name = \"nomad-client\"\n auto_advertise = true\n server_auto_join = true\n client_auto_join = true\n}\n";
    let dev = Written {
        dev: Some(true),
        ..parsed("a.hcl", course).0
    };
    let mut problems = Vec::new();
    let config = resolve::resolve(dev, &mut problems);
    assert_eq!(problems, []);
    assert_eq!(config.discovery, Some(usual));
    assert_eq!(config.server.unwrap().bootstrap_expect, 1);

    // Nobody to ask, nobody named.
    let base = "data_dir = \"/d\"\n";
    for (text, part) in [
        (
            client.clone() + &at("client_auto_join = false"),
            "knows none",
        ),
        (
            client + "consul {\n client_auto_join = true\n}\n",
            "knows none",
        ),
        (
            server("bootstrap_expect = 0") + &at("server_auto_join = false"),
            "names none",
        ),
        (
            server("") + &at("server_service_name = \" \""),
            "`consul.server_service_name` is empty; leave it out for `nomad`",
        ),
    ] {
        let (_, problems) = resolved(&format!("{base}{text}"));
        assert!(problems.contains(part), "{part}: {problems}");
    }
    // Without an address there is the built-in catalog, and the file loads all the same.
    let text = format!(
        "{base}{}consul {{\n server_auto_join = true\n}}\n",
        server("")
    );
    let (config, problems) = resolved(&text);
    assert_eq!((config.discovery, problems.as_str()), (None, ""));
    assert!(config.catalog.is_some() && config.external.is_none());
    assert_eq!(config.server.unwrap().bootstrap_expect, 1);
    assert!(
        config.notes[0].contains("names no `address`"),
        "{:?}",
        config.notes
    );
}

#[test]
fn later_files_and_flags_win() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("1.hcl"),
        "name = \"first\"\ndatacenter = \"a\"",
    )
    .unwrap();
    std::fs::write(dir.path().join("2.json"), r#"{"name": "second"}"#).unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not = read").unwrap();
    let flags = Written {
        dev: Some(true),
        datacenter: Some("b".into()),
        ..Written::default()
    };
    let config = Config::load(&[dir.path().to_path_buf()], flags).unwrap();
    assert_eq!(
        (config.name.as_str(), config.datacenter.as_str()),
        ("second", "b")
    );
    let missing = Config::load(&["/nowhere/x.hcl".into()], Written::default()).unwrap_err();
    assert!(
        missing[0]
            .to_string()
            .starts_with("/nowhere/x.hcl: cannot read the file")
    );
}

#[test]
fn hosts_and_origins_that_may_ask_are_lists() {
    let text = "name = \"one\"\napi {\n  allowed_hosts = [\"a.example\"]\n  allowed_origins = [\"https://b.example:8443\", \"*\"]\n}\n";
    let (written, problems) = parsed(
        "a.hcl",
        &format!("{WHOLE}{text}").replace("name      = \"one\"\n", ""),
    );
    assert_eq!(problems, Vec::<String>::new());
    let mut problems = Vec::new();
    let config = resolve::resolve(written, &mut problems);
    assert_eq!(problems, []);
    assert!(config.api.allowed_hosts.contains(&"a.example".to_owned()));
    // Its own name resolves to a loopback address on many machines.
    assert!(config.api.allowed_hosts.contains(&"one".to_owned()));
    assert_eq!(config.api.allowed_origins.len(), 2);

    let text = "api {\n  allowed_hosts = [\"http://a.example\"]\n  allowed_origins = [\"b.example\", \"https://b.example/ui\"]\n}\n";
    let (written, _) = parsed("a.hcl", &format!("{WHOLE}{text}"));
    let mut problems = Vec::new();
    resolve::resolve(written, &mut problems);
    assert_eq!(problems.len(), 3, "{problems:?}");
    let (_, problems) = parsed("a.hcl", "api { allowed_hosts = \"a\" }\n");
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn local_artifacts_lie_below_named_directories_and_in_dev_mode_below_the_working_directory() {
    let dirs = |text: &str, dev: bool| {
        let mut problems = Vec::new();
        let written = Written {
            dev: Some(dev),
            ..parsed("a.hcl", text).0
        };
        let config = resolve::resolve(written, &mut problems);
        (config.client.unwrap().artifact_dirs, problems.len())
    };
    let base = "data_dir = \"/d\"\nserver { enabled = true }\n";
    let client = |inner: &str| format!("{base}client {{\n  enabled = true\n  {inner}\n}}\n");
    assert_eq!(dirs(&client(""), false), (Vec::new(), 0));
    let here = std::env::current_dir().unwrap();
    assert_eq!(dirs(&client(""), true), (vec![here], 0));
    let named = client("artifact_directories = [\"/srv/a\", \"/b\"]");
    let expected = vec!["/srv/a".into(), "/b".into()];
    assert_eq!(dirs(&named, false), (expected.clone(), 0));
    assert_eq!(dirs(&named, true), (expected, 0));
    assert_eq!(
        dirs(&client("artifact_directories = [\"x\"]"), false),
        (Vec::new(), 1)
    );
    assert_eq!(
        dirs(&client("artifact_directories = []"), true),
        (Vec::new(), 0)
    );
}

#[test]
fn names_have_settings_of_their_own() {
    let text = r#"
server { enabled = true }
client { enabled = true }
data_dir = "/tmp/x"
dns {
  alt_domain = "alt.example"
  recursors = ["192.0.2.53", "[2001:db8::1]:5353"]
  recursor_timeout = "500ms"
  only_passing = true
  node_ttl = "10s"
  service_ttl = { "web*" = "5s" }
  min_ttl = "1m"
  enable_truncate = true
  udp_answer_limit = 5
  a_record_limit = 2
}
"#;
    let load = |text: &str| {
        let (written, problems) = parsed("a.hcl", text);
        assert_eq!(problems, Vec::<String>::new());
        let mut problems = Vec::new();
        (resolve::resolve(written, &mut problems), problems)
    };
    let (config, problems) = load(text);
    assert_eq!(problems, []);
    let dns = config.dns.unwrap();
    let recursors: Vec<String> = dns.recursors.iter().map(ToString::to_string).collect();
    assert_eq!(recursors, ["192.0.2.53:53", "[2001:db8::1]:5353"]);
    assert_eq!(dns.recursor_timeout.as_millis(), 500);
    assert_eq!(dns.service_ttl["web*"].as_secs(), 5);
    assert_eq!((dns.node_ttl.as_secs(), dns.min_ttl.as_secs()), (10, 60));
    assert!(dns.only_passing && dns.enable_truncate);
    assert_eq!((dns.udp_answer_limit, dns.a_record_limit), (5, 2));
    assert_eq!(dns.alt_domain, "alt.example");
    let wrong = text
        .replace("192.0.2.53", "ns.example")
        .replace("10s", "soon");
    let (_, problems) = load(&wrong);
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn a_catalog_elsewhere_turns_the_built_in_one_off() {
    let load = |text: &str| {
        let (written, problems) = parsed("a.hcl", &format!("{WHOLE}{text}"));
        assert_eq!(problems, Vec::<String>::new());
        let mut problems = Vec::new();
        let config = resolve::resolve(written, &mut problems);
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        (config, problems)
    };
    let (config, problems) = load("consul {\n  address = \"10.0.0.1\"\n  token = \"s3cret\"\n}\n");
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!((config.catalog, config.dns.clone()), (None, None));
    let external = config.external.clone().unwrap();
    assert_eq!(external.address, "http://10.0.0.1:8500");
    assert_eq!(external.token.as_deref(), Some("s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
    for (text, expected) in [
        (
            "address = \"https://c.example:8501/\"",
            "https://c.example:8501",
        ),
        (
            "address = \"[2001:db8::1]:1\"\n  ssl = true",
            "https://[2001:db8::1]:1",
        ),
    ] {
        let (config, _) = load(&format!("consul {{\n  {text}\n}}\n"));
        assert_eq!(config.external.unwrap().address, expected);
    }
    for (text, expected) in [
        ("consul {\n  address = \"ftp://x\"\n}\n", "HOST:PORT"),
        ("consul {\n  address = \"x/y\"\n}\n", "HOST:PORT"),
        ("consul {\n  token = \"x\"\n}\n", "has no `address`"),
        (
            "consul {\n  address = \"x\"\n}\ndns { enabled = true }\n",
            "both set",
        ),
    ] {
        let (_, problems) = load(text);
        assert!(
            problems.len() == 1 && problems[0].contains(expected),
            "{problems:?}"
        );
    }
    let (config, problems) = load("consul {\n  address = \"x\"\n  ingress = true\n}\n");
    assert_eq!(problems, Vec::<String>::new());
    assert!(config.external.unwrap().feeds_ingress);
    let (_, problems) = parsed("a.hcl", "consul { service = true }\n");
    assert!(
        problems[0].contains("unknown key `consul.service`"),
        "{problems:?}"
    );
}

#[test]
fn the_catalog_over_tls_needs_a_certificate() {
    let whole = WHOLE.replace("catalog { enabled = false }", "");
    let load = |text: &str| {
        let (written, problems) = parsed("a.hcl", &format!("{whole}{text}"));
        assert_eq!(problems, Vec::<String>::new());
        let mut problems = Vec::new();
        let https = resolve::resolve(written, &mut problems).https;
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        (https, problems)
    };
    let ports = "ports { https = 8501 }\n";
    let files = "  cert_file = \"/c\"\n  key_file = \"/k\"\n";
    let (https, problems) = load(&format!("{ports}tls {{\n{files}  ca_file = \"/a\"\n}}\n"));
    assert_eq!(problems, Vec::<String>::new());
    let https = https.unwrap();
    assert_eq!(https.address.port(), 8501);
    assert_eq!(https.client_authorities, None);
    let verified = format!("{files}  ca_file = \"/a\"\n  verify_incoming = true\n");
    let (https, _) = load(&format!("{ports}tls {{\n{verified}}}\n"));
    let authorities = https.unwrap().client_authorities;
    assert_eq!(authorities.as_deref(), Some(Path::new("/a")));
    for (text, expected) in [
        (ports.to_owned(), "needs `tls.cert_file`"),
        (format!("tls {{\n{files}}}\n"), "no listener uses it"),
        (
            format!("{ports}tls {{\n{files}  verify_incoming = true\n}}\n"),
            "needs `tls.ca_file`",
        ),
        (
            format!("{ports}tls {{\n  cert_file = \"c\"\n  key_file = \"/k\"\n}}\n"),
            "absolute",
        ),
        (
            format!("{ports}tls {{\n{files}}}\nconsul {{ address = \"x\" }}\n"),
            "that API is off",
        ),
    ] {
        let (_, problems) = load(&text);
        assert!(
            problems.len() == 1 && problems[0].contains(expected),
            "{problems:?}"
        );
    }
}

#[test]
fn nodes_are_down_after_both_times_of_heartbeats() {
    let resolved = |text: &str| {
        let (written, problems) = parsed("a.hcl", text);
        assert!(problems.is_empty(), "{problems:?}");
        let mut problems = Vec::new();
        let config = resolve::resolve(written, &mut problems);
        let lease = config.server.map(|server| server.lease.as_secs_f64());
        (lease.unwrap_or_default(), problems.len())
    };
    let of = |more: &str| {
        resolved(&format!(
            "data_dir = \"/d\"\nserver {{\n  enabled = true\n{more}}}\n"
        ))
    };
    for (more, expected) in [
        ("", (10.0, 0)),
        ("  heartbeat_grace = \"30s\"\n", (30.0, 0)),
        (
            "  heartbeat_grace = \"3s\"\n  min_heartbeat_ttl = \"2s\"\n",
            (5.0, 0),
        ),
        ("  heartbeat_grace = \"2s\"\n", (2.0, 1)),
        ("  min_heartbeat_ttl = \"2h\"\n", (7210.0, 1)),
    ] {
        assert_eq!(of(more), expected, "{more}");
    }
}

#[test]
fn gossip_is_where_rpc_is_and_sealed_where_that_leaves_the_machine() {
    let resolved = |text: &str| {
        let (written, problems) = parsed("a.hcl", text);
        assert!(problems.is_empty(), "{problems:?}");
        let mut problems = Vec::new();
        let config = resolve::resolve(written, &mut problems);
        let gossip = config.server.and_then(|server| server.gossip);
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        (gossip.map(|gossip| gossip.listen.to_string()), problems)
    };
    let server = "data_dir = \"/d\"\nserver {\n  enabled = true\n";
    for (text, expected) in [
        (format!("{server}}}\n"), Some("127.0.0.1:4648")),
        (
            format!("{server}}}\nbind_addr = \"10.0.0.7\"\ntls {{ rpc = false }}\n"),
            Some("10.0.0.7:4648"),
        ),
        (
            format!("{server}}}\nports {{ rpc = 0 }}\n"),
            Some("127.0.0.1:0"),
        ),
        (
            format!(
                "{server}  encrypt = \"AAAAAAAAAAAAAAAAAAAAAA==\"\n}}\naddresses {{ serf = \"10.0.0.7\" }}\n"
            ),
            Some("10.0.0.7:4648"),
        ),
    ] {
        let (listen, problems) = resolved(&text);
        assert_eq!(listen.as_deref(), expected, "{text}");
        assert!(problems.is_empty(), "{problems:?}");
    }
    for (text, expected) in [
        (
            format!("{server}  encrypt = \"k\"\n}}\n"),
            "`server.encrypt`: the key is not base64",
        ),
        (
            format!("{server}}}\naddresses {{ serf = \"10.0.0.7\" }}\n"),
            "set `server.encrypt` to a key",
        ),
    ] {
        let (_, problems) = resolved(&text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(expected), "{problems:?}");
    }
    let dev = Written {
        dev: Some(true),
        ..Written::default()
    };
    let config = resolve::resolve(dev, &mut Vec::new());
    assert_eq!(config.server.and_then(|server| server.gossip), None);
}

#[test]
fn a_client_empties_its_node_when_it_leaves_if_it_is_told_to() {
    let resolved = |text: &str, dev: bool| {
        let text = format!("data_dir = \"/d\"\nserver {{\n  enabled = true\n}}\n{text}");
        let (written, mut found) = parsed("a.hcl", &text);
        let mut problems = Vec::new();
        let dev = dev.then_some(true);
        let config = resolve::resolve(Written { dev, ..written }, &mut problems);
        found.extend(problems.iter().map(ToString::to_string));
        let drain = config.client.and_then(|client| client.drain);
        (drain, config.notes, found)
    };
    let client = |block: &str| format!("client {{\n  enabled = true\n  {block}\n}}\n");
    let drain = |seconds: i64, ignore_system_jobs: bool| {
        let deadline = Span::from_secs(seconds);
        Some(OwnDrain {
            deadline,
            ignore_system_jobs,
        })
    };
    for (block, expected) in [
        ("", None),
        ("drain_on_shutdown {}", drain(3600, false)),
        (
            "drain_on_shutdown {\n deadline = \"90s\"\n ignore_system_jobs = true\n}",
            drain(90, true),
        ),
        (
            "drain_on_shutdown {\n deadline = \"0s\"\n}",
            drain(0, false),
        ),
        (
            "drain_on_shutdown {\n deadline = \"1h\"\n force = true\n}",
            drain(-1, false),
        ),
    ] {
        for leave in ["leave_on_interrupt", "leave_on_terminate"] {
            let text = format!("{leave} = true\n{}", client(block));
            let found = resolved(&text, false);
            assert_eq!(found, (expected, Vec::new(), Vec::new()), "{block}");
        }
        assert_eq!(resolved(&client(block), true).0, None, "{block}");
    }
    // Later files change what they name.
    let (earlier, _) = parsed(
        "a.hcl",
        &client("drain_on_shutdown {\n deadline = \"5m\"\n}"),
    );
    let (later, _) = parsed(
        "b.hcl",
        &client("drain_on_shutdown {\n ignore_system_jobs = true\n}"),
    );
    let merged = earlier.merge(later).drain.resolve(false, &mut Vec::new());
    assert_eq!(merged, drain(300, true));
    // What it does not do is told.
    let empty = client("drain_on_shutdown {}");
    for (dev, reason) in [
        (
            false,
            "neither `leave_on_interrupt` nor `leave_on_terminate` is set",
        ),
        (true, "a dev agent does not empty its node"),
    ] {
        let (_, notes, _) = resolved(&empty, dev);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains(reason), "{notes:?}");
    }
    for (block, part) in [
        (
            "deadline = \"-1s\"",
            "`client.drain_on_shutdown.deadline` is `-1s`",
        ),
        (
            "deadline = \"soon\"",
            "`client.drain_on_shutdown.deadline` is `soon`",
        ),
        ("force = 1", "`force` must be true or false"),
        ("dead = 1", "unknown key `client.drain_on_shutdown.dead`"),
    ] {
        let text = client(&format!("drain_on_shutdown {{\n {block}\n}}"));
        let (_, _, problems) = resolved(&text, false);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(part), "{problems:?}");
    }
}

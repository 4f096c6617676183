use super::*;
use jobs::model::AllocId;
use serde_json::{Value, json};

fn settings() -> Containers {
    Containers {
        extra_labels: vec!["job_*".into()],
        ..Containers::default()
    }
}

fn start(config: Value) -> Start {
    let port = |label: &str, value, to| AllocatedPort {
        label: label.into(),
        value,
        to,
        host_ip: "10.0.0.1".into(),
    };
    let mut start = Start {
        run_id: "run".into(),
        dir: "/allocs/a/web".into(),
        alloc_dir: "/allocs/a/alloc".into(),
        env: [("NOMAD_PORT_db".to_owned(), "20001".to_owned())].into(),
        config: serde_json::from_value(config).unwrap(),
        ports: vec![port("http", 20_000, 80)],
        own_ports: vec![port("db", 20_001, 0)],
        ..Start::default()
    };
    start.owner.alloc_id = AllocId::named("a");
    start.owner.task = "web".into();
    start.names.job = "shop".into();
    start.limits.cpu_mhz = 500;
    start.limits.node_mhz = 4000;
    start.limits.node_cores = 2;
    start.limits.memory_mib = 64;
    start
}

/// The value at a path of the request, as JSON.
fn part(config: Value, path: &str) -> String {
    part_of(&start(config), path)
}

fn part_of(start: &Start, path: &str) -> String {
    assert_eq!(problems(&start.config, &settings_open()), [""; 0]);
    match container(start, "sha256:1", &settings()) {
        Ok(body) => {
            let body = serde_json::to_value(body).unwrap();
            body.pointer(path).cloned().unwrap_or_default().to_string()
        }
        Err(error) => error,
    }
}

/// An operator who allows everything.
fn settings_open() -> Containers {
    Containers {
        volumes: true,
        allow_privileged: true,
        allow_caps: Some(vec!["all".into()]),
        ..settings()
    }
}

#[test]
fn a_task_becomes_a_request() {
    let check = |more: Value, path: &str, expected: Value| {
        let mut config = json!({"image": "redis:7"});
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        assert_eq!(part(config, path), expected.to_string(), "{path}");
    };
    let none = json!({});
    check(none.clone(), "/Image", json!("sha256:1"));
    check(none.clone(), "/HostConfig/NetworkMode", json!("default"));
    check(none.clone(), "/HostConfig/Memory", json!(64 << 20));
    check(none.clone(), "/HostConfig/MemorySwap", json!(64 << 20));
    check(none.clone(), "/HostConfig/CpuShares", json!(500));
    check(none.clone(), "/HostConfig/CapDrop", json!(["NET_RAW"]));
    check(
        none.clone(),
        "/HostConfig/LogConfig/Type",
        json!("json-file"),
    );
    check(
        none.clone(),
        "/Labels/com.hashicorp.nomad.job_name",
        json!("shop"),
    );
    let id = AllocId::named("a").to_string();
    check(none.clone(), &format!("/Labels/{ALLOC_LABEL}"), json!(id));
    check(
        none.clone(),
        "/HostConfig/Binds",
        json!([
            "/allocs/a/alloc:/alloc",
            "/allocs/a/web/local:/local",
            "/allocs/a/web/secrets:/secrets"
        ]),
    );
    // The old way publishes the task's own ports.
    let bound = json!([{"HostIp": "10.0.0.1", "HostPort": "20001"}]);
    check(none, "/HostConfig/PortBindings/20001~1tcp", bound.clone());
    let mapped = json!({"port_map": [{"db": 6379}]});
    check(mapped.clone(), "/HostConfig/PortBindings/6379~1udp", bound);
    check(mapped, "/Env", json!(["NOMAD_PORT_db=6379"]));
    let ports = json!({"ports": ["http"]});
    let bound = json!([{"HostIp": "10.0.0.1", "HostPort": "20000"}]);
    check(ports.clone(), "/HostConfig/PortBindings/80~1tcp", bound);
    check(ports, "/HostConfig/PortBindings/20001~1tcp", Value::Null);
    let host = json!({"network_mode": "host", "ports": ["http"], "hostname": "x"});
    check(host.clone(), "/HostConfig/PortBindings", json!({}));
    check(host, "/Hostname", Value::Null);
    let command = json!({"command": "sh", "args": ["-c", "x"], "entrypoint": ["/e"]});
    check(command.clone(), "/Cmd", json!(["sh", "-c", "x"]));
    check(command, "/Entrypoint", json!(["/e"]));
    let volumes = json!({"volumes": ["local/a:/a:ro", "/srv:/srv"]});
    check(
        volumes.clone(),
        "/HostConfig/Binds/3",
        json!("/allocs/a/web/local/a:/a:ro"),
    );
    check(volumes, "/HostConfig/Binds/4", json!("/srv:/srv"));
    let mount = json!({"mount": [{"type": "bind", "source": "local", "target": "/m", "readonly": true,
        "bind_options": {"propagation": "rshared"}}, {"type": "tmpfs", "target": "/t", "tmpfs_options": [{"size": 9}]}]});
    check(
        mount.clone(),
        "/HostConfig/Mounts/0/Source",
        json!("/allocs/a/web/local"),
    );
    check(
        mount.clone(),
        "/HostConfig/Mounts/0/BindOptions/Propagation",
        json!("rshared"),
    );
    check(
        mount,
        "/HostConfig/Mounts/1/TmpfsOptions/SizeBytes",
        json!(9),
    );
    let hard = json!({"cpu_hard_limit": true, "memory_hard_limit": 128});
    check(hard.clone(), "/HostConfig/CpuQuota", json!(25_000));
    check(hard.clone(), "/HostConfig/Memory", json!(128 << 20));
    check(hard, "/HostConfig/MemoryReservation", json!(64 << 20));
    let limits = json!({"ulimit": {"nofile": "10:20"}, "pids_limit": 7, "sysctl": {"a": "b"}});
    check(limits.clone(), "/HostConfig/Ulimits/0/Hard", json!(20));
    check(limits.clone(), "/HostConfig/PidsLimit", json!(7));
    check(limits, "/HostConfig/Sysctls/a", json!("b"));
    let device = json!({"devices": [{"host_path": "/dev/fuse"}], "cap_add": ["NET_RAW"], "privileged": true});
    check(
        device.clone(),
        "/HostConfig/Devices/0/CgroupPermissions",
        json!("rwm"),
    );
    check(device.clone(), "/HostConfig/CapDrop", Value::Null);
    check(device, "/HostConfig/Privileged", json!(true));
    let named =
        json!({"network_mode": "own", "network_aliases": ["a"], "ipv4_address": "10.9.0.2"});
    let endpoint = "/NetworkingConfig/EndpointsConfig/own/IPAMConfig/IPv4Address";
    check(named, endpoint, json!("10.9.0.2"));
    let logging = json!({"logging": {"type": "syslog", "config": [{"tag": "t"}]}});
    check(
        logging.clone(),
        "/HostConfig/LogConfig/Type",
        json!("syslog"),
    );
    check(logging, "/HostConfig/LogConfig/Config/tag", json!("t"));
    let checks = json!({"healthchecks": {"disable": true}});
    check(checks, "/Healthcheck/Test", json!(["NONE"]));
    let lost = part(json!({"image": "x", "ports": ["admin"]}), "/Image");
    assert_eq!(
        lost,
        "Port \"admin\" not found, check network block of the group"
    );
}

#[test]
fn a_group_s_own_network_is_that_of_its_container() {
    let mut start = start(json!({"image": "x", "ports": ["http"]}));
    start.network = Some(crate::drivers::OwnNetwork {
        container: Some("pause".into()),
        hostname: "inside".into(),
        ..Default::default()
    });
    assert_eq!(
        part_of(&start, "/HostConfig/NetworkMode"),
        "\"container:pause\""
    );
    assert_eq!(part_of(&start, "/HostConfig/PortBindings"), "{}");
    assert_eq!(part_of(&start, "/Hostname"), "null");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let config = json!({
        "privileged": true, "cap_add": ["net_admin"], "runtime": "kata", "isolation": "hyperv",
        "volumes": ["/etc:/etc", "../x:/x", "one"], "mount": {"type": "bind", "source": "/etc", "target": "/e"},
        "ulimit": {"nofile": "many"}, "devices": [{"cgroup_permissions": "x"}], "pid_mode": "host",
        "image_pull_timeout": "soon", "cgroupns": "own", "colour": "red", "auth": {"user": "u"},
    });
    let mut strict = settings();
    strict.allowed_modes = [("pid".to_owned(), vec!["private".to_owned()])].into();
    let config: TaskConfig = serde_json::from_value(config).unwrap();
    let found = problems(&config, &strict);
    assert_eq!(found.len(), 17, "{found:#?}");
    // The operator decides.
    let config =
        json!({"image": "x", "privileged": true, "volumes": ["/etc:/etc"], "cap_add": ["all"]});
    let config: TaskConfig = serde_json::from_value(config).unwrap();
    assert_eq!(problems(&config, &strict).len(), 3);
    assert_eq!(problems(&config, &settings_open()), [""; 0]);
}

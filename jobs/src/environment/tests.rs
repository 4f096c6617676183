use super::*;
use crate::model::{AllocatedTask, Job, TaskGroup};
use std::sync::Arc;

fn node() -> Node {
    Node {
        id: "4d2ba53b-0000-4000-8000-000000000001".parse().unwrap(),
        name: "web-3".into(),
        datacenter: "dc1".into(),
        node_class: "big".into(),
        attributes: [("cpu.arch".to_owned(), "amd64".to_owned())].into(),
        meta: [("rack".to_owned(), "r7".to_owned())].into(),
        ..Node::default()
    }
}

fn task() -> Task {
    Task {
        name: "server".into(),
        env: [
            (
                "LISTEN".to_owned(),
                "${NOMAD_ADDR_http} on ${node.unique.name}".to_owned(),
            ),
            ("ODD".to_owned(), "${nothing} ${attr.cpu.arch}".to_owned()),
            ("PATH".to_owned(), "/own".to_owned()),
        ]
        .into(),
        meta: [("Owner-Team".to_owned(), "${NOMAD_JOB_NAME}".to_owned())].into(),
        ..Task::default()
    }
}

fn alloc() -> Allocation {
    let mut alloc = Allocation {
        id: "8ba85cef-1f4a-4ae1-9d6a-1c1a5c1a8b9e".parse().unwrap(),
        namespace: "default".into(),
        name: "web.front[2]".into(),
        job_id: "web".into(),
        task_group: "front".into(),
        job: Arc::new(Job {
            id: "web".into(),
            name: "web".into(),
            region: "global".into(),
            task_groups: vec![TaskGroup {
                name: "front".into(),
                tasks: vec![task()],
                ..TaskGroup::default()
            }]
            .into(),
            ..Job::default()
        }),
        ..Allocation::default()
    };
    let shared = &mut alloc.allocated_resources.shared.ports;
    for (label, value, to, ip) in [
        ("http", 21_000, 0, "127.0.0.1"),
        ("my-admin", 21_001, 80, "::1"),
    ] {
        shared.push(AllocatedPort {
            label: label.into(),
            value,
            to,
            host_ip: ip.into(),
        });
    }
    let other = AllocatedTask {
        networks: vec![NetworkResource {
            ip: "10.0.0.1".into(),
            dynamic_ports: vec![Port {
                label: "db".into(),
                value: 5432,
                ..Port::default()
            }],
            ..NetworkResource::default()
        }]
        .into(),
        ..AllocatedTask::default()
    };
    let tasks = &mut alloc.allocated_resources.tasks;
    tasks.insert("store".into(), other);
    let mut own = AllocatedTask::default();
    own.cpu.cpu_shares = 250;
    own.memory.memory_mb = 64;
    tasks.insert("server".into(), own);
    alloc
}

fn check(name: &str, expected: Option<&str>) {
    let directories = TaskDirectories {
        alloc: "/a/alloc".into(),
        local: "/a/server/local".into(),
        secrets: "/a/server/secrets".into(),
    };
    let host = [
        ("PATH", "/bin"),
        ("HOME", "/root"),
        ("NOMAD_TOKEN", "secret"),
        ("NOMAD_JOB_ID", "forged"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let node = node();
    let environment = TaskEnvironment::of_task(&alloc(), &task(), &node, Some(&directories), &host);
    let value = environment.variables().get(name).map(String::as_str);
    assert_eq!(value, expected, "{name}");
}

#[test]
fn a_task_sees_its_identity_ports_limits_and_labels() {
    let expected = [
        ("NOMAD_ALLOC_ID", "8ba85cef-1f4a-4ae1-9d6a-1c1a5c1a8b9e"),
        ("NOMAD_SHORT_ALLOC_ID", "8ba85cef"),
        ("NOMAD_ALLOC_NAME", "web.front[2]"),
        ("NOMAD_ALLOC_INDEX", "2"),
        ("NOMAD_TASK_NAME", "server"),
        ("NOMAD_GROUP_NAME", "front"),
        ("NOMAD_JOB_ID", "web"),
        ("NOMAD_DC", "dc1"),
        ("NOMAD_REGION", "global"),
        ("NOMAD_CPU_LIMIT", "250"),
        ("NOMAD_MEMORY_LIMIT", "64"),
        ("NOMAD_ALLOC_DIR", "/a/alloc"),
        ("NOMAD_TASK_DIR", "/a/server/local"),
        ("NOMAD_SECRETS_DIR", "/a/server/secrets"),
        ("NOMAD_IP_http", "127.0.0.1"),
        ("NOMAD_PORT_http", "21000"),
        ("NOMAD_ADDR_http", "127.0.0.1:21000"),
        ("NOMAD_PORT_my_admin", "80"),
        ("NOMAD_HOST_PORT_my_admin", "21001"),
        ("NOMAD_ADDR_my_admin", "[::1]:21001"),
        ("NOMAD_ADDR_store_db", "10.0.0.1:5432"),
        ("NOMAD_META_Owner_Team", "web"),
        ("NOMAD_META_OWNER_TEAM", "web"),
        ("LISTEN", "127.0.0.1:21000 on web-3"),
        ("ODD", "${nothing} amd64"),
        ("PATH", "/own"),
        ("HOME", "/root"),
    ];
    for (name, value) in expected {
        check(name, Some(value));
    }
    check("NOMAD_TOKEN", None);
    check("NOMAD_MEMORY_MAX_LIMIT", None);
}

#[test]
fn a_group_sees_ports_and_node_but_no_task() {
    let node = node();
    let alloc = alloc();
    let environment = TaskEnvironment::of_group(&alloc, &node);
    for (text, expected) in [
        ("${NOMAD_PORT_http}", "21000"),
        (
            "${node.datacenter}-${meta.rack}-${node.class}",
            "dc1-r7-big",
        ),
        ("${env[\"NOMAD_JOB_ID\"]}", "web"),
        ("${NOMAD_TASK_NAME}", "${NOMAD_TASK_NAME}"),
        ("${ attr.cpu.arch }", "${ attr.cpu.arch }"),
        ("a ${ b $${NOMAD_JOB_ID} $x", "a ${ b $web $x"),
        ("open ${NOMAD_JOB_ID", "open ${NOMAD_JOB_ID"),
    ] {
        assert_eq!(environment.interpolate(text), expected);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
    #[test]
    fn interpolation_takes_any_text(text in ".{0,40}|(\\$\\{|\\}|%|\\$|a|env\\[\"){0,12}") {
        let node = node();
        let alloc = alloc();
        let environment = TaskEnvironment::of_group(&alloc, &node);
        let once = environment.interpolate(&text);
        if !text.contains("${") {
            proptest::prop_assert_eq!(&once, &text);
        }
    }
}

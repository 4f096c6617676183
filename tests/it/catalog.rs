//! The catalog API and DNS of a running agent.

use crate::harness::{Agent, Echo, agent::Mode, dns, eventually, http};
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record, RecordType},
};
use serde_json::json;
use std::net::Ipv4Addr;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allocation_is_in_the_catalog_with_address_port_tags_and_check() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    let alloc = job.running(&agent, 1).await[0]["ID"]
        .as_str()
        .expect("an id")
        .to_owned();
    let alloc = http::get(&agent.url("http", &format!("/v1/allocation/{alloc}"))).await;
    let port = &alloc["AllocatedResources"]["Shared"]["Ports"][0]["Value"];

    let services = http::get(&agent.url("catalog", "/v1/catalog/services")).await;
    assert_eq!(services["web"][0], "urlprefix-/web", "{services}");
    let instances = http::get(&agent.url("catalog", "/v1/catalog/service/web")).await;
    assert_eq!(instances[0]["ServicePort"], *port, "{instances}");
    assert_eq!(instances[0]["ServiceAddress"], "127.0.0.1");
    let checks = http::get(&agent.url("catalog", "/v1/health/checks/web")).await;
    assert_eq!(checks[0]["Status"], "passing", "{checks}");
    assert_eq!(checks[0]["Type"], "http");
    let state = http::get(&agent.url("catalog", "/v1/health/state/passing")).await;
    let listed = state
        .as_array()
        .expect("checks")
        .iter()
        .any(|c| c["CheckID"] == checks[0]["CheckID"]);
    assert!(listed, "{state}");
    for path in [
        "/v1/agent/self",
        "/v1/agent/services",
        "/v1/agent/members",
        "/v1/catalog/nodes",
    ] {
        let body = http::get(&agent.url("catalog", path)).await;
        assert!(!body.is_null() && body != json!([]), "{path}: {body}");
    }
    let leader = http::get(&agent.url("catalog", "/v1/status/leader")).await;
    assert!(
        leader.as_str().is_some_and(|leader| !leader.is_empty()),
        "{leader}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_services_tags_and_nodes_are_answered() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 2);
    job.run(&agent).await;
    let server = agent.address("dns");
    let ports = eventually("the SRV answers", || async {
        let ports = dns::srv_ports(server, "web.service.consul.").await;
        if ports.len() == 2 {
            Ok(ports)
        } else {
            Err(format!("{ports:?}"))
        }
    })
    .await;
    assert!(
        ports
            .iter()
            .all(|port| (agent.ports().0..=agent.ports().1).contains(port)),
        "{ports:?}"
    );

    let answer = dns::ask(server, "web.service.consul.", RecordType::A).await;
    let addresses: Vec<Ipv4Addr> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(a) => Some(a.0),
            _ => None,
        })
        .collect();
    assert!(!addresses.is_empty() && addresses.iter().all(|a| *a == Ipv4Addr::LOCALHOST));

    let nodes = http::get(&agent.url("catalog", "/v1/catalog/nodes")).await;
    let node = nodes[0]["Node"].as_str().expect("a name");
    let answer = dns::ask(server, &format!("{node}.node.consul."), RecordType::A).await;
    assert_eq!(answer.answers.len(), 1);

    let answer = dns::ask(server, "nothing.service.consul.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(
        answer
            .authorities
            .iter()
            .any(|record| record.record_type() == RecordType::SOA)
    );
    let answer = dns::ask(server, "web.service.consul.", RecordType::AAAA).await;
    assert_eq!(
        (answer.metadata.response_code, answer.answers.len()),
        (ResponseCode::NoError, 0)
    );
    assert!(
        answer
            .authorities
            .iter()
            .any(|record| record.record_type() == RecordType::SOA)
    );
}

/// Texts of the TXT records among `records`, in order.
fn texts(records: &[Record]) -> Vec<String> {
    let texts = records.iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some(text.to_string()),
        _ => None,
    });
    texts.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_labels_of_a_node_are_in_the_catalog_and_in_dns() {
    let more = "client {\n  meta {\n    rack = \"r1\"\n  }\n}\n";
    let agent = Agent::start_with(Mode::Dev, more).await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    job.running(&agent, 1).await;
    let labels = |rack: &str| json!({"consul-network-segment": "", "consul-version": "1.22.0", "rack": rack});
    let nodes = http::get(&agent.url("catalog", "/v1/catalog/nodes")).await;
    assert_eq!(nodes[0]["Meta"], labels("r1"), "{nodes}");
    let name = nodes[0]["Node"].as_str().expect("a name").to_owned();
    let get = async |path: &str| http::get(&agent.url("catalog", path)).await;
    let node = get(&format!("/v1/catalog/node/{name}")).await;
    assert_eq!(node["Node"]["Meta"], labels("r1"), "{node}");
    assert_eq!(get("/v1/agent/self").await["Meta"], labels("r1"));
    let rows = get("/v1/catalog/service/web").await;
    assert_eq!(rows[0]["NodeMeta"], labels("r1"), "{rows}");

    // A label that is changed while the agent runs is another one everywhere.
    let id = http::get(&agent.url("http", "/v1/nodes")).await[0]["ID"].clone();
    let changed = json!({"NodeID": id, "Meta": {"rack": "r2"}});
    http::put(&agent.url("http", "/v1/client/metadata"), &changed).await;
    agent
        .wait_catalog("/v1/health/service/web?node-meta=rack:r2", |rows| {
            (rows[0]["Node"]["Meta"] == labels("r2")).then_some(())
        })
        .await;
    for (path, empty) in [
        ("/v1/catalog/nodes?node-meta=rack:r1", json!([])),
        ("/v1/catalog/services?node-meta=rack:r1", json!({})),
        ("/v1/catalog/service/web?node-meta=rack:r1", json!([])),
    ] {
        assert_eq!(get(path).await, empty, "{path}");
    }
    let server = agent.address("dns");
    let shown = [
        "consul-network-segment=",
        "consul-version=1.22.0",
        "rack=r2",
    ];
    eventually("the label in DNS", async || {
        let answer = dns::ask(server, &format!("{name}.node.consul."), RecordType::TXT).await;
        let texts = texts(&answer.answers);
        (texts == shown)
            .then_some(())
            .ok_or_else(|| format!("{texts:?}"))
    })
    .await;
    let answer = dns::ask(server, &format!("{name}.node.consul."), RecordType::A).await;
    assert_eq!(texts(&answer.additionals), shown);
    let answer = dns::ask(server, "web.service.consul.", RecordType::SRV).await;
    assert_eq!(texts(&answer.additionals), shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_apis_count_by_the_same_index() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    let client = http::client();
    let header = async |url: String, name: &str| -> u64 {
        let response = client.get(url).send().await.expect("an answer");
        response.headers()[name]
            .to_str()
            .expect("text")
            .parse()
            .expect("a number")
    };
    let catalog = header(
        agent.url("catalog", "/v1/health/service/web"),
        "x-consul-index",
    )
    .await;
    let allocs = header(agent.url("http", "/v1/allocations"), "x-nomad-index").await;
    assert!(catalog > 1 && allocs > 1);
    let entry = http::get(&agent.url("catalog", "/v1/catalog/service/web")).await;
    let created = entry[0]["CreateIndex"].as_u64().expect("an index");
    let alloc = http::get(&agent.url("http", "/v1/allocations")).await;
    let modified = alloc[0]["ModifyIndex"].as_u64().expect("an index");
    // The instance was registered by the entry in which the allocation turned running, or the row
    // changed again after it: one log, one index.
    assert!(created <= modified, "{created} {modified}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_page_shows_the_routes() {
    let agent = Agent::start().await;
    let job = Echo::new("web", 1);
    job.run(&agent).await;
    crate::walkthrough::targets(&agent, "web", 1).await;
    let (status, page) = http::send(
        reqwest::Method::GET,
        &agent.url("ingress_admin", "/routes"),
        None,
    )
    .await;
    assert!(
        status.is_success() && page.contains("/web") && page.contains("<table"),
        "{page}"
    );
}

/// Two services, of which only one has somebody behind its port.
const TWO_PORTS: &str = r#"
job "pair" {
  group "g" {
    network {
      port "open" {}
      port "closed" {}
    }
    service {
      name = "open"
      port = "open"
      tags = ["blue", "v1"]
      check {
        type     = "tcp"
        interval = "1s"
        timeout  = "10s"
      }
    }
    service {
      name = "closed"
      port = "closed"
      check {
        type     = "tcp"
        interval = "1s"
        timeout  = "1s"
      }
    }
    task "server" {
      driver = "raw_exec"
      config {
        command = "TRIVET"
        args    = ["echo", "-listen", "127.0.0.1:${NOMAD_PORT_open}"]
      }
      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_check_passes_where_somebody_listens() {
    let agent = Agent::start().await;
    let text = TWO_PORTS.replace("TRIVET", crate::harness::agent::TRIVET);
    agent.register(&text).await;
    let port = agent
        .wait_catalog("/v1/health/service/open?passing", |entries| {
            let checks = entries[0]["Checks"].as_array()?;
            assert!(checks.iter().any(|check| check["Type"] == "tcp"));
            entries[0]["Service"]["Port"].as_u64()
        })
        .await;
    agent
        .wait_catalog("/v1/health/checks/closed", |checks| {
            assert_ne!(checks[0]["Status"], "passing", "{checks}");
            let output = checks[0]["Output"].as_str()?;
            output.contains("refused").then_some(())
        })
        .await;

    let server = agent.address("dns");
    let port = u16::try_from(port).expect("a port");
    for name in [
        "open.service.consul.",
        "blue.open.service.consul.",
        "v1.open.service.consul.",
        "_open._blue.service.consul.",
        "_open._tcp.service.consul.",
    ] {
        eventually(name, || async {
            let ports = dns::srv_ports(server, name).await;
            if ports == [port] {
                Ok(())
            } else {
                Err(format!("{ports:?}"))
            }
        })
        .await;
        let answer = dns::ask_by_tcp(server, name, RecordType::SRV).await;
        assert_eq!(dns::ports_of(&answer), [port], "{name} by TCP");
    }
    let by_tag = dns::ask_by_tcp(server, "blue.open.service.consul.", RecordType::A).await;
    assert_eq!(by_tag.answers.len(), 1);
    for name in [
        "green.open.service.consul.",
        "_open._green.service.consul.",
        "closed.service.consul.",
    ] {
        for answer in [
            dns::ask(server, name, RecordType::A).await,
            dns::ask_by_tcp(server, name, RecordType::A).await,
        ] {
            let code = answer.metadata.response_code;
            assert_eq!(code, ResponseCode::NXDomain, "{name}");
        }
    }
}

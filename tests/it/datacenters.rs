//! Agents of one region in different datacenters, which names and the catalog tell apart.

use crate::{
    cluster::Addresses,
    harness::{Agent, Echo, agent::Mode, command::trivet, dns, eventually, http},
};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A client of a cluster, in a datacenter.
async fn client(addresses: &Addresses, datacenter: &str) -> Agent {
    let text = format!("{}datacenter = {datacenter:?}\n", addresses.client());
    Agent::start_with(Mode::Client, &text).await
}

async fn get(agent: &Agent, path: &str) -> Value {
    http::get(&agent.url("catalog", path)).await
}

/// The name of an agent's node.
async fn name_of(agent: &Agent) -> String {
    let own = get(agent, "/v1/agent/self").await;
    own["Config"]["NodeName"].as_str().expect("a name").into()
}

/// Nodes and ports of the instances of a service that pass.
async fn instances(agent: &Agent, service: &str, datacenter: &str) -> (Vec<String>, Vec<u16>) {
    let path = format!("/v1/health/service/{service}?passing&dc={datacenter}");
    let entries = get(agent, &path).await;
    let entries = entries.as_array().expect("entries");
    let node = |entry: &Value| entry["Node"]["Node"].as_str().expect("a name").to_owned();
    let port = |entry: &Value| {
        let port = entry["Service"]["Port"].as_u64().expect("a port");
        u16::try_from(port).expect("a port")
    };
    let mut ports: Vec<u16> = entries.iter().map(port).collect();
    ports.sort_unstable();
    (entries.iter().map(node).collect(), ports)
}

/// Waits until a registered service is in the catalog of an agent.
async fn shown(agent: &Agent, service: &str) {
    let path = format!("/v1/health/service/{service}");
    let is_there = |rows: &Value| (!rows.as_array()?.is_empty()).then_some(());
    agent.wait_catalog(&path, is_there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_the_catalog_tell_the_datacenters_of_a_region_apart() {
    let addresses = Addresses::for_servers(1);
    let server = addresses.start_server_with(1, 1, "datacenter = \"hq\"\n");
    let server = server.await;
    let (east, west) = tokio::join!(client(&addresses, "east"), client(&addresses, "west"));
    let agents = [&server, &east, &west];
    for (agent, expected) in agents.into_iter().zip([
        ["hq", "east", "west"],
        ["east", "hq", "west"],
        ["west", "east", "hq"],
    ]) {
        eventually("the datacenters", async || {
            let known = get(agent, "/v1/catalog/datacenters").await;
            (known == json!(expected))
                .then_some(())
                .ok_or_else(|| known.to_string())
        })
        .await;
    }
    let listed = trivet(&west, &["catalog", "datacenters"]).await.ok();
    assert_eq!(listed.stdout, "west\neast\nhq\n");

    // A job in two of them, one in one, and what is registered with one agent.
    let mut job = Echo::new("span", 2);
    job.group = "constraint {\n operator = \"distinct_hosts\"\n value = \"true\"\n }".into();
    let placed = |job: &Echo, datacenters: &[&str]| {
        let line = format!("{{\n  datacenters = {}\n", json!(datacenters));
        job.hcl().replacen('{', &line, 1)
    };
    server.register(&placed(&job, &["east", "west"])).await;
    let eastern = Echo::new("eastern", 1);
    server.register(&placed(&eastern, &["east"])).await;
    let local = json!({"Name": "local", "Port": 7000});
    let register = west.url("catalog", "/v1/agent/service/register");
    http::put(&register, &local).await;

    let nodes = [name_of(&east).await, name_of(&west).await];
    for agent in agents {
        job.passing(agent, 2).await;
        eastern.passing(agent, 1).await;
        shown(agent, "local").await;
        let names = agent.address("dns");
        let (_, all) = instances(agent, "span", "").await;
        let (on_east, east_ports) = instances(agent, "span", "east").await;
        let (on_west, west_ports) = instances(agent, "span", "west").await;
        assert_eq!([on_east, on_west].concat(), nodes);
        assert_eq!(instances(agent, "span", "hq").await.1, [0_u16; 0]);
        for (name, expected) in [
            ("span.service.consul.", &all),
            ("span.service.east.consul.", &east_ports),
            ("SPAN.service.West.dc.consul.", &west_ports),
            ("_span._tcp.service.west.consul.", &west_ports),
            ("_span._tcp.east.consul.", &east_ports),
            ("span.service.hq.consul.", &Vec::new()),
            ("eastern.service.west.consul.", &Vec::new()),
            ("local.service.west.consul.", &vec![7000]),
            ("local.service.east.consul.", &Vec::new()),
        ] {
            assert_eq!(&dns::srv_ports(names, name).await, expected, "{name}");
        }
        // The targets are names that are found in turn.
        let own = format!("{}.node.west.consul.", nodes[1]);
        let found = dns::ask(names, &own, RecordType::A).await;
        assert_eq!(found.answers.len(), 1, "{own}");
        let target = dns::ask(names, "local.service.consul.", RecordType::SRV).await;
        assert!(target.answers[0].to_string().ends_with(&own), "{target}");
        for name in [
            format!("{}.node.east.consul.", nodes[1]),
            "span.service.north.consul.".to_owned(),
        ] {
            let found = dns::ask(names, &name, RecordType::A).await;
            let code = found.metadata.response_code;
            assert_eq!(code, ResponseCode::NXDomain, "{name}");
        }
        let services = get(agent, "/v1/catalog/services?dc=west").await;
        let is_there = |name: &str| services.get(name).is_some();
        assert_eq!(
            ["span", "local", "eastern", "consul"].map(is_there),
            [true, true, false, false],
            "{services}"
        );
        let unknown = agent.url("catalog", "/v1/catalog/services?dc=north");
        let (status, text) = http::send(Method::GET, &unknown, None).await;
        assert_eq!(
            (status, text.trim()),
            (StatusCode::INTERNAL_SERVER_ERROR, "No path to datacenter")
        );
    }

    // Keys belong to the region.
    http::put(&west.url("catalog", "/v1/kv/a?dc=east"), &json!(1)).await;
    assert_eq!(get(&east, "/v1/kv/a?raw&dc=hq").await, 1);

    // Whoever is registered without a datacenter is in that of the agent that was asked, whichever
    // server writes it.
    let external = |node: &str, more: Value| {
        let mut body = json!({"Node": node, "Address": "192.0.2.7", "Service": {"Service": node}});
        let fields = more.as_object().expect("fields").clone();
        body.as_object_mut().expect("fields").extend(fields);
        body
    };
    let register = west.url("catalog", "/v1/catalog/register");
    http::put(&register, &external("there", json!({}))).await;
    let elsewhere = external("elsewhere", json!({"Datacenter": "east"}));
    http::put(&register, &elsewhere).await;
    for (service, datacenter) in [("there", "west"), ("elsewhere", "east")] {
        shown(&east, service).await;
        let path = format!("/v1/catalog/service/{service}?dc={datacenter}");
        let rows = get(&east, &path).await;
        assert_eq!(rows[0]["Datacenter"], datacenter, "{rows}");
    }

    // Who waits for one datacenter hears what changes there.
    let stop = server.url("http", "/v1/job/eastern");
    let (status, text) = http::send(Method::DELETE, &stop, None).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let gone = |rows: &Value| rows.as_array()?.is_empty().then_some(());
    west.wait_catalog("/v1/health/service/eastern?dc=east", gone)
        .await;
}
